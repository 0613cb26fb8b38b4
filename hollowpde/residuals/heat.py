"""Heat, conducted and carried along."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from hollowpde.operators.jets import Jet
from hollowpde.residuals.coefficients import (
    Coefficient,
    check_coefficient,
    check_number,
    check_numbers,
    check_scalar,
    coefficient,
    per_dimension,
    scalar,
)


@dataclass(frozen=True)
class Heat:
    r"""The heat equation, in any number of dimensions.

    $$ \partial_t u - \kappa \, \Delta u - s(t, x) $$

    Arguments:
        diffusivity: kappa.
        source: s, a number or a function `s(t, x)`, t `(...)` and x `(..., d)`, that returns
            `(...)`; none if left out.

    Raises:
        InputError: kappa is negative, or s returns another shape.

    Source:
        Evans, Partial Differential Equations (2010), section 2.3.

    Example:
        >>> from hollowpde.residuals import Heat
        >>> heat = hp.Residual(Heat(0.1, source=lambda t, x: torch.exp(-t) * x[..., 0]))
        >>> heat([hp.SeparableNet(2)], torch.tensor(0.5), torch.zeros(4, 2)).shape
        torch.Size([4])
    """

    diffusivity: float = 1.0
    source: Callable[[Tensor, Tensor], Tensor] | float | None = None

    def __post_init__(self) -> None:
        check_number("diffusivity", self.diffusivity)
        if self.source is not None:
            check_scalar("source", self.source, "s(t, x)")

    def __call__(self, u: Jet, t: Tensor, x: Tensor) -> Tensor:
        left = u.dt - self.diffusivity * u.laplacian
        return left if self.source is None else left - scalar("source", self.source, (t, x), left)


@dataclass(frozen=True)
class AnisotropicHeat:
    r"""The heat equation of a material that conducts differently along each coordinate.

    $$ \partial_t u - \sum_i a_i \, \partial_{ii} u $$

    Arguments:
        diffusivities: a, one for each of the d dimensions.

    Raises:
        InputError: an a_i is negative, or there are not d of them.

    Source:
        Carslaw and Jaeger, Conduction of Heat in Solids (1959).

    Example:
        >>> from hollowpde.residuals import AnisotropicHeat
        >>> heat = hp.Residual(AnisotropicHeat((1.0, 0.1)))
        >>> heat([hp.SeparableNet(2)], torch.tensor(0.5), torch.zeros(4, 2)).shape
        torch.Size([4])
    """

    diffusivities: tuple[float, ...]

    def __post_init__(self) -> None:
        check_numbers("diffusivities", self.diffusivities)

    def __call__(self, u: Jet, t: Tensor, x: Tensor) -> Tensor:
        a = per_dimension("diffusivities", self.diffusivities, x)
        return u.dt - u.weighted_laplacian(a)


@dataclass(frozen=True)
class AdvectionDiffusion:
    r"""What diffuses in a flow that carries it along.

    $$ \partial_t u + v \cdot \nabla u - \kappa \, \Delta u $$

    The velocity is taken as divergence-free: it is of an incompressible flow, in which this is
    the conservation law with `div(v u)`. Of any other flow that would have `u div v` besides.

    Arguments:
        velocity: v, one number for each of the d dimensions, or a known field or function
            `v(t, y)` in the manner of torchsde: t `(n, 1)` and y `(n, d)`, returns `(n, d)`.
        diffusivity: kappa; 0 is transport alone.

    Raises:
        InputError: kappa is negative, or v has not d components.

    Source:
        Hundsdorfer and Verwer, Numerical Solution of Time-Dependent
        Advection-Diffusion-Reaction Equations (2003).

    Example:
        >>> from hollowpde.residuals import AdvectionDiffusion
        >>> def rotation(t, y):
        ...     return torch.stack([-y[:, 1], y[:, 0]], dim=1)
        >>> carried = hp.Residual(AdvectionDiffusion(rotation, 0.1))
        >>> carried([hp.SeparableNet(2)], torch.tensor(0.5), torch.zeros(4, 2)).shape
        torch.Size([4])
    """

    velocity: Coefficient
    diffusivity: float

    def __post_init__(self) -> None:
        check_coefficient("velocity", self.velocity, signed=True)
        check_number("diffusivity", self.diffusivity)

    def __call__(self, u: Jet, t: Tensor, x: Tensor) -> Tensor:
        (v,) = coefficient("velocity", self.velocity, t, x, order=0)
        return u.dt - self.diffusivity * u.laplacian + (v * u.gradient).sum(-1)
