"""A cheap iteration that hands over to a full Newton method where it is not to be trusted."""

from __future__ import annotations

from collections import Counter

import numpy as np
from torch import Tensor

from hollowpde.solvers.equation import Equation
from hollowpde.solvers.inner.base import (
    Counts,
    Numbers,
    Outcome,
    Worker,
    anywhere,
    everywhere,
    index,
)
from hollowpde.solvers.inner.dense_newton import DenseNewton
from hollowpde.solvers.inner.jacobi_newton import Iteration
from hollowpde.solvers.inner.newton_krylov import NewtonKrylov

# Up to this dimension the whole Jacobian is affordable.
DENSE = 128
# Beyond it, a sample is handed over when its equation was not solved so often in a row.
_FAILURES = 3
# A sample that was handed over stays there for so many steps.
_STAY = 20


class Guard(Worker):
    """Samples whose contraction nears one, or that do not converge, go to a Newton method.

    Where I - M is nearly singular, as along a conserved sum, a small update is not a small error,
    and an iteration that believes it is silently wrong.

    Arguments:
        first: the cheap iteration.
        dim: d, by which the Newton method is chosen.
        samples: how many.
        tolerance: of the Newton method.
        counts: where hand-overs are counted.
        conserving: whether all samples are handed over from the beginning.
    """

    def __init__(
        self,
        first: Iteration,
        dim: int,
        samples: int,
        tolerance: float,
        counts: Counter[str],
        conserving: bool,
    ) -> None:
        self.first, self.counts = first, counts
        affordable = dim <= DENSE
        settings = DenseNewton() if affordable else NewtonKrylov()
        self.second = settings.worker(samples, tolerance)
        self.patience = 1 if affordable else _FAILURES
        if not affordable:
            # Half as far from one: its own bound of the error has to do.
            first.hand_over = 0.5 * (1.0 + first.hand_over)
        self.left = np.full(samples, np.iinfo(np.int64).max if conserving else 0)
        counts["handed over"] += samples * conserving
        self.failures = np.zeros(samples, np.int64)

    @property
    def contraction(self) -> Numbers:
        return self.first.contraction

    def renew(self) -> None:
        self.first.renew()

    def keep(self, rows: Counts) -> None:
        self.first.keep(rows)
        self.second.keep(rows)
        self.left, self.failures = self.left[rows], self.failures[rows]

    def solve(self, equation: Equation, z: Tensor, scale: Tensor, rows: Counts) -> Outcome:
        n = len(z)
        handed = self.left[rows] > 0
        if not anywhere(handed):
            out = self.first.solve(equation, z, scale, rows)
            if everywhere(out.converged) and not anywhere(out.rate > self.first.hand_over):
                self.failures[rows] = 0
                return out
        else:
            out = Outcome(z, np.zeros(n, bool), np.zeros(n, np.int64), np.zeros(n))
            if not everywhere(handed):
                cheap = np.flatnonzero(~handed)
                on = index(cheap, z)
                out.replace(
                    cheap, self.first.solve(equation.select(on), z[on], scale[on], rows[cheap])
                )
        failed = ~handed & ~out.converged
        self.failures[rows] = np.where(failed, self.failures[rows] + 1, 0)
        distrusted = ~handed & out.converged & (out.rate > self.first.hand_over)
        distrusted |= failed & (self.failures[rows] >= self.patience)
        self.counts["handed over"] += int(distrusted.sum())
        self.left[rows[distrusted]] = _STAY
        again = np.flatnonzero(handed | distrusted)
        if len(again):
            on = index(again, z)
            out.replace(
                again, self.second.solve(equation.select(on), z[on], scale[on], rows[again])
            )
            self.left[rows[again]] -= 1
            self.first.stale[rows[again]] = True
        return out
