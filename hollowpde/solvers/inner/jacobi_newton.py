"""Newton's method with the diagonal of the Jacobian alone, accelerated: no linear systems."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hollowpde.errors import InputError
from hollowpde.solvers.equation import Equation
from hollowpde.solvers.inner.anderson import Anderson
from hollowpde.solvers.inner.base import (
    Counts,
    Flags,
    Numbers,
    Outcome,
    Worker,
    anywhere,
    everywhere,
    index,
    sizes,
)

# Nearer to zero no diagonal is divided by: 1 - c D, where D is positive, may vanish.
_LEAST_DIAGONAL = 0.2
# What is within this share of the tolerance at once is taken without a measured contraction.
_AT_ONCE = 0.1
# Below this contraction a coarse tolerance of the iteration is harmless (measured).
_FAST = 0.3
_COARSE = 0.03
# After so many iterations one that contracts too little is given up.
_PATIENCE = 3
# A contraction measured before counts on, a little less at each step.
_FORGET = 0.8
# An old diagonal serves while it contracts by this, or hardly less than when it was new: a trade
# of evaluations of the diagonal for those of f (measured on van der Pol, Oregonator, FitzHugh).
_SERVES = 0.05
_WORSE = 1.1


@dataclass(frozen=True)
class JacobiNewton:
    r"""Jacobi-Newton iteration: `z <- z - R(z) / diag R'(z)`, with Anderson's acceleration.

    With the stage equation of an implicit method, `R = z - b - c f(t, z)`, the diagonal is
    `1 - c D` with the dimension-wise derivative D, which a hollow network gives in one pass. It
    contracts by `M = c (I - c D)^{-1} (J - D)`: below one at every step size where the diagonal
    of J dominates its rows. The D of a function is kept from step to step while it contracts as
    well as when it was new; that of a field comes along with f. The contraction is measured at
    every step, and where it nears one a small update is not a small error: such samples are handed
    to a full Newton method for a while (`hand_over`).

    Arguments:
        anderson: how many past iterates are combined; 0 is the plain iteration.
        iterations: at most so many.
        hand_over: the contraction from which on a sample is handed over.

    Source:
        Chen and Duvenaud, Neural Networks with Cheap Differential Operators (2019), sec. 4.

    >>> hp.JacobiNewton(anderson=0).iterations
    12
    """

    anderson: int = 5
    iterations: int = 12
    hand_over: float = 0.7

    needs_diagonal = True

    def __post_init__(self) -> None:
        if self.anderson < 0 or self.iterations < 1:
            raise InputError(
                "anderson must not be negative and iterations at least 1, but they are "
                f"{self.anderson} and {self.iterations}."
            )
        if not 0 < self.hand_over < 1:
            raise InputError(f"hand_over must lie in (0, 1), but is {self.hand_over}.")

    def worker(self, samples: int, tolerance: float) -> Worker:
        return Iteration(
            samples, tolerance, self.anderson, self.iterations, self.hand_over, diagonal=True
        )


class Iteration(Worker):
    """An accelerated fixed-point iteration `z <- z - R / N`, at work on a batch.

    Arguments:
        samples: how many.
        tolerance: the error that is small enough, in units of the scale.
        memory: of the acceleration.
        iterations: at most.
        hand_over: the contraction from which on it is not to be trusted.
        diagonal: whether N is the diagonal of the Jacobian, or one (functional iteration).
    """

    def __init__(
        self,
        samples: int,
        tolerance: float,
        memory: int,
        iterations: int,
        hand_over: float,
        diagonal: bool,
    ) -> None:
        self.memory, self.iterations = memory, iterations
        # Of a slow iteration, and of a fast one.
        self._tolerances = np.array([tolerance, max(_COARSE, tolerance)])
        self.hand_over, self.diagonal = hand_over, diagonal
        # The contraction measured of late, nan before there is any.
        self.rate = np.full(samples, np.nan)
        # The diagonal is kept for as long as it serves: of whom it is to be taken anew, and by
        # what it contracted when it was new.
        self.stale, self._born = np.ones(samples, bool), np.full(samples, np.nan)
        self._slope: Tensor | None = None
        self._weight: _Weight | None = None

    @property
    def contraction(self) -> Numbers:
        return self.rate

    def renew(self) -> None:
        self.stale[:] = True

    def keep(self, rows: Counts) -> None:
        self.rate, self.stale, self._born = self.rate[rows], self.stale[rows], self._born[rows]
        if self._slope is not None:
            self._slope = self._slope[index(rows, self._slope)]

    def solve(self, equation: Equation, z: Tensor, scale: Tensor, rows: Counts) -> Outcome:
        if not self.diagonal:
            R, always = equation.residual(z), np.ones(len(z), bool)
            return self._iterate(equation, z, -R, None, scale, rows, always)
        fresh = self.stale[rows] | equation.system.diagonal_comes_along
        R, slope = self._with_slope(equation, z, rows, fresh)
        weight = self._weighted(equation, slope)
        out = self._iterate(equation, z, R * weight, weight, scale, rows, fresh)
        measured, born = out.iterations > 1, self._born[rows]
        if anywhere(fresh):
            born = self._born[rows] = np.where(fresh & measured, out.rate, born)
        worse = measured & (out.rate > np.fmax(_SERVES, _WORSE * born))
        self.stale[rows] = worse | ~out.converged
        # Where an old diagonal is to blame, once more with a new one.
        blamed = ~fresh & (~out.converged | (out.rate > self.hand_over))
        if anywhere(blamed):
            again = np.flatnonzero(blamed)
            some = index(again, z)
            self.stale[rows[again]] = True
            out.replace(
                again, self.solve(equation.select(some), z[some], scale[some], rows[again])
            )
        return out

    def _with_slope(
        self, equation: Equation, z: Tensor, rows: Counts, fresh: Flags
    ) -> tuple[Tensor, Tensor]:
        """R and the diagonal to go by: a new one of the samples that need one, of others kept."""
        kept, everyone = self._slope, len(rows) == len(self.stale)
        if kept is not None and not anywhere(fresh):
            return equation.residual(z), kept if everyone else kept[index(rows, z)]
        R, slope = equation.with_slope(z)
        # It may be the very tensor of before, with other values.
        self._weight = None
        if everyone and everywhere(fresh):
            self._slope = slope
            return R, slope
        if kept is None:
            kept = slope.new_zeros(len(self.stale), slope.shape[-1])
        new, on = torch.from_numpy(fresh).to(slope.device).unsqueeze(-1), index(rows, z)
        slope = torch.where(new, slope, kept[on])
        self._slope = kept.index_copy(0, on, slope)
        return R, slope

    def _weighted(self, equation: Equation, slope: Tensor) -> Tensor:
        """What turns residuals into steps; of equal steps with a kept diagonal it is the same."""
        kept, factor = self._weight, equation.factor
        if kept is None or kept.slope is not slope or kept.factor is not factor:
            kept = self._weight = _Weight(slope, factor, _inverse(equation.diagonal(slope)))
        return kept.value

    def _iterate(
        self,
        equation: Equation,
        z: Tensor,
        r: Tensor,
        weight: Tensor | None,
        scale: Tensor,
        rows: Counts,
        fresh: Flags,
    ) -> Outcome:
        """From a guess and its step r, with a weight that turns residuals into steps.

        Of samples whose weight is not fresh, nothing is taken without a measured contraction.
        """
        known = before = self.rate[rows]
        # Of those that are through: which, and what became of them.
        parts: list[tuple[Counts, Outcome]] = []
        live = np.arange(len(z))
        rate = np.nan * before
        mixer, size = Anderson(self.memory, equation.system.eps), sizes(r, scale)
        for iteration in range(1, self.iterations + 1):
            done = self._small(size, rate, known, iteration, fresh)
            gone = done | ~np.isfinite(size)
            if iteration > _PATIENCE:
                # It will not become a contraction any more, or none that can be trusted.
                gone |= rate > self.hand_over
            if anywhere(gone):
                part = Outcome(z + r, done, np.full(len(live), iteration), rate)
                if everywhere(gone):
                    parts.append((live, part))
                    break
                some, rest = np.flatnonzero(gone), np.flatnonzero(~gone)
                parts.append((live[some], part.select(some)))
                on = index(rest, z)
                live, rate, known, size = live[rest], rate[rest], known[rest], size[rest]
                z, r, scale, equation = z[on], r[on], scale[on], equation.select(on)
                weight = None if weight is None else weight[on]
                mixer.keep(on)
            step = mixer.step(r, scale)
            z = z + step
            R = equation.residual(z)
            new = -R if weight is None else R * weight
            change = new - r
            after = sizes(new, scale)
            # How much the iteration contracts along the step that it has just made.
            if iteration == 1 or not self.memory:
                shrunk, moved = after, size
            else:
                shrunk, moved = sizes(step + change, scale), sizes(step, scale)
            now = shrunk / np.maximum(moved, 1e-300)
            if iteration == 2:
                # The second step lies along M times the first: what was measured of both is the
                # contraction of M twice, which knows of no growth that does not last.
                rate = np.sqrt(rate * now)
            rate = np.fmax(rate, now)
            mixer.learn(step, change)
            r, size = new, after
        else:
            no, most = np.zeros(len(live), bool), np.full(len(live), self.iterations)
            parts.append((live, Outcome(z, no, most, rate)))
        out = Outcome.joined(parts)
        # Where one iteration was enough, nothing was measured.
        self.rate[rows] = np.where(out.iterations > 1, np.fmax(out.rate, _FORGET * before), before)
        out.rate = np.fmax(out.rate, 0.0)
        return out

    def _small(
        self, size: Numbers, rate: Numbers, known: Numbers, iteration: int, fresh: Flags
    ) -> Flags:
        """Whether the error after one more plain step is within the tolerance."""
        if iteration == 1 and not anywhere(fresh):
            return np.asarray(size == 0.0)
        # Near rounding a step measures no contraction, and what it measures may be above one.
        rho = np.minimum(np.fmax(rate, known), 1.0 - 1e-6)
        tolerance = self._tolerances[(rho <= _FAST).astype(np.intp)]
        # The error is at most rho / (1 - rho) of the update.
        most = tolerance * (1.0 - rho)
        if iteration > 1:
            return np.asarray(size * rho <= most)
        # Nothing has been measured yet of this equation.
        at_once = size * np.fmax(rho, 1.0 - rho) <= _AT_ONCE * most * fresh
        return np.asarray(at_once | (size == 0.0))


@dataclass(frozen=True)
class _Weight:
    """The weight of residuals, and the very tensors that it was made of."""

    slope: Tensor
    factor: Tensor | None
    value: Tensor


def _inverse(diagonal: Tensor) -> Tensor:
    """Minus its inverse, which stays away from zero; one of exactly zero counts as positive."""
    least = diagonal.abs().clamp_(min=_LEAST_DIAGONAL)
    return least.copysign_(diagonal).reciprocal_().neg_()
