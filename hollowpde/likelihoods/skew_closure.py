"""Skewed moment closure: mean, variance and third moment carried through the step, on the line."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hollowpde.errors import InputError, UnsupportedError
from hollowpde.likelihoods.closure import Closure
from hollowpde.likelihoods.flow import flow, gauss_legendre, missed
from hollowpde.likelihoods.skewed import Skewed
from hollowpde.operators.field import Field


@dataclass(frozen=True)
class SkewClosure(Closure[Skewed]):
    r"""A transition on the line with the right mean, variance and third central moment.

    Where D or the slope of f changes within a step, transitions are skewed: that of a D which
    grows with x has its longer tail above. A Gaussian likelihood then judges small and large D by
    the wrong tails. The law is carried as in `MomentClosure`, by three points with these moments;
    noise adds

    $$ P \mathrel{+}= w_k h \, E D, \qquad \kappa \mathrel{+}= 3 w_k h \, E (x - m) D $$

    and the transition is the sinh-arcsinh normal law of the last moments. Skewness beyond 1.2,
    and second modes, are left out: see `MixtureClosure`, which takes this closure for its parts.

    Arguments:
        nodes: times within the step at which the noise comes in.

    Raises:
        UnsupportedError: there is more than one dimension.

    Source:
        Moment equations as in Sarkka and Solin, Applied Stochastic Differential Equations (2019),
        chapter 9; the law of Jones and Pewsey, Sinh-arcsinh distributions (2009).
    """

    nodes: int = 2

    def __post_init__(self) -> None:
        if self.nodes < 1:
            raise InputError(f"nodes must be at least 1, but is {self.nodes}.")

    def known(self, x: Tensor) -> Skewed:
        if x.shape[-1] != 1:
            raise UnsupportedError(
                f"a skewed closure is for one dimension, but there are {x.shape[-1]}: use "
                "MomentClosure."
            )
        return Skewed(x, None, None)

    def carry(
        self, drift: Field, diffusion: Field, t: Tensor, law: Skewed, step: Tensor
    ) -> Skewed:
        at, shares = gauss_legendre(self.nodes)
        now = 0.0
        D = _mean(diffusion, t, *law.points())
        for node, share in zip(at, shares, strict=True):
            law, _ = _carried(drift, t + now * step, law, (node - now) * step)
            law, D = _diffused(diffusion, t + node * step, law, share * step, D)
            now = node
        law, slope = _carried(drift, t + now * step, law, (1 - now) * step)
        assert law.variance is not None
        h = step.unsqueeze(-1)
        return Skewed(law.mean, law.variance + h * D * missed(h * slope, self.nodes), law.third)


def _carried(drift: Field, t: Tensor, law: Skewed, step: Tensor) -> tuple[Skewed, Tensor]:
    """The law after following the drift for a while, and the mean of its slope at the start."""
    points, weights = law.points()
    after, slope = flow(drift, t, points, step)
    slope = (weights * slope).sum(0)
    if law.variance is None:
        return Skewed(after[0], None, None), slope
    mean = after[0] + (weights * (after - after[0])).sum(0)
    apart = after - mean
    return (
        Skewed(mean, (weights * apart.square()).sum(0), (weights * apart.pow(3)).sum(0)),
        slope,
    )


def _diffused(
    diffusion: Field, t: Tensor, law: Skewed, step: Tensor, D: Tensor
) -> tuple[Skewed, Tensor]:
    """The law after noise for a while, by the midpoint rule, and the mean of D.

    The D given, of an earlier time, says how far half of the noise spreads.
    """
    h = step.unsqueeze(-1)
    zero = torch.zeros_like(law.mean)
    variance = zero if law.variance is None else law.variance
    third = zero if law.third is None else law.third
    points, weights = Skewed(law.mean, variance + 0.5 * h * D, third).points()
    at = diffusion(t.expand(points.shape[:-1]), points)
    D = (weights * at).sum(0)
    covariance = (weights * at * (points - law.mean)).sum(0)
    return Skewed(law.mean, variance + h * D, third + 3 * h * covariance), D


def _mean(field: Field, t: Tensor, points: Tensor, weights: Tensor) -> Tensor:
    return (weights * field(t.expand(points.shape[:-1]), points)).sum(0)
