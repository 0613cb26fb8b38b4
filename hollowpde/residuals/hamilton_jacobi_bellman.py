"""A Hamilton-Jacobi-Bellman equation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hollowpde.operators.jets import Jet
from hollowpde.residuals.coefficients import check_number


@dataclass(frozen=True)
class HamiltonJacobiBellman:
    r"""The least cost to go of a particle in noise that is steered at a quadratic cost.

    $$ \partial_t u + \Delta u - \lambda \, |\nabla u|^2 $$

    It runs backward in time, from the cost g of the place X_T where the particle ends up:
    `dX = 2 sqrt(lambda) m dt + sqrt(2) dW`, and the control m costs the integral of `|m|^2`. By
    the Cole-Hopf transform, with W a Brownian motion,

    $$ u(t, x) = -\tfrac{1}{\lambda} \log E \exp(-\lambda \, g(x + \sqrt2 \, W_{T - t})) $$

    Arguments:
        control: lambda, the strength of the control; 0 is a particle that cannot be steered.

    Raises:
        InputError: lambda is negative.

    Source:
        E, Han and Jentzen, Deep learning-based numerical methods for high-dimensional parabolic
        partial differential equations and backward stochastic differential equations (2017).

    Example:
        >>> from hollowpde.residuals import HamiltonJacobiBellman
        >>> cost = hp.Residual(HamiltonJacobiBellman())
        >>> cost([hp.SeparableNet(100)], torch.tensor(0.5), torch.zeros(4, 100)).shape
        torch.Size([4])
    """

    control: float = 1.0

    def __post_init__(self) -> None:
        check_number("control", self.control)

    def __call__(self, u: Jet, t: Tensor, x: Tensor) -> Tensor:
        return u.dt + u.laplacian - self.control * u.gradient.square().sum(-1)
