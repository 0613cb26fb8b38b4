"""Stages trained at once on stacked parameters: they meet wherever one asks for its losses."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

from torch import Tensor

from hollowpde.problem.stacked import losses_and_gradients
from hollowpde.problem.stage import Together
from hollowpde.training.outcome import DismissedError, Outcome, trained
from hollowpde.training.progress import Show
from hollowpde.training.running import Running

Answer: TypeAlias = tuple[Mapping[str, Tensor], list[Tensor]]


def run_together(
    group: Together, seed: int, interrupted: Callable[[], bool], show: Show
) -> list[Outcome] | None:
    """The outcome of each stage, all trained at once; None if interrupted.

    Each runs in a thread of its own as it would alone, up to where its optimiser asks for losses
    and gradients. There it waits until all others ask as well, or have ended: so what is evaluated
    together, and with it every digit, does not depend on which thread is the faster. Threads are
    there to stop half way through an optimiser's step, not to save time: one runs at a time.

    Raises:
        TrainingError: a loss is not finite.
    """
    meeting = _Meeting(group)
    with ThreadPoolExecutor(len(group.stages)) as pool:
        try:
            runs = [pool.submit(meeting.attend, k, seed) for k in range(len(group.stages))]
            over = meeting.serve(interrupted, show)
        finally:
            meeting.close()
    return [run.result() for run in runs] if over else None


class _Meeting:
    """Who is there, what they ask, and what they are told."""

    def __init__(self, group: Together) -> None:
        self.group = group
        self.present = set(range(len(group.stages)))
        self.asked: dict[int, _Attending] = {}
        self.told: dict[int, Answer] = {}
        self.closed = False
        # Held by whoever runs: forward mode of torch keeps its state for the whole process.
        self.turn = threading.Condition()

    def attend(self, k: int, seed: int) -> Outcome:
        """Train a stage to its end."""
        with self.turn:
            try:
                return trained(_Attending(self, k, seed), lambda: self.closed)
            finally:
                self.present.discard(k)
                self.turn.notify_all()

    def ask(self, k: int, running: _Attending) -> Answer:
        """Losses and gradients of a stage, whose turn it is, once all that are present ask."""
        self.asked[k] = running
        self.turn.notify_all()
        self.turn.wait_for(lambda: k in self.told or self.closed)
        if k not in self.told:
            raise DismissedError
        return self.told.pop(k)

    def serve(self, interrupted: Callable[[], bool], show: Show) -> bool:
        """Answer, round by round, until all are gone; whether it has come to that."""
        with self.turn:
            while not interrupted():
                self.turn.wait_for(lambda: len(self.asked) == len(self.present))
                asking, self.asked = dict(sorted(self.asked.items())), {}
                if not asking:
                    return True
                answers = losses_and_gradients(
                    self.group.losses,
                    [running.stage.module for running in asking.values()],
                    [running.batch for running in asking.values()],
                )
                first = next(iter(asking.values()))
                show(first.step, {name: float(v) for name, v in answers[0][0].items()})
                self.told.update(zip(asking, answers, strict=True))
                self.turn.notify_all()
        return False

    def close(self) -> None:
        """Send those away that still wait."""
        with self.turn:
            self.closed = True
            self.turn.notify_all()


class _Attending(Running):
    """A stage under way whose losses are evaluated with those of the others."""

    def __init__(self, meeting: _Meeting, k: int, seed: int) -> None:
        super().__init__(meeting.group.stages[k], seed)
        self.meeting, self.k = meeting, k
        self.batch: Any = None
        self.gradients: list[Tensor] = []

    def losses(self, batch: Any, progress: float) -> Mapping[str, Tensor]:
        self.batch = batch
        losses, self.gradients = self.meeting.ask(self.k, self)
        return losses

    def differentiate(self, total: Tensor) -> None:
        for p, gradient in zip(self.parameters, self.gradients, strict=True):
            p.grad = gradient
