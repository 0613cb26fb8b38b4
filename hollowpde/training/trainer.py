"""The trainer: runs stages, keeps the best weights, and can stop and go on at any step."""

from __future__ import annotations

import copy
import math
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import fmean
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from hollowpde.errors import TrainingError
from hollowpde.problem.stage import Stage, derived_seed
from hollowpde.training.history import Row
from hollowpde.training.progress import Progress

# Seconds between checkpoints: so much work may be lost to a power cut.
_CHECKPOINT_SECONDS = 10.0

State = dict[str, Any]


@dataclass
class Best:
    """The best value so far in a stage, and the latest weights that tie with it."""

    value: float = math.inf
    kept: float = math.inf
    step: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)


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

    def run(self, stages: Iterable[Stage]) -> None:
        """Run the stages that are not done yet.

        Raises:
            TrainingError: a loss is not finite; the last checkpoint stands.
            KeyboardInterrupt: asked for by a signal; raised between two steps, the state saved.
        """
        with between_steps() as interrupted:
            for stage in stages:
                if stage.name in self.done:
                    continue
                running = _Running(stage, self.seed)
                if self._current is not None:
                    running.restore(self._current)
                    self._current = None
                self._run_stage(running, interrupted)
                self.done.append(stage.name)
                self.save(self.state())
            # Once more, with what was decided after the last stage.
            self.save(self.state())
            if interrupted.is_set():
                raise KeyboardInterrupt

    def state(self, running: _Running | None = None) -> State:
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

    def _run_stage(self, running: _Running, interrupted: threading.Event) -> None:
        stage = running.stage
        last_saved = time.monotonic()
        with self.progress.stage(stage.name, stage.optimiser.steps, running.step) as show:
            if running.step == 0 and not running.best.weights:
                running.validate()
            while not running.finished:
                if interrupted.is_set():
                    self.save(self.state(running))
                    raise KeyboardInterrupt
                start = time.monotonic()
                losses = running.advance()
                self.steps += 1
                show(running.step, losses)
                checked = running.step % stage.stop.every == 0 or running.finished
                if checked:
                    value = running.validate()
                self.seconds += time.monotonic() - start
                if checked:
                    self.history.append(self._row(running, value))
                    if time.monotonic() - last_saved > _CHECKPOINT_SECONDS:
                        self.save(self.state(running))
                        last_saved = time.monotonic()
            running.keep_best()
            self.progress.say(
                f"{stage.name}: {running.best.kept:.5f} on held-out data "
                f"at step {running.best.step} of {running.step}"
            )

    def _row(self, running: _Running, value: float) -> Row:
        losses, running.recent = running.recent, []
        mean = {name: fmean(row[name] for row in losses) for name in losses[0]}
        return {
            "stage": running.stage.name,
            "step": running.step,
            "seconds": round(self.seconds, 3),
            "lr": running.stage.optimiser.rate(running.step - 1),
            "validation": value,
            **mean,
        }


class _Running:
    """A stage under way."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self.stage = stage
        self.parameters: list[Tensor] = [p for p in stage.module.parameters() if p.requires_grad]
        self.optimiser = stage.optimiser.build(self.parameters)
        self.generator = torch.Generator().manual_seed(derived_seed(seed, stage.name))
        self.step = 0
        self.checks_since_best = 0
        self.best = Best()
        # The losses since the last validation, whose means go into the history.
        self.recent: list[dict[str, float]] = []
        # The moving average of the weights, which is what is validated and kept: it takes out
        # the noise of the gradients long before the learning rate has decayed.
        self.average = [p.detach().clone() for p in self.parameters]

    @property
    def finished(self) -> bool:
        stop = self.checks_since_best >= self.stage.stop.patience
        return stop or self.step >= self.stage.optimiser.steps

    def advance(self) -> dict[str, float]:
        """One optimisation step; the named losses."""
        setting = self.stage.optimiser
        progress = self.step / setting.steps
        for group in self.optimiser.param_groups:
            group["lr"] = setting.rate(self.step)
        batch = self.stage.batches(self.generator, progress)
        # Once, or as often as a line search asks for it; what is shown is the first.
        seen: list[Mapping[str, Tensor]] = []

        def loss() -> float:
            losses = self.stage.losses(batch, progress)
            total = torch.stack(list(losses.values())).sum()
            if not seen and not torch.isfinite(total):
                named = ", ".join(f"{name} = {v.item():g}" for name, v in losses.items())
                raise TrainingError(
                    f"the loss of stage {self.stage.name!r} is not finite at step {self.step} "
                    f"({named}): lower its learning rate (now {setting.lr:g}), or check the data "
                    "for outliers."
                )
            self.optimiser.zero_grad(set_to_none=True)
            total.backward()
            if math.isfinite(setting.clip):
                nn.utils.clip_grad_norm_(self.parameters, setting.clip)
            seen.append(losses)
            return float(total.detach())

        self.optimiser.step(loss)
        losses = seen[0]
        self.step += 1
        values = {name: float(value.detach()) for name, value in losses.items()}
        self.recent.append(values)
        # A plain mean at first, then exponential forgetting.
        weight = max(1 - setting.averaging, 1 / self.step)
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.parameters, weight)
        return values

    def validate(self) -> float:
        with self._averaged():
            value = self.stage.validate()
            weights = {k: v.clone() for k, v in self.stage.module.state_dict().items()}
        lowest = min(value, self.best.value)
        if value <= lowest + self.stage.tie or not self.best.weights:
            self.best = Best(lowest, value, self.step, weights)
            self.checks_since_best = 0
        else:
            self.checks_since_best += 1
        return value

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The averaged weights in place of the current ones."""
        current = [p.detach().clone() for p in self.parameters]
        with torch.no_grad():
            torch._foreach_copy_(self.parameters, self.average)
            try:
                yield
            finally:
                torch._foreach_copy_(self.parameters, current)

    def keep_best(self) -> None:
        self.stage.module.load_state_dict(self.best.weights)

    def state(self) -> State:
        return {
            "stage": self.stage.name,
            "step": self.step,
            "checks_since_best": self.checks_since_best,
            "best": vars(self.best),
            "average": self.average,
            "recent": list(self.recent),
            "optimiser": copy.deepcopy(self.optimiser.state_dict()),
            "generator": self.generator.get_state(),
        }

    def restore(self, state: State) -> None:
        if state["stage"] != self.stage.name:
            raise TrainingError(
                f"the checkpoint stands in stage {state['stage']!r}, but {self.stage.name!r} "
                "comes next: the problem has changed since."
            )
        self.step, self.checks_since_best = state["step"], state["checks_since_best"]
        self.best = Best(**state["best"])
        self.recent = list(state["recent"])
        with torch.no_grad():
            torch._foreach_copy_(self.average, state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"].cpu())


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
