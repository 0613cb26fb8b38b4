"""Gaussian moment closure: mean and full covariance carried through the step by cubature."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from hollowpde.errors import InputError
from hollowpde.likelihoods.base import TransitionLikelihood
from hollowpde.likelihoods.phi import phi
from hollowpde.likelihoods.transition import NormalMixture
from hollowpde.operators.dimwise import dimwise
from hollowpde.operators.field import Field

_STAGE = 2 / 3
_FASTEST_GROWTH = 1.0


@dataclass(frozen=True)
class Gaussian:
    """Normal distributions: mean `(..., d)` and the lower factor of the covariance, or none."""

    mean: Tensor
    factor: Tensor | None  # (..., d, d); None stands for a state that is known exactly

    def points(self) -> Tensor:
        """Cubature points, of equal weight and with these moments: `(points, ..., d)`.

        `mean +- sqrt(d) factor e_i`, exact for polynomials of degree 3.
        """
        if self.factor is None:
            return self.mean.unsqueeze(0)
        spread = math.sqrt(self.mean.shape[-1]) * self.factor.movedim(-1, 0)
        return self.mean + torch.cat([spread, -spread])


@dataclass(frozen=True)
class MomentClosure(TransitionLikelihood):
    r"""A Gaussian transition whose mean and full covariance are carried through the step.

    The step is a composition of two maps. Without noise, every cubature point of N(m, P) follows
    `x' = f(t, x)`; the moments of the points are those of the next Gaussian. The noise comes in at
    the Gauss-Legendre nodes c_k of the step, with weights w_k: `P += w_k h diag(mean D)`.

    $$ x_j \mapsto \varphi_{(c_{k+1} - c_k) h}(x_j), \quad
       m = \tfrac{1}{2d} \sum_j x_j, \quad
       P = \tfrac{1}{2d} \sum_j (x_j - m)(x_j - m)^T $$

    The flow is integrated by an exponential Runge-Kutta rule with the exact diagonal a of the
    Jacobian, and what the nodes miss of the decay of the noise along it is added at the end, so
    that fast decay needs no small steps. (What a fast dimension passes on to others is right to
    some percent where `|a| h` is at most about 2 `nodes`.) All correlation is kept, and D is
    averaged along the way. The covariance is a sum of squares and never loses its sign;
    dimensions without noise of their own get theirs from the others, if `nodes` is at least 2 (3
    if only by way of another one without noise). The density is not finite where a dimension gets
    no noise at all, or the state overflows.

    Drift and diffusion are evaluated at 2d points several times over, where Euler-Maruyama takes
    one: for d up to 16 or so. Skewness and second modes are left out: see `MixtureClosure`.

    Arguments:
        nodes: times within the step at which the noise comes in.

    Source:
        Sarkka and Solin, Applied Stochastic Differential Equations (2019), chapter 9; cubature:
        Arasaratnam and Haykin, Cubature Kalman filters (2009).
    """

    nodes: int = 2

    def __post_init__(self) -> None:
        if self.nodes < 1:
            raise InputError(f"nodes must be at least 1, but is {self.nodes}.")

    def transition(
        self, drift: Field, diffusion: Field, t: Tensor, x: Tensor, step: Tensor
    ) -> NormalMixture:
        after = self.carry(drift, diffusion, t, Gaussian(x, None), step)
        assert after.factor is not None  # at least one node has let noise in
        weight = torch.ones(1, dtype=x.dtype, device=x.device)
        return NormalMixture(weight, after.mean.unsqueeze(0), after.factor.unsqueeze(0))

    def carry(
        self, drift: Field, diffusion: Field, t: Tensor, state: Gaussian, step: Tensor
    ) -> Gaussian:
        """The Gaussian after a step, from that before it; t and step `(...)`."""
        at, weights = _gauss_legendre(self.nodes)
        points, now = state.points(), 0.0
        D = _mean(diffusion, t, points)
        for node, weight in zip(at, weights, strict=True):
            points, _ = _flow(drift, t + now * step, points, (node - now) * step)
            points, D = _diffused(diffusion, t + node * step, points, weight * step, D)
            now = node
        points, slope = _flow(drift, t + now * step, points, (1 - now) * step)
        h = step.unsqueeze(-1)
        return _fitted(points, h * D * self._missed(h * slope))

    def _missed(self, ha: Tensor) -> Tensor:
        r"""What the nodes miss of the noise where it decays: it belongs to the end of the step.

        $$ \varphi_1(2 h a) - \sum_k w_k \, e^{2 h a (1 - c_k)} $$

        never negative, since all derivatives of exp are positive, and of order `2 nodes`.
        """
        z = 2 * ha.clamp(max=_FASTEST_GROWTH)
        at, weights = _gauss_legendre(self.nodes)
        seen = [w * ((1 - c) * z).exp() for c, w in zip(at, weights, strict=True)]
        return (phi(z, 1) - torch.stack(seen).sum(0)).clamp(min=0)


def _flow(drift: Field, t: Tensor, x: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    r"""The points after following the drift for a while, and the mean of a at the start.

    One step of an exponential Runge-Kutta rule.

    With `a = D_dim f` and `N(x) = f(x) - a x`, stage `U = x + c h \phi_1(c h a) f`, c = 2/3,

    $$ x' = x + h \phi_1(h a) f + \tfrac{h}{c} \phi_2(h a) (N(t + c h, U) - N(t, x)) $$

    of order two, and three where dimensions do not interact; stable however fast they decay.
    """
    t, h = t.expand(x.shape[:-1]), step.unsqueeze(-1)
    f, a = dimwise(drift, t, x, order=1)
    # Any a gives order two; one that grows over the step would only overflow.
    ha = (h * a).clamp(max=_FASTEST_GROWTH)
    stage = x + _STAGE * h * phi(_STAGE * ha, 1) * f
    change = h * (drift(t + _STAGE * step, stage) - f) - ha * (stage - x)
    return x + h * phi(ha, 1) * f + phi(ha, 2) * change / _STAGE, a.mean(0)


def _diffused(
    diffusion: Field, t: Tensor, points: Tensor, step: Tensor, D: Tensor
) -> tuple[Tensor, Tensor]:
    """The points after noise for a while, by the midpoint rule, and the mean of D.

    The D given, of an earlier time, says how far half of the noise spreads; averaged over that
    spread the new one is right to order two.
    """
    h = step.unsqueeze(-1)
    half_way = _fitted(points, 0.5 * h * D).points()
    D = _mean(diffusion, t, half_way)
    return _fitted(points, h * D).points(), D


def _mean(field: Field, t: Tensor, points: Tensor) -> Tensor:
    return field(t.expand(points.shape[:-1]), points).mean(0)


def _fitted(points: Tensor, noise: Tensor | float = 0.0) -> Gaussian:
    """The normal distributions with the moments of the points, and independent noise added.

    A covariance that is no number, or not positive, gives a factor that is no number.
    """
    # About a point of their own, so that points that agree in a dimension leave nothing in it.
    apart = points - points[0]
    centre = apart.mean(0)
    spread = apart - centre
    variance = spread.square().mean(0) + noise
    # Factorised as correlations: dimensions of any scale keep their digits, and one that no noise
    # has reached yet gets a row of exact zeros.
    scale = torch.where(variance == 0, torch.ones_like(variance), variance).sqrt()
    factor = _correlation_factor(spread / scale)
    rows = torch.where(variance == 0, torch.zeros_like(scale), scale)
    return Gaussian(points[0] + centre, rows.unsqueeze(-1) * factor)


def _correlation_factor(spread: Tensor) -> Tensor:
    """The lower factor of the matrix `mean_k s_k s_k^T`, with ones put on its diagonal."""
    d = spread.shape[-1]
    if d == 1:
        return torch.ones_like(spread[0]).unsqueeze(-1)
    correlation = torch.einsum("k...i,k...j->...ij", spread, spread) / len(spread)
    # More than one by the rounding of a factorisation, for dimensions that move as one.
    correlation.diagonal(dim1=-2, dim2=-1).fill_(1 + d * torch.finfo(spread.dtype).eps)
    factor, failed = torch.linalg.cholesky_ex(correlation)
    return torch.where(failed[..., None, None] == 0, factor, math.nan)


@lru_cache
def _gauss_legendre(nodes: int) -> tuple[list[float], list[float]]:
    """Nodes and weights on [0, 1]."""
    at, weights = np.polynomial.legendre.leggauss(nodes)
    return ((at + 1) / 2).tolist(), (weights / 2).tolist()
