"""Newton's method with the whole Jacobian, which is kept for as long as it serves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hollowpde.errors import InputError
from hollowpde.solvers.equation import Equation
from hollowpde.solvers.inner.base import (
    Counts,
    Outcome,
    Worker,
    anywhere,
    everywhere,
    index,
    rounding,
    sizes,
)


@dataclass(frozen=True)
class DenseNewton:
    """Newton's method with a dense Jacobian, by d directional derivatives of f.

    The Jacobian is kept from step to step, and taken anew where the iteration has become slow; its
    factors are kept while steps are equal.

    Arguments:
        iterations: at most so many with one Jacobian.
        slow: the contraction from which on the Jacobian is taken anew for the next step.

    Source:
        Shampine and Reichelt, The MATLAB ODE Suite (1997).

    >>> hp.DenseNewton().needs_diagonal
    False
    """

    iterations: int = 6
    slow: float = 0.3

    needs_diagonal = False

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise InputError(f"iterations must be at least 1, but is {self.iterations}.")

    def worker(self, samples: int, tolerance: float) -> Worker:
        return _Newton(samples, tolerance, self)


class _Newton(Worker):
    """Newton's method at work; the Jacobians of its samples and their factors are kept."""

    def __init__(self, samples: int, tolerance: float, settings: DenseNewton) -> None:
        self.tolerance, self.settings = tolerance, settings
        self.fresh = np.zeros(samples, bool)  # taken in this very call
        self.known = np.zeros(samples, bool)
        self._derivative: Tensor | None = None
        # Factors and pivots of the Jacobian of R, and what made it of the derivative.
        self._factors: Tensor | None = None
        self._pivots: Tensor | None = None
        self._made = np.full(samples, np.nan)

    def keep(self, rows: Counts) -> None:
        self.fresh, self.known, self._made = self.fresh[rows], self.known[rows], self._made[rows]
        self._derivative, self._factors, self._pivots = (
            None if kept is None else kept[index(rows, kept)]
            for kept in (self._derivative, self._factors, self._pivots)
        )

    def solve(self, equation: Equation, z: Tensor, scale: Tensor, rows: Counts) -> Outcome:
        self.fresh[:] = False
        self._take(equation, z, rows, ~self.known[rows])
        out = self._iterate(equation, z, scale, rows)
        # Where an old Jacobian failed, once more with a new one.
        again = np.flatnonzero(~out.converged & ~self.fresh[rows])
        if len(again):
            some = index(again, z)
            part, guess = equation.select(some), z[some]
            self._take(part, guess, rows[again], np.ones(len(again), bool))
            out.replace(again, self._iterate(part, guess, scale[some], rows[again]))
        # A slow one will do for this step, not for the next.
        self.known[rows] &= out.converged & (out.rate < self.settings.slow)
        return out

    def _take(self, equation: Equation, z: Tensor, rows: Counts, wanted: np.ndarray) -> None:
        if not anywhere(wanted):
            return
        some = np.flatnonzero(wanted)
        on = index(some, z)
        derivative = (equation if everywhere(wanted) else equation.select(on)).derivative(z[on])
        self._derivative = self._put(self._derivative, rows[some], derivative.contiguous())
        self.known[rows[some]] = self.fresh[rows[some]] = True
        self._made[rows[some]] = np.nan

    def _factored(self, equation: Equation, rows: Counts) -> tuple[Tensor, Tensor]:
        """Factors and pivots of the Jacobian of R; of equal steps they are the same."""
        by, n = equation.factor, len(rows)
        now = np.zeros(n) if by is None else by.squeeze(-1).numpy(force=True).astype(np.float64)
        some = np.flatnonzero(self._made[rows] != now)
        if len(some):
            derivative = self._of(self._derivative, rows[some])
            part = equation if len(some) == n else equation.select(index(some, derivative))
            factors, pivots, _ = torch.linalg.lu_factor_ex(part.matrix(derivative))
            self._factors = self._put(self._factors, rows[some], factors)
            self._pivots = self._put(self._pivots, rows[some], pivots)
            self._made[rows[some]] = now[some]
        return self._of(self._factors, rows), self._of(self._pivots, rows)

    def _of(self, kept: Tensor | None, rows: Counts) -> Tensor:
        """What is kept of some samples; of all of them, without a copy."""
        assert kept is not None
        return kept if len(rows) == len(self.known) else kept[index(rows, kept)]

    def _put(self, kept: Tensor | None, rows: Counts, values: Tensor) -> Tensor:
        """What is kept, with new values of some samples."""
        if len(rows) == len(self.known):
            return values
        if kept is None:
            kept = values.new_zeros(len(self.known), *values.shape[1:])
        return kept.index_copy_(0, index(rows, kept), values)

    def _iterate(self, equation: Equation, z: Tensor, scale: Tensor, rows: Counts) -> Outcome:
        n = len(z)
        factors, pivots = self._factored(equation, rows)
        out = Outcome(z.clone(), np.zeros(n, bool), np.zeros(n, np.int64), np.zeros(n))
        live, last, rate = np.arange(n), np.full(n, np.nan), np.full(n, np.nan)
        floor = rounding(equation, z, scale)
        for iteration in range(1, self.settings.iterations + 1):
            R = equation.residual(z)
            dz = -torch.linalg.lu_solve(factors, pivots, R.unsqueeze(-1)).squeeze(-1)
            size = sizes(dz, scale)
            z = z + dz
            with np.errstate(invalid="ignore", divide="ignore"):
                rate = np.fmax(0.0 * size, size / last) if iteration > 1 else rate
                left = self.settings.iterations - iteration
                lost = ~np.isfinite(size) | (rate >= 1.0)
                lost |= rate**left / (1.0 - rate) * size > self.tolerance
                done = (size <= floor) | (
                    (rate < 1.0) & (rate / (1.0 - rate) * size < self.tolerance)
                )
                # Without a measured contraction, only what is hardly a step at all.
                done |= (iteration == 1) & (size < 1e-3 * self.tolerance)
            lost &= ~done
            gone = done | lost
            where = live[gone]
            if len(where):
                out.converged[live[done]] = True
                out.iterations[where], out.rate[where] = iteration, np.nan_to_num(rate[gone])
                out.z[index(where, z)] = z[index(np.flatnonzero(gone), z)]
                if everywhere(gone):
                    return out
                rest = np.flatnonzero(~gone)
                on = index(rest, z)
                live, last, rate, floor = live[rest], size[rest], rate[rest], floor[rest]
                z, scale, equation = z[on], scale[on], equation.select(on)
                factors, pivots = factors[on], pivots[on]
            else:
                last = size
        out.iterations[live], out.rate[live] = self.settings.iterations, 1.0
        out.z[index(live, z)] = z
        return out
