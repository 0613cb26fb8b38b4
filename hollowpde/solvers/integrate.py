"""The loop that all methods share: steps until every sample has arrived, or cannot go on."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from hollowpde.solvers.events import Event
from hollowpde.solvers.inner.base import Counts, Flags, Numbers, anywhere, everywhere
from hollowpde.solvers.stepper import Attempt, Stepper, Tolerances
from hollowpde.solvers.system import System
from hollowpde.solvers.trace import Recorder


@dataclass
class Course:
    """What became of each sample of a batch.

    Arguments:
        values: `(T, B, d)` at the times asked for.
        failures: by sample, why and where it could not go on.
        steps, rejected, failed, evaluations: of each sample.
        events: for each event and sample, its times.
        note: what was used, where that was left to the method.
    """

    values: Tensor
    failures: dict[int, str] = field(default_factory=dict)
    steps: Counts = field(default_factory=lambda: np.zeros(0, np.int64))
    rejected: int = 0
    failed: int = 0
    evaluations: Counts = field(default_factory=lambda: np.zeros(0, np.int64))
    events: list[list[list[float]]] = field(default_factory=list)
    note: str = ""


@dataclass(frozen=True)
class InitialValue:
    """What is to be solved: from the start to the end, values kept at times on the way.

    Arguments:
        system: the equation.
        y0: values at the start, `(n, d)`.
        times: at which values are kept, in order.
        start, end: of the way.
        tol: how large the error of a step may be.
        events: what to look out for.
        max_steps: of each sample.
    """

    system: System
    y0: Tensor
    times: Numbers
    start: float
    end: float
    tol: Tolerances
    events: Sequence[Event]
    max_steps: int


@runtime_checkable
class Method(Protocol):
    """The settings of a method."""

    def solve(self, task: InitialValue) -> Course:
        """Solve, and say what became of each sample."""
        ...


class Stepping(ABC):
    """A method that steps every sample by itself."""

    @abstractmethod
    def stepper(
        self, system: System, t: float, y: Tensor, direction: float, span: float, tol: Tolerances
    ) -> Stepper:
        """A stepper from (t, y), y `(n, d)`, that is to go so far in a direction, 1 or -1."""

    def solve(self, task: InitialValue) -> Course:
        span = task.end - task.start
        stepper = self.stepper(
            task.system, task.start, _summable(task.y0), math.copysign(1.0, span), abs(span),
            task.tol,
        )  # fmt: skip
        run = _Run(stepper, task)
        while len(run.samples):
            run.step()
        course = run.course()
        course.values = course.values.to(task.y0.dtype)
        return course


def _summable(y: Tensor) -> Tensor:
    """A state to which many small steps can be added, whatever f is evaluated in."""
    return y if y.device.type == "mps" else y.double()


class _Run:
    """One integration: which samples are at work, and what they have left behind."""

    def __init__(self, stepper: Stepper, task: InitialValue) -> None:
        n, times, end, events = len(stepper.t), task.times, task.end, task.events
        self.stepper, self.system, self.events = stepper, task.system, events
        self.max_steps, self.end = task.max_steps, end
        self.direction = np.sign(end - stepper.t[0])
        self.samples = np.arange(n)
        # Of each sample, the next of the times that it has not reached.
        self.next = np.zeros(n, np.int64)
        # After the last of them there is none.
        self.ahead = np.append(times, self.direction * np.inf)
        self.attempts = 0
        # Steps longer than this are not lost in rounding anywhere.
        self.enough = 20 * np.finfo(float).eps * max(abs(end), abs(stepper.t[0]))
        self.shape = (len(times), n, stepper.y.shape[-1])
        self.filled: list[tuple[Counts, Tensor]] = []
        self.out = Course(stepper.y.new_full((1,), np.nan))
        self.out.steps, self.out.evaluations = np.zeros(n, np.int64), np.zeros(n, np.int64)
        self.out.events = [[[] for _ in range(n)] for _ in events]
        self.sides = [event.values(*self._now()) for event in events]
        self._reach(np.ones(n, bool))

    def step(self) -> None:
        """One attempt of every sample at work."""
        stepper = self.stepper
        self._give_up()
        if not len(self.samples):
            return
        before = stepper.t
        recorder = self.system.recorder
        start = None if recorder is None else (before, stepper.y, stepper.h, stepper.order)
        attempt = stepper.attempt(self.end)
        if recorder is not None and start is not None:
            self._record(recorder, *start, attempt)
        self.attempts += 1
        self.out.evaluations[self.samples] += attempt.iterations
        self.out.steps[self.samples] += attempt.accepted
        if not everywhere(attempt.accepted):
            self.out.rejected += int((attempt.solved & ~attempt.accepted).sum())
            self.out.failed += int((~attempt.solved).sum())
        ended = self._happen(attempt.accepted, before) if self.events else None
        self._reach(attempt.accepted, ended)
        done = self.direction * (self.end - stepper.t) <= 0
        if ended is not None:
            done |= ended < np.inf
        self._leave(done)

    def _record(
        self, recorder: Recorder, t: Numbers, y: Tensor, h: Numbers, order: Counts, made: Attempt
    ) -> None:
        size = np.minimum(h, np.abs(self.end - t))
        move = np.where(made.accepted, self.stepper.t - t, self.direction * size)
        recorder.add(
            self.samples, t, y, move, order, made.accepted, made.iterations, self.stepper.rate
        )

    def course(self) -> Course:
        T, n, d = self.shape
        flat = self.stepper.y.new_full((T * n, d), np.nan)
        if self.filled:
            where = torch.from_numpy(np.concatenate([w for w, _ in self.filled])).to(flat.device)
            flat = flat.index_copy(0, where, torch.cat([v for _, v in self.filled]))
        self.out.values = flat.reshape(T, n, d)
        return self.out

    def _now(self) -> tuple[Tensor, Tensor]:
        """Times and states, as f and events take them."""
        y = self.stepper.y.to(self.system.dtype)
        return y.new_tensor(self.stepper.t), y

    def _reach(self, moved: Flags, ended: Numbers | None = None) -> None:
        """Keep the values at the times that samples have reached."""
        stepper = self.stepper
        limit = stepper.t
        if ended is not None:
            limit = np.where(ended < np.inf, self.direction * ended, limit)
        while True:
            at = self.ahead[self.next]
            due = moved & (self.direction * (at - limit) <= 0)
            if not anywhere(due):
                return
            rows = np.flatnonzero(due)
            exact = at[rows] == stepper.t[rows]
            if everywhere(exact):
                values = stepper.y[torch.from_numpy(rows).to(stepper.y.device)]
            else:
                values = stepper.between(rows, at[rows])
            self.filled.append((self.next[rows] * self.shape[1] + self.samples[rows], values))
            self.next[rows] += 1

    def _happen(self, accepted: Flags, before: Numbers) -> Numbers:
        """Note the events of a step; when samples end by one, times the direction."""
        ended = np.full(len(before), np.inf)
        for k, event in enumerate(self.events):
            after = np.where(accepted, event.values(*self._now()), self.sides[k])
            rows = event.passed(self.sides[k], after)
            if len(rows):
                times = event.locate(self.stepper, rows, before[rows], self.sides[k][rows])
                for row, time in zip(rows, times, strict=True):
                    self.out.events[k][self.samples[row]].append(float(time))
                if event.terminal:
                    ended[rows] = np.minimum(ended[rows], self.direction * times)
            # A zero that was reached exactly has been passed.
            self.sides[k] = np.where(after == 0, -self.sides[k], after)
        return ended

    def _give_up(self) -> None:
        """Samples that cannot go on leave, with the reason."""
        stepper, tired = self.stepper, self.attempts >= self.max_steps
        if not tired and everywhere((stepper.h > self.enough) & (stepper.h < np.inf)):
            return
        least = 10 * np.spacing(np.maximum(np.abs(stepper.t), np.abs(self.end) * 1e-300))
        left = np.abs(self.end - stepper.t)
        stuck = (stepper.h < least) & (left > least)
        wrong = ~np.isfinite(stepper.h)
        lost = stuck | tired | wrong
        if not anywhere(lost):
            return
        t, y = self._now()
        with torch.no_grad():
            finite = torch.isfinite(self.system.f(t, y)).all(-1).cpu().numpy()
        for row in np.flatnonzero(lost):
            where = f"sample {self.samples[row]} at t = {stepper.t[row]:.6g}"
            if not finite[row]:
                why = "f is not finite there: the solution may not exist beyond"
            elif tired:
                why = (
                    f"{self.max_steps} steps did not suffice: take a method for stiff systems, "
                    "larger tolerances, or more max_steps"
                )
            else:
                why = (
                    f"the step size fell below rounding ({stepper.h[row]:.1e}; {stepper.reason}): "
                    "the solution may be singular there; else take larger tolerances, float64, "
                    "or inner=hp.DenseNewton()"
                )
            self.out.failures[int(self.samples[row])] = f"{where}: {why}"
        self._leave(lost)

    def _leave(self, gone: Flags) -> None:
        if not anywhere(gone):
            return
        rows = np.flatnonzero(~gone)
        self.samples, self.next = self.samples[rows], self.next[rows]
        self.sides = [side[rows] for side in self.sides]
        if len(rows):
            self.stepper.keep(rows)
