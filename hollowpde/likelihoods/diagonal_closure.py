"""Diagonal moment closure: mean and variances carried through the step, for many dimensions."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hollowpde.errors import InputError
from hollowpde.likelihoods.base import TransitionLikelihood
from hollowpde.likelihoods.phi import phi
from hollowpde.likelihoods.transition import DiagonalNormal
from hollowpde.operators.dimwise import dimwise
from hollowpde.operators.field import Field

_STAGE = 2 / 3
_FASTEST_GROWTH = 1.0


@dataclass(frozen=True)
class DiagonalClosure(TransitionLikelihood):
    r"""A Gaussian transition whose mean and variances are carried through the step.

    With the exact dimension-wise derivatives of drift and diffusion at the mean, in each
    dimension

    $$ m' = f + \tfrac12 v \, \partial_{ii} f, \quad
       v' = 2 v \, (\partial_i f + \tfrac12 v \, \partial_{iii} f)
          + D + \tfrac12 v \, \partial_{ii} D $$

    from `m = x, v = 0`: exact where the drift is linear and D quadratic along each dimension, and
    dimensions do not interact; other curvature is closed as for a Gaussian. The mean follows the
    interaction, D is averaged along the way. The cost does not grow with d, beyond that of the
    networks.

    Left out are the correlations that interacting dimensions build up in a step (of order h^2),
    what they and the variance of other dimensions add to the variance (h^3) and the curvature of
    f_i and D_i along other dimensions (h^2). `MomentClosure` keeps them, for smaller d.

    The equations are integrated by an exponential Runge-Kutta rule of order two: v stays
    positive, and fast decay needs no small steps.

    Arguments:
        substeps: into which the step is divided.

    Source:
        Sarkka and Solin, Applied Stochastic Differential Equations (2019), chapter 9.

    >>> net, noise = hp.HollowNet(50), hp.Positive(hp.HollowNet(50))
    >>> x, t, h = torch.randn(8, 50), torch.zeros(8), torch.full((8,), 0.1)
    >>> DiagonalClosure().log_prob(net, noise, t, x, h, x).shape
    torch.Size([8])
    """

    substeps: int = 2

    def __post_init__(self) -> None:
        if self.substeps < 1:
            raise InputError(f"substeps must be at least 1, but is {self.substeps}.")

    def transition(
        self, drift: Field, diffusion: Field, t: Tensor, x: Tensor, step: Tensor
    ) -> DiagonalNormal:
        h = step / self.substeps
        mean, variance = advance(drift, diffusion, t, x, None, h)
        for n in range(1, self.substeps):
            mean, variance = advance(drift, diffusion, t + n * h, mean, variance, h)
        return DiagonalNormal(mean, variance)


@dataclass(frozen=True)
class _Rates:
    """The right-hand sides at a mean and variance, each `(n, d)`."""

    mean: Tensor  # m'
    slope: Tensor  # of m' along its own dimension
    growth: Tensor  # v' = growth v + noise
    noise: Tensor

    @classmethod
    def at(cls, drift: Field, diffusion: Field, t: Tensor, m: Tensor, v: Tensor | None) -> _Rates:
        f, slope, *curved = dimwise(drift, t, m, order=1 if v is None else 3)
        D, _, D_ii = dimwise(diffusion, t, m, order=2)
        if v is not None:
            f_ii, f_iii = curved
            f = f + 0.5 * v * f_ii
            slope = slope + 0.5 * v * f_iii
        return cls(f, slope, 2 * slope + 0.5 * D_ii, D)


def advance(
    drift: Field, diffusion: Field, t: Tensor, m: Tensor, v: Tensor | None, step: Tensor
) -> tuple[Tensor, Tensor]:
    r"""Mean and variance after a substep; v is None where the state is known exactly.

    With `a` the slope and F, b, D the rates at the start, and those of a stage c = 2/3 of the way

    $$ m + h \varphi_1(h a) F + \tfrac{h}{c} \varphi_2(h a) (F_c - F - a (m_c - m)), \quad
       e^{h \bar b} v + h \varphi_1(h \bar b) \bar D, \quad
       (\bar b, \bar D) = \tfrac14 (b, D) + \tfrac34 (b_c, D_c) $$
    """
    h = step.unsqueeze(-1)
    start = _Rates.at(drift, diffusion, t, m, v)
    # Any slope gives order two; one that grows over the step would only overflow.
    ha = (h * start.slope).clamp(max=_FASTEST_GROWTH)
    m_c = m + _STAGE * h * phi(_STAGE * ha, 1) * start.mean
    v_c = _variance(v, _STAGE * h, start.growth, start.noise)
    stage = _Rates.at(drift, diffusion, t + _STAGE * step, m_c, v_c)
    change = h * (stage.mean - start.mean) - ha * (m_c - m)
    growth = 0.25 * start.growth + 0.75 * stage.growth
    noise = 0.25 * start.noise + 0.75 * stage.noise
    mean = m + h * phi(ha, 1) * start.mean + phi(ha, 2) * change / _STAGE
    return mean, _variance(v, h, growth, noise)


def _variance(v: Tensor | None, h: Tensor, growth: Tensor, noise: Tensor) -> Tensor:
    """v after `v' = growth v + noise`; what grows faster than e-fold in h does so linearly."""
    z = h * growth
    bounded = z.clamp(max=_FASTEST_GROWTH)
    if v is None:
        return phi(bounded, 1) * h * noise
    return v * bounded.exp() + phi(bounded, 1) * (h * noise + (z - bounded) * v)
