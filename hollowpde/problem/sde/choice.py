"""Which transition likelihood a fit needs: the cheapest that is as good as the most accurate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hollowpde.data import Pairs
from hollowpde.errors import UnsupportedError
from hollowpde.likelihoods import (
    DiagonalClosure,
    EulerMaruyama,
    LocalLinearization,
    MixtureClosure,
    MomentClosure,
    ProbedClosure,
    SkewClosure,
    TransitionLikelihood,
)
from hollowpde.operators.dimwise import dimwise
from hollowpde.operators.field import Field
from hollowpde.problem.sde.rows import each, take, thinned

# Nats per transition by which a likelihood may differ from the most accurate one, times the root
# of the dimension: what dimensions contribute differs in sign. What it does to an estimate is of
# second order in it: lost in the noise of some 10^4 transitions.
_TOLERANCE = 0.02
# Dimensions beyond which 2 d points for each state are too dear, and too dear for a first look.
_MOST_CUBATURE = 16
_MOST_AT_FIRST = 3
# Pairs to compare on.
_ROWS = 4000


@dataclass(frozen=True)
class Ladder:
    """Likelihoods from the cheapest to the most accurate that are worth their price.

    Arguments:
        rungs: to choose from.
        reference: more accurate than any, to compare with.
        first: for a first look, when nothing is known of the equation yet.
    """

    rungs: Sequence[TransitionLikelihood]
    reference: TransitionLikelihood
    first: TransitionLikelihood


def ladder(noisy: Sequence[bool], filtered: bool = False) -> Ladder:
    """What there is to choose from; dimensions without noise need the noise of the others.

    A filter carries a Gaussian.

    Raises:
        UnsupportedError: a filter in more dimensions than moment closure is for.
    """
    dim = len(noisy)
    if filtered and dim > _MOST_CUBATURE:
        raise UnsupportedError(
            f"observation: noise is filtered in up to {_MOST_CUBATURE} dimensions, but there are "
            f"{dim}: leave it out."
        )
    closure = MomentClosure(nodes=2)
    if filtered or not all(noisy):
        rungs = [MomentClosure(nodes=1), closure] if all(noisy) else [closure]
        return Ladder(rungs, MomentClosure(nodes=4), closure)
    simple: list[TransitionLikelihood] = [EulerMaruyama(), LocalLinearization()]
    diagonal = DiagonalClosure()
    if dim > _MOST_CUBATURE:
        accurate = ProbedClosure(directions=11, nodes=3)
        return Ladder([*simple, diagonal, ProbedClosure()], accurate, simple[-1])
    if dim > _MOST_AT_FIRST:
        return Ladder([*simple, diagonal, closure], MomentClosure(nodes=4), simple[-1])
    if dim == 1:
        coarse, fine = SkewClosure(nodes=1), SkewClosure(nodes=2)
        mixtures = [MixtureClosure(closure=coarse), MixtureClosure(closure=fine)]
        return Ladder([*simple, fine, *mixtures], MixtureClosure(nodes=9, closure=fine), coarse)
    # Quadrature in two dimensions is too dear to fit by, but not to compare with.
    exact = MixtureClosure(closure=closure) if dim == 2 else MomentClosure(nodes=4)
    return Ladder([*simple, closure], exact, MomentClosure(nodes=1))


@dataclass(frozen=True)
class Comparison:
    """Likelihoods under one and the same equation, on held-out pairs.

    Arguments:
        log_prob: of each likelihood, nats per transition.
        gap: mean distance of each from the reference's log density, nats per transition.
        reference: the reference's own log_prob.
        speed: the largest `h |d_i f_i|`, but for one pair in a hundred.
        tolerance: of the gap.
    """

    log_prob: Sequence[float]
    gap: Sequence[float]
    reference: float
    speed: float
    tolerance: float

    @property
    def choice(self) -> int:
        """The first whose gap is small, or else the last."""
        good = [k for k, gap in enumerate(self.gap) if gap <= self.tolerance]
        return good[0] if good else len(self.gap) - 1

    def reason(self, rungs: Sequence[TransitionLikelihood]) -> str:
        """The choice in words."""
        gaps = ", ".join(f"{name(r)} {g:.3f}" for r, g in zip(rungs, self.gap, strict=True))
        last = self.choice == len(rungs) - 1 and self.gap[-1] > self.tolerance
        why = "the most accurate" if last else f"the cheapest within {self.tolerance:g}"
        return (
            f"likelihood: {name(rungs[self.choice])}, {why}; distance from the exact transition, "
            f"nats per step: {gaps}; h |d_i f_i| up to {self.speed:.2g}"
        )


def name(likelihood: TransitionLikelihood) -> str:
    """A likelihood in a word, or a few where it has parts."""
    if isinstance(likelihood, MixtureClosure):
        return f"{type(likelihood).__name__} of {likelihood.nodes} {name(likelihood.closure)}"
    if isinstance(likelihood, MomentClosure | SkewClosure):
        return f"{type(likelihood).__name__}({likelihood.nodes})"
    return type(likelihood).__name__


def compare(
    rungs: Sequence[TransitionLikelihood],
    reference: TransitionLikelihood,
    drift: Field,
    diffusion: Field,
    pairs: Pairs,
) -> Comparison:
    """Every likelihood, and how far its log density is from the reference's."""
    pairs = thinned(pairs, _ROWS)

    def log_prob(likelihood: TransitionLikelihood) -> Tensor:
        return each(
            lambda r: likelihood.log_prob(drift, diffusion, r.t, r.x, r.step, r.x_next), pairs
        )

    exact = log_prob(reference)
    values = [log_prob(rung) for rung in rungs]
    return Comparison(
        log_prob=[float(v.mean()) for v in values],
        gap=[float((v - exact).abs().nan_to_num(torch.inf).mean()) for v in values],
        reference=float(exact.mean()),
        speed=float(speeds(drift, pairs).quantile(0.99)),
        tolerance=_TOLERANCE * math.sqrt(pairs.x.shape[-1]),
    )


def speeds(drift: Field, pairs: Pairs) -> Tensor:
    """`max_i h |d_i f_i|` of each pair: how far from linear in the step its transition is."""

    def largest(rows: Pairs) -> Tensor:
        slope = dimwise(drift, rows.t, rows.x, order=1)[1]
        return (rows.step.unsqueeze(-1) * slope).abs().amax(-1)

    return each(largest, take(pairs, slice(None)))
