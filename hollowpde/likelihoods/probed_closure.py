"""Diagonal closure, and what the noise of other dimensions adds, by a few directions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from hollowpde.errors import InputError
from hollowpde.likelihoods.base import TransitionLikelihood
from hollowpde.likelihoods.diagonal_closure import advance
from hollowpde.likelihoods.flow import gauss_legendre
from hollowpde.likelihoods.phi import phi
from hollowpde.likelihoods.transition import DiagonalNormal
from hollowpde.operators.dimwise import dimwise, jvp
from hollowpde.operators.field import Field

_FASTEST_GROWTH = 1.0


@dataclass(frozen=True)
class ProbedClosure(TransitionLikelihood):
    r"""A Gaussian transition with the variances of interacting dimensions, for many of them.

    `DiagonalClosure` leaves out what the noise of others does to the variance of a dimension, and
    its own noise by way of others. Linearised along the mean, with the flow `\Phi' = J \Phi` of
    the drift, and `e_i` that of dimension i by itself, that is a factor of its variance,

    $$ \frac{\int (\Phi \, diag(D) \, \Phi^T)_{ii} \, ds}{\int e_i^2 D_i \, ds} $$

    The diagonal takes d directional derivatives, or few if dimensions are probed together: those
    of a class, every K-th one, by signs w at them and zeros elsewhere,

    $$ (\Phi \, diag(D) \, \Phi^T)_{ii} \approx \sum_k (\Phi \, diag(D)^{1/2} w_k)_i^2 $$

    Dimensions of a class are taken not to act on each other. That is exact if no dimension is
    reached within a step by two of a class, as on lattices; else right on average, but for a part
    1/K of the effect. K = d leaves nothing out. Correlations within a step are: likelihoods of
    single dimensions are multiplied, which costs little and biases nothing. The density is no
    number where a dimension has no noise of its own.

    Arguments:
        directions: K; a prime serves lattices of any width.
        nodes: times within the step at which the noise comes in.

    Source:
        Tang and Saad, A probing method for computing the diagonal of a matrix inverse (2012).

    >>> net, noise = hp.HollowNet(50), hp.Positive(hp.HollowNet(50))
    >>> x, t, h = torch.randn(8, 50), torch.zeros(8), torch.full((8,), 0.1)
    >>> ProbedClosure().log_prob(net, noise, t, x, h, x).shape
    torch.Size([8])
    """

    directions: int = 7
    nodes: int = 2

    def __post_init__(self) -> None:
        for name in ("directions", "nodes"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, but is {getattr(self, name)}.")

    def transition(
        self, drift: Field, diffusion: Field, t: Tensor, x: Tensor, step: Tensor
    ) -> DiagonalNormal:
        at, shares = _nodes(self.nodes)
        probes = _probes(x.shape[-1], self.directions).to(x).unsqueeze(1)  # (K, 1, d)
        mean, variance = advance(drift, diffusion, t, x, None, at[0] * step)
        none = x.new_zeros(0, *x.shape)
        noise = _Noise(none, none, probes[:0] != 0)
        alone, whole = torch.zeros_like(x), torch.zeros_like(x)  # without interaction; h a
        for node, share, until in zip(at, shares, [*at[1:], 1.0], strict=True):
            now, h = t + node * step, (until - node) * step
            D = share * step.unsqueeze(-1) * diffusion(now, mean)
            noise, alone = noise.joined_by(probes, D.sqrt()), alone + D
            end, variance = advance(drift, diffusion, now, mean, variance, h)
            noise, ha = noise.carried(drift, now, mean, end, h)
            mean, alone, whole = end, alone * (2 * ha).exp(), ha / (until - node)
        # What comes in after the last node, where noise decays so fast that only that is left.
        late = (step.unsqueeze(-1) * diffusion(t + step, mean) * phi(2 * whole, 1) - alone).clamp(
            min=0
        )
        return DiagonalNormal(mean, variance * (late + noise.variance) / (late + alone))


@dataclass(frozen=True)
class _Noise:
    """Columns whose squares add up to variances, `(M, n, d)` each.

    Arguments:
        within: at the dimensions of a column's class.
        outside: at the others.
        members: those of the class, `(M, 1, d)`.
    """

    within: Tensor
    outside: Tensor
    members: Tensor

    @property
    def variance(self) -> Tensor:
        return (self.within + self.outside).square().sum(0)

    def joined_by(self, probes: Tensor, deviation: Tensor) -> _Noise:
        """With independent noise of this deviation, `(n, d)`."""
        new = probes * deviation
        return _Noise(
            torch.cat([self.within, new]),
            torch.cat([self.outside, torch.zeros_like(new)]),
            torch.cat([self.members, probes != 0]),
        )

    def carried(
        self, drift: Field, t: Tensor, start: Tensor, end: Tensor, step: Tensor
    ) -> tuple[_Noise, Tensor]:
        r"""After a while along a mean, and h a.

        `y' = a y + N y`, with a the diagonal of J and N the rest of it, but for what acts within a
        class. With `N_0` at the start and `N_1` at the end, an exponential Runge-Kutta rule of
        order two, `Y = e^{ha} y + h \phi_1(ha) N_0 y`,

        $$ y' = Y + h \phi_2(ha) (N_1 Y - N_0 y) $$
        """
        h = step.unsqueeze(-1)
        # Any a gives order two; one that grows over the step would only overflow.
        ha = (h * dimwise(drift, t, start, order=1)[1]).clamp(max=_FASTEST_GROWTH)

        def acting(t: Tensor, x: Tensor, noise: _Noise) -> _Noise:
            """`h N y`."""
            y = torch.cat([noise.within, noise.outside])
            along = jvp(drift, t.expand(y.shape[:-1]), x.expand_as(y), y)[1]
            of_class, of_others = (h * along - ha * y).chunk(2)
            return _Noise(
                torch.where(self.members, of_others, 0),
                torch.where(self.members, 0, of_class + of_others),
                self.members,
            )

        first = acting(t, start, self)
        stage = self._plus(first, ha.exp(), phi(ha, 1))
        change = acting(t + step, end, stage)._plus(first, 1.0, -1.0)
        return stage._plus(change, 1.0, phi(ha, 2)), ha

    def _plus(self, other: _Noise, own: Tensor | float, factor: Tensor | float) -> _Noise:
        return _Noise(
            own * self.within + factor * other.within,
            own * self.outside + factor * other.outside,
            self.members,
        )


def _nodes(nodes: int) -> tuple[list[float], list[float]]:
    """When noise comes in, and its share.

    What it does to other dimensions grows with the square of the time left: that is right on
    average, for a single node where `(1 - c)^2 = 1/3`.
    """
    return gauss_legendre(nodes) if nodes > 1 else ([1 - 1 / math.sqrt(3)], [1.0])


@lru_cache
def _probes(dim: int, directions: int) -> Tensor:
    """Signs at every K-th dimension, `(K, d)`: the same in every process."""
    k = min(directions, dim)
    signs = 2 * torch.randint(2, (dim,), generator=torch.Generator().manual_seed(0)) - 1
    return torch.where(torch.arange(dim) % k == torch.arange(k).unsqueeze(1), signs, 0)
