"""A stage under way: its optimiser, its averages, and the best weights so far."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from hollowpde.errors import TrainingError
from hollowpde.optim import GaussNewton
from hollowpde.problem.stage import Stage, derived_seed
from hollowpde.training.history import MONITORED, Row

State = dict[str, Any]

# A stage ends when so many steps in a row were of no use.
_ROLLBACKS = 3
# After each of them the next begins with a step that is shorter by this.
_CAUTION = 0.1


class _NotFiniteError(Exception):
    """A loss is NaN or infinite in the middle of a step."""


@dataclass
class Best:
    """The best value so far in a stage, and the latest weights that tie with it."""

    value: float = math.inf
    kept: float = math.inf
    step: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)


class Running:
    """A stage under way."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self.stage = stage
        self.parameters: list[Tensor] = [p for p in stage.module.parameters() if p.requires_grad]
        self.optimiser = stage.optimiser.build(self.parameters)
        self.generator = torch.Generator().manual_seed(derived_seed(seed, stage.name))
        self.step = 0
        self.checks_since_best = 0
        # Steps in a row that led nowhere.
        self.rollbacks = 0
        self.monitored: dict[str, float] = {}
        self.best = Best()
        # The losses since the last validation, whose means go into the history.
        self.recent: list[dict[str, float]] = []
        # The moving average of the weights, which is what is validated and kept: it takes out
        # the noise of the gradients long before the learning rate has decayed.
        self.average = [p.detach().clone() for p in self.parameters]

    def begin(self) -> None:
        """Let what the stage starts from compete, unless it goes on from a checkpoint."""
        if self.step == 0 and not self.best.weights:
            self.validate()

    @property
    def finished(self) -> bool:
        stop = self.checks_since_best >= self.stage.stop.patience
        stop = stop or self.rollbacks >= _ROLLBACKS
        return stop or self.step >= self.stage.optimiser.steps

    @property
    def due(self) -> bool:
        """Whether it is time to validate."""
        return self.step % self.stage.stop.every == 0 or self.finished

    def row(self, value: float, seconds: float) -> Row:
        """What goes into the history after a validation."""
        losses, self.recent = self.recent, []
        mean = {name: fmean(row[name] for row in losses) for name in losses[0]}
        return {
            "stage": self.stage.name,
            "step": self.step,
            "seconds": round(seconds, 3),
            "lr": self.stage.optimiser.rate(self.step - 1),
            "validation": value,
            **{f"{MONITORED}{name}": figure for name, figure in self.monitored.items()},
            **mean,
        }

    def advance(self) -> dict[str, float]:
        """One optimisation step; the named losses."""
        setting = self.stage.optimiser
        progress = self.step / setting.steps
        for group in self.optimiser.param_groups:
            group["lr"] = setting.rate(self.step) * _CAUTION**self.rollbacks
        batch = self.stage.batches(self.generator, progress)
        # Once, or as often as a line search asks for it; what is shown is the first.
        seen: list[Mapping[str, Tensor]] = []

        def total() -> Tensor:
            losses = self.losses(batch, progress)
            value = torch.stack(list(losses.values())).sum()
            if not seen and not torch.isfinite(value):
                named = ", ".join(f"{name} = {v.item():g}" for name, v in losses.items())
                raise TrainingError(
                    f"the loss of stage {self.stage.name!r} is not finite at step {self.step} "
                    f"({named}): lower its learning rate (now {setting.lr:g}), or check the data "
                    "for outliers."
                )
            seen.append(losses)
            return value

        def loss() -> float:
            value = total()
            self.optimiser.zero_grad(set_to_none=True)
            self.differentiate(value)
            if math.isfinite(setting.clip):
                nn.utils.clip_grad_norm_(self.parameters, setting.clip)
            return float(value.detach())

        match self.optimiser:
            case GaussNewton() as optimiser:
                self._step_of_least_squares(optimiser, total, batch)
            case torch.optim.LBFGS():
                self._step_with_rollback(loss, total)
            case _:
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

    def losses(self, batch: Any, progress: float) -> Mapping[str, Tensor]:
        """The named losses of a batch, whose sum is differentiated next if it is at all."""
        return self.stage.losses(batch, progress)

    def differentiate(self, total: Tensor) -> None:
        """Leave the gradient of the sum of the last losses with the parameters."""
        total.backward()

    def _step_of_least_squares(
        self, optimiser: GaussNewton, total: Callable[[], Tensor], batch: Any
    ) -> None:
        linearise = self.stage.linearise
        if linearise is None:
            raise TrainingError(
                f"stage {self.stage.name!r} is no least-squares problem: use Adam or LBFGS."
            )
        with torch.no_grad():
            total()  # what is shown
        optimiser.step(total, lambda: linearise(batch))
        self.rollbacks = optimiser.param_groups[0]["stalled"]

    def _step_with_rollback(self, loss: Callable[[], float], total: Callable[[], Tensor]) -> None:
        """L-BFGS may meet a NaN, or its line search end where it began: go back, and forget.

        Back to the best weights on its way; what it has learned of the curvature is dropped, and
        steepest descent begins anew.
        """
        begun = [p.detach().clone() for p in self.parameters]
        best, lowest = begun, math.inf

        def finite() -> float:
            nonlocal best, lowest
            value = loss()
            if not math.isfinite(value):
                raise _NotFiniteError
            if value < lowest:
                best, lowest = [p.detach().clone() for p in self.parameters], value
            return value

        # A line search that meets a NaN does not end well: it is left there.
        with suppress(_NotFiniteError):
            self.optimiser.step(finite)
            with torch.no_grad():
                if self._moved_from(begun) and torch.isfinite(total()):
                    self.rollbacks = 0
                    return
        with torch.no_grad():
            torch._foreach_copy_(self.parameters, best)
        self.rollbacks = 0 if self._moved_from(begun) else self.rollbacks + 1
        self.optimiser = self.stage.optimiser.build(self.parameters)

    def _moved_from(self, before: list[Tensor]) -> bool:
        pairs = zip(self.parameters, before, strict=True)
        return any(not torch.equal(p, old) for p, old in pairs)

    def validate(self) -> float:
        with self._averaged():
            value = self.stage.validate()
            monitor = self.stage.monitor
            self.monitored = {} if monitor is None else dict(monitor())
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
            "rollbacks": self.rollbacks,
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
        self.rollbacks = state["rollbacks"]
        self.best = Best(**state["best"])
        self.recent = list(state["recent"])
        with torch.no_grad():
            torch._foreach_copy_(self.average, state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"].cpu())
