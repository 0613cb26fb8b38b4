"""The error of a solver against its seconds of training."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


class Stopwatch:
    """Wall seconds since it was made, but for those spent on measuring."""

    def __init__(self) -> None:
        self._wall, self._core = time.perf_counter(), time.process_time()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._wall

    @property
    def share(self) -> float:
        """Of a core, that the process had in that time: less than 1 where others had the rest."""
        return (time.process_time() - self._core) / self.seconds

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What happens within takes no time."""
        wall, core = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self._wall += time.perf_counter() - wall
            self._core += time.process_time() - core


@dataclass
class Curve:
    """Errors, at growing seconds of training.

    Arguments:
        seconds, errors: as they were noted.
        share: of a core, that training had.

    >>> curve = Curve([1.0, 2.0, 3.0], [0.5, 0.05, 0.2])
    >>> curve.first(0.1), curve.first(0.01), curve.by(2.5), curve.best
    (2.0, None, 0.05, 0.05)
    """

    seconds: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    share: float = 1.0

    def note(self, seconds: float, error: float) -> None:
        self.seconds.append(seconds)
        self.errors.append(error)

    def first(self, error: float) -> float | None:
        """Seconds after which the error was no larger for the first time, if it ever was."""
        pairs = zip(self.seconds, self.errors, strict=True)
        return next((s for s, e in pairs if e <= error), None)

    def by(self, seconds: float) -> float | None:
        """The least error up to some time; none if there was none yet."""
        pairs = zip(self.seconds, self.errors, strict=True)
        return min((e for s, e in pairs if s <= seconds), default=None)

    @property
    def best(self) -> float:
        """The least error."""
        return min(self.errors)

    @property
    def end(self) -> float:
        """Seconds of training in all."""
        return self.seconds[-1]
