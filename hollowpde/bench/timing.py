"""Timing by interleaved repeats: what is compared runs alternately, so that drift cancels."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# Repeats that are made even when the time is up, if so many were asked for.
_LEAST = 3


@dataclass(frozen=True)
class Spread:
    """Several values of one number.

    Arguments:
        median: of the values.
        low, high: their quartiles.
        repeats: how many there were.
    """

    median: float
    low: float
    high: float
    repeats: int

    @classmethod
    def over(cls, values: Sequence[float]) -> Spread:
        """The spread of some values.

        >>> Spread.over([2.0, 3.0, 1.0])
        Spread(median=2.0, low=1.5, high=2.5, repeats=3)
        """
        return cls(*_quartiles(values), len(values))


@dataclass(frozen=True)
class Fixed(Spread):
    """A spread whose differences count: shown to two digits after the point, whatever its size.

    >>> print(Fixed.over([101.234]), Fixed.over([101.0, 102.0, 104.0]))
    101.23 102.00 [101.50, 103.00]
    """

    def __str__(self) -> str:
        if self.repeats == 1:
            return f"{self.median:.2f}"
        return f"{self.median:.2f} [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True)
class Ratio(Spread):
    """How many times the time of something else something takes, by the ratios of each repeat.

    Arguments:
        milliseconds: median time of the one that is measured.
    """

    milliseconds: float

    @classmethod
    def of(cls, seconds: Sequence[float], to: Sequence[float]) -> Ratio:
        """The ratio of one row of `interleaved` to another.

        >>> Ratio.of([2.0, 9.0, 4.0], [1.0, 3.0, 4.0]).median
        2.0
        """
        ratios = [a / b for a, b in zip(seconds, to, strict=True)]
        return cls(*_quartiles(ratios), len(ratios), 1e3 * statistics.median(seconds))


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """The median first."""
    low, median, high = (
        statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [*values] * 3
    )
    return median, low, high


def interleaved(
    alternatives: Sequence[Callable[[], object]], repeats: int, seconds: float = math.inf
) -> list[list[float]]:
    """Seconds of each alternative in each repeat; the order turns round at every repeat.

    Arguments:
        alternatives: what to time; each runs once beforehand.
        repeats: how often each is timed.
        seconds: after these no further repeat begins, unless there were fewer than three.
    """
    for alternative in alternatives:
        alternative()
    taken: list[list[float]] = [[] for _ in alternatives]
    begin = time.perf_counter()
    for repeat in range(repeats):
        if repeat >= _LEAST and time.perf_counter() - begin > seconds:
            break
        order = range(len(alternatives))
        for k in order if repeat % 2 == 0 else reversed(order):
            start = time.perf_counter()
            alternatives[k]()
            taken[k].append(time.perf_counter() - start)
    return taken
