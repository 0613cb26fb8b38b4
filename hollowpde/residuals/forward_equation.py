"""The Fokker-Planck equation of a known SDE, whose density alone is sought."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hollowpde.operators.jets import Jet
from hollowpde.residuals.coefficients import Coefficient, check_coefficient, coefficient


@dataclass(frozen=True)
class _KnownSDE:
    """dX = f dt + g dW with D = g^2, each component of the noise in one dimension alone."""

    drift: Coefficient
    squared_diffusion: Coefficient

    def __post_init__(self) -> None:
        check_coefficient("drift", self.drift, signed=True)
        check_coefficient("squared_diffusion", self.squared_diffusion)

    def _coefficients(self, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """D, b and c, of the equation with its derivatives carried out."""
        f, f_slope = coefficient("drift", self.drift, t, x, order=1)
        D, D_slope, D_bend = coefficient(
            "squared_diffusion", self.squared_diffusion, t, x, order=2
        )
        return D, f - D_slope, (f_slope - 0.5 * D_bend).sum(-1)


@dataclass(frozen=True)
class FokkerPlanck(_KnownSDE):
    r"""The Fokker-Planck equation for the density p of dX = f dt + g dW, with known f and D = g^2.

    $$ \partial_t p + \sum_i \partial_i (f_i p) - \tfrac12 \sum_i \partial_{ii} (D_i p)
       = \partial_t p + c \, p + b \cdot \nabla p - \tfrac12 \sum_i D_i \, \partial_{ii} p $$

    with `b_i = f_i - d_i D_i` and `c = sum_i (d_i f_i - 1/2 d_ii D_i)`. Where f and D are to be
    found, too, `fokker_planck` is the equation in three fields.

    Arguments:
        drift: f, a known field or function `f(t, y)` in the manner of torchsde: t `(n, 1)` and
            y `(n, d)`, returns `(n, d)`; or one number for each dimension.
        squared_diffusion: D, likewise.

    Raises:
        InputError: a constant D_i is negative, or f or D have not d components.

    Source:
        Risken, The Fokker-Planck Equation (1989).

    Example:
        >>> from hollowpde.residuals import FokkerPlanck
        >>> geometric = hp.Residual(FokkerPlanck(lambda t, y: 0.1 * y, lambda t, y: 0.04 * y**2))
        >>> geometric([hp.SeparableNet(2)], torch.tensor(0.5), torch.ones(4, 2)).shape
        torch.Size([4])
    """

    def __call__(self, u: Jet, t: Tensor, x: Tensor) -> Tensor:
        D, b, c = self._coefficients(t, x)
        spreading = 0.5 * u.weighted_laplacian(D)
        return u.dt - spreading + c * u.value + (b * u.gradient).sum(-1)


@dataclass(frozen=True)
class LogFokkerPlanck(_KnownSDE):
    r"""The Fokker-Planck equation divided by p, for u = log p, with known drift and diffusion.

    $$ \partial_t u + c + b \cdot \nabla u
       - \tfrac12 \sum_i D_i \left( \partial_{ii} u + (\partial_i u)^2 \right) $$

    with b and c as in `FokkerPlanck`. Nothing underflows in the tails, and p is positive whatever
    u is.

    Arguments:
        drift: f, a known field or function `f(t, y)` in the manner of torchsde: t `(n, 1)` and
            y `(n, d)`, returns `(n, d)`; or one number for each dimension.
        squared_diffusion: D, likewise.

    Raises:
        InputError: a constant D_i is negative, or f or D have not d components.

    Source:
        Risken, The Fokker-Planck Equation (1989).

    Example:
        >>> from hollowpde.residuals import LogFokkerPlanck
        >>> relaxing = hp.Residual(LogFokkerPlanck(lambda t, y: -y, (0.5, 0.5)))
        >>> relaxing([hp.GaussianMixture(2, 3)], torch.tensor(0.5), torch.zeros(4, 2)).shape
        torch.Size([4])
    """

    def __call__(self, u: Jet, t: Tensor, x: Tensor) -> Tensor:
        D, b, c = self._coefficients(t, x)
        bend = u.weighted_laplacian(D)
        s = u.gradient
        return u.dt + c + (b * s).sum(-1) - 0.5 * (bend + (D * s.square()).sum(-1))
