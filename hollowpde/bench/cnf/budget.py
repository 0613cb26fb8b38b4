"""How much of flows is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from hollowpde.bench.timing import interleaved


@dataclass(frozen=True)
class Budget:
    """How much to measure.

    Arguments:
        seeds: of data, split and weights of each fit: 0, 1, ...
        jobs: processes of fits; those that share a core share their seconds too.
        seconds: of the training of each fit.
        repeats: at most so many of each comparison of times.
        timing: seconds for each of these, of which three repeats are made in any case.
        largest: the largest d of them.
    """

    seeds: int = 3
    jobs: int = 1
    seconds: float = 40.0
    repeats: int = 31
    timing: float = 20.0
    largest: int = 512

    def up_to(self, *dimensions: int) -> Iterator[int]:
        """Those of the dimensions that are to be measured."""
        return (d for d in dimensions if d <= self.largest)

    def time(self, alternatives: Iterable[Callable[[], object]]) -> list[list[float]]:
        """The times of alternatives, interleaved."""
        return interleaved(list(alternatives), self.repeats, self.timing)


QUICK = Budget(seeds=1, seconds=0.5, repeats=1, timing=0.0, largest=2)
