"""How much the benchmark measures."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hollowpde.bench import tables


@dataclass(frozen=True)
class Budget:
    """How much to measure.

    Arguments:
        steps: of each optimiser, on both sides; None leaves each its own.
        cap: seconds of training after which DeepXDE is stopped, if its recipe has no fewer.
        repeats: at most so many of each comparison of residuals.
        seconds: for each of these comparisons, of which three repeats are made in any case.
        largest: the largest d of these.
        threads: of one operation.
    """

    steps: int | None = None
    cap: float = math.inf
    repeats: int = 101
    seconds: float = 3.0
    largest: int = 100
    threads: int = 1

    @property
    def timing(self) -> tables.Budget:
        """That of a comparison of times."""
        return tables.Budget(self.repeats, self.seconds, largest=self.largest)


QUICK = Budget(steps=10, cap=5.0, repeats=3, seconds=0.1, largest=10)
