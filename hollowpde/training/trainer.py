"""The trainer: runs stages, keeps the best weights, and can stop and go on at any step."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from types import FrameType

from torch import nn

from hollowpde.problem.stage import Group, SideBySide, Stage, Together
from hollowpde.training.elsewhere import NotPicklableError, run_elsewhere
from hollowpde.training.history import Row
from hollowpde.training.outcome import Outcome
from hollowpde.training.progress import Progress
from hollowpde.training.running import Running, State
from hollowpde.training.together import run_together

# Seconds between checkpoints: so much work may be lost to a power cut.
_CHECKPOINT_SECONDS = 10.0


@dataclass
class Trainer:
    """Runs the stages of a fit; all that it knows can be saved and restored.

    Arguments:
        model: holds all parameters of all stages.
        seed: of the batches; every stage draws from a generator of its own.
        save: called with the trainer's state when it should be kept.
        progress: shows what goes on.
    """

    model: nn.Module
    seed: int
    save: Callable[[State], None]
    progress: Progress
    history: list[Row] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    seconds: float = 0.0
    steps: int = 0
    _current: State | None = None

    def run(self, stages: Iterable[Group]) -> None:
        """Run the stages that are not done yet.

        Raises:
            TrainingError: a loss is not finite; the last checkpoint stands.
            KeyboardInterrupt: asked for by a signal; raised between two steps, the state saved.
        """
        with between_steps() as interrupted:
            for item in stages:
                match item:
                    case SideBySide():
                        self._run_side_by_side(item, interrupted)
                    case Together():
                        self._run_together(item, interrupted)
                    case Stage():
                        self._run_one(item, interrupted)
            # Once more, with what was decided after the last stage.
            self.save(self.state())
            if interrupted.is_set():
                raise KeyboardInterrupt

    def state(self, running: Running | None = None) -> State:
        """Everything that a resumed run needs, as plain data and tensors."""
        return {
            "model": self.model.state_dict(),
            "done": list(self.done),
            "history": list(self.history),
            "seconds": self.seconds,
            "steps": self.steps,
            "current": None if running is None else running.state(),
        }

    def restore(self, state: State) -> None:
        self.model.load_state_dict(state["model"])
        self.done, self.history = list(state["done"]), list(state["history"])
        self.seconds, self.steps = state["seconds"], state["steps"]
        self._current = state["current"]

    def _run_one(self, stage: Stage, interrupted: threading.Event) -> None:
        if stage.name in self.done:
            return
        running = Running(stage, self.seed)
        if self._current is not None:
            running.restore(self._current)
            self._current = None
        self._run_stage(running, interrupted)
        self._finished(stage)

    def _run_together(self, group: Together, interrupted: threading.Event) -> None:
        """Kept once all are done: of some of them no digit could be told again."""
        stages = group.stages
        if all(stage.name in self.done for stage in stages):
            return
        start = time.monotonic()
        name, steps = f"{stages[0].name}, and the others at once", stages[0].optimiser.steps
        with self.progress.stage(name, steps, 0) as show:
            outcomes = run_together(group, self.seed, interrupted.is_set, show)
        if outcomes is None:
            raise KeyboardInterrupt
        self.seconds += time.monotonic() - start
        for stage, outcome in zip(stages, outcomes, strict=True):
            self._take(stage, outcome)
            self.done.append(stage.name)
        self.save(self.state())
        self.progress.say(f"{stages[0].name}, and {len(stages) - 1} others at once: done")

    def _run_side_by_side(self, group: SideBySide, interrupted: threading.Event) -> None:
        """In other processes, or one after another if there is one, or a stage cannot travel."""
        left = [stage for stage in group.stages if stage.name not in self.done]
        # One that was interrupted while it ran alone goes on alone.
        while left and (group.processes == 1 or self._current is not None):
            self._run_one(left.pop(0), interrupted)
        if not left:
            return
        try:
            self._take_outcomes(left, group.processes, interrupted)
        except NotPicklableError as error:
            self.progress.say(f"one process only: {error}")
            for stage in left:
                self._run_one(stage, interrupted)

    def _take_outcomes(
        self, stages: Sequence[Stage], processes: int, interrupted: threading.Event
    ) -> None:
        start = time.monotonic()
        with closing(run_elsewhere(stages, self.seed, processes, interrupted.is_set)) as outcomes:
            for stage, outcome in outcomes:
                self.seconds += time.monotonic() - start
                start = time.monotonic()
                self._take(stage, outcome)
                self._finished(stage)
                self.progress.say(f"{stage.name}: done, in a process of its own")
        if interrupted.is_set():
            raise KeyboardInterrupt

    def _take(self, stage: Stage, outcome: Outcome) -> None:
        stage.module.load_state_dict(outcome.weights)
        self.steps += outcome.steps
        seconds = round(self.seconds, 3)
        self.history += [{**row, "seconds": seconds} for row in outcome.rows]

    def _finished(self, stage: Stage) -> None:
        self.done.append(stage.name)
        self.save(self.state())

    def _run_stage(self, running: Running, interrupted: threading.Event) -> None:
        stage = running.stage
        last_saved = time.monotonic()
        with self.progress.stage(stage.name, stage.optimiser.steps, running.step) as show:
            running.begin()
            while not running.finished:
                if interrupted.is_set():
                    self.save(self.state(running))
                    raise KeyboardInterrupt
                start = time.monotonic()
                losses = running.advance()
                self.steps += 1
                show(running.step, losses)
                value = running.validate() if running.due else None
                self.seconds += time.monotonic() - start
                if value is not None:
                    self.history.append(running.row(value, self.seconds))
                    if time.monotonic() - last_saved > _CHECKPOINT_SECONDS:
                        self.save(self.state(running))
                        last_saved = time.monotonic()
            running.keep_best()
            self.progress.say(
                f"{stage.name}: {running.best.kept:.5g} on held-out data "
                f"at step {running.best.step} of {running.step}"
            )


@contextmanager
def between_steps() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C or SIGTERM into an event, so that no step is left half done.

    A second one interrupts at once. Outside of the main thread, where Python handles no signals,
    nothing changes.
    """
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
