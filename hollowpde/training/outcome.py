"""What is left of a stage that was trained from start to end without the trainer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from hollowpde.training.history import Row
from hollowpde.training.running import Running


@dataclass(frozen=True)
class Outcome:
    """The best weights of a stage, how many steps it took, and its history."""

    weights: dict[str, Tensor]
    steps: int
    rows: list[Row]


class DismissedError(Exception):
    """Nobody waits for a stage any more."""


def trained(running: Running, dismissed: Callable[[], bool]) -> Outcome:
    """Train a stage to its end; how long it takes is left to the trainer.

    Raises:
        DismissedError: asked to leave off, between two steps.
    """
    running.begin()
    rows: list[Row] = []
    while not running.finished:
        if dismissed():
            raise DismissedError
        running.advance()
        if running.due:
            rows.append(running.row(running.validate(), 0.0))
    running.keep_best()
    return Outcome(running.stage.module.state_dict(), running.step, rows)
