"""Gaussian moment closure: mean and full covariance carried through the step by cubature."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hollowpde.errors import InputError
from hollowpde.likelihoods.closure import Closure
from hollowpde.likelihoods.flow import flow, gauss_legendre, missed
from hollowpde.likelihoods.transition import NormalMixture
from hollowpde.operators.field import Field


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

    def at(self, z: Tensor) -> Tensor:
        """The states that standard normal values `(K, d)` stand for, `(K, ..., d)`."""
        assert self.factor is not None
        return self.mean + torch.einsum("...ij,kj->k...i", self.factor, z)

    def mixture(self, weight: Tensor) -> NormalMixture:
        """The transition with these normals, of batch `(K, n)`, as its components."""
        assert self.factor is not None
        return NormalMixture(weight, self.mean, self.factor)


@dataclass(frozen=True)
class MomentClosure(Closure[Gaussian]):
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

    def known(self, x: Tensor) -> Gaussian:
        return Gaussian(x, None)

    def carry(
        self, drift: Field, diffusion: Field, t: Tensor, law: Gaussian, step: Tensor
    ) -> Gaussian:
        at, weights = gauss_legendre(self.nodes)
        points, now = law.points(), 0.0
        D = _mean(diffusion, t, points)
        for node, weight in zip(at, weights, strict=True):
            points, _ = flow(drift, t + now * step, points, (node - now) * step)
            points, D = _diffused(diffusion, t + node * step, points, weight * step, D)
            now = node
        points, slope = flow(drift, t + now * step, points, (1 - now) * step)
        h = step.unsqueeze(-1)
        return _fitted(points, h * D * missed(h * slope.mean(0), self.nodes))


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
