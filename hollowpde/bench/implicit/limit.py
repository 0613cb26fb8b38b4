"""The right-hand side as solvers call it: counted, and stopped when it has been called enough."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from torch import Tensor

from hollowpde.solvers.system import RightHandSide


class OverBudget(Exception):
    """A solver has had its share of time or evaluations."""


@dataclass
class Limit:
    """What one solve may take, and has taken.

    Arguments:
        seconds: of the processor, after which it is stopped: others on the machine do not count.
        rows: evaluations of f, each for one sample, after which it is stopped.
        taken: evaluations so far.
    """

    seconds: float
    rows: float
    taken: int = 0
    _wall: float = field(default_factory=time.perf_counter)
    _core: float = field(default_factory=time.process_time)

    @property
    def wall(self) -> float:
        """Seconds since it was made."""
        return time.perf_counter() - self._wall

    @property
    def spent(self) -> float:
        """Those of the processor."""
        return time.process_time() - self._core

    def add(self, rows: int) -> None:
        """Count evaluations.

        Raises:
            OverBudget: there were enough, or it took too long.
        """
        self.taken += rows
        if self.taken > self.rows:
            raise OverBudget(f"{self.rows:.0f} evaluations")
        if self.spent > self.seconds:
            raise OverBudget(f"{self.seconds:g} s")


@dataclass(frozen=True)
class Counted:
    """A function of t `(n,)` and y `(n, d)`, whose rows are counted."""

    f: RightHandSide
    limit: Limit

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        self.limit.add(len(y))
        return self.f(t, y)
