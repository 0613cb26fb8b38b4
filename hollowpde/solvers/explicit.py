"""Explicit methods, by torchdiffeq, and the choice between them and implicit ones."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torchdiffeq import odeint

from hollowpde.errors import InputError
from hollowpde.solvers.integrate import Course, InitialValue, Method
from hollowpde.solvers.linear_multistep import JacobiNewtonBDF

# h max|D| from which on an explicit step is held back by stability: dopri5 ends at 3.3.
_STIFF = 2.0
# So many looks in a row must agree, one every few accepted steps.
_LOOKS, _EVERY = 3, 5
# Of a step: the first of its seven stages is the last of the step before.
_EVALUATIONS = 6


@dataclass(frozen=True)
class RungeKutta:
    """Dormand and Prince's explicit method of order 5(4), by torchdiffeq: for what is not stiff.

    All samples share a step size; the error of a step is that of the worst sample.

    Source:
        Dormand and Prince, A family of embedded Runge-Kutta formulae (1980).

    >>> hp.RungeKutta()
    RungeKutta()
    """

    def solve(self, task: InitialValue) -> Course:
        if task.events:
            raise InputError("events need a method of this library: take hp.JacobiNewtonBDF().")
        return _explicit(_Watch(task, looks=False), task)


@dataclass(frozen=True)
class Auto:
    """Explicit until that is stiff, then implicit from there on.

    Stiff is where the explicit step h is held back by stability: h times the largest entry of the
    diagonal of the Jacobian, which is exact and cheap, stays above 2. What was used and why is
    said in `stats.method`.

    Arguments:
        implicit: the method for what is stiff.

    >>> hp.Auto().implicit.max_order
    5
    """

    implicit: Method = JacobiNewtonBDF()

    def solve(self, task: InitialValue) -> Course:
        if not task.system.knows_diagonal:
            raise InputError(
                "hp.Auto() sees stiffness by the diagonal of the Jacobian: give diagonal=..., or "
                "choose method=hp.RungeKutta() or hp.JacobiNewtonBDF(inner=hp.DenseNewton())."
            )
        if task.events:
            return self._implicitly(task)
        watch = _Watch(task, looks=True)
        try:
            course = _explicit(watch, task)
        except _Stiff as stiff:
            begun = len(watch.values)
            rest = self._implicitly(
                replace(task, y0=stiff.y, start=stiff.t, times=task.times[begun:])
            )
            if begun:
                rest.values = torch.cat([torch.stack(watch.values), rest.values])
            rest.steps = rest.steps + watch.steps
            rest.evaluations = rest.evaluations + watch.calls
            rest.note = (
                f"Auto: RungeKutta() to t = {stiff.t:.4g}, where h max|D| stayed above {_STIFF:g} "
                f"({stiff.level:.2g}); {self.implicit} from there"
            )
            return rest
        course.note = f"Auto: RungeKutta(), since h max|D| was {watch.level:.2g} at most"
        return course

    def _implicitly(self, task: InitialValue) -> Course:
        course = self.implicit.solve(task)
        course.note = f"Auto: {self.implicit}"
        return course


class _Stiff(Exception):
    """An explicit method is held back by stability."""

    def __init__(self, t: float, y: Tensor, level: float) -> None:
        super().__init__()
        self.t, self.y, self.level = t, y, level


class _Lost(Exception):
    """An explicit method cannot go on."""


class _Watch:
    """The right-hand side as torchdiffeq calls it, and what is seen on the way."""

    def __init__(self, task: InitialValue, looks: bool) -> None:
        self.system, self.looks, self.max_steps = task.system, looks, task.max_steps
        self.values: list[Tensor] = []
        self.steps = self.attempts = self.rejected = self.calls = self.high = 0
        self.level = 0.0
        self.t = 0.0

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        self.calls += 1
        value = self.system(t.expand(len(y)).to(y), y)
        # torchdiffeq goes on for ever with what is not a number.
        bad = ~torch.isfinite(value.detach()).all(-1)
        if bad.any():
            raise _Lost(
                f"sample {int(bad.nonzero()[0])} at t = {float(t.detach()):.6g}: f is not finite "
                "there: the solution may not exist beyond, or take hp.JacobiNewtonBDF()"
            )
        return value

    def callback_step(self, t: Tensor, y: Tensor, dt: Tensor) -> None:
        self.attempts += 1
        self.t = float(t.detach())
        if self.attempts > self.max_steps:
            raise _Lost(
                f"sample 0 at t = {self.t:.6g}: {self.max_steps} steps did not suffice: the "
                "system may be stiff, take hp.JacobiNewtonBDF(); or more max_steps"
            )

    def callback_reject_step(self, t: Tensor, y: Tensor, dt: Tensor) -> None:
        self.rejected += 1

    def callback_accept_step(self, t: Tensor, y: Tensor, dt: Tensor) -> None:
        self.steps += 1
        if self.system.recorder is not None:
            n, ones = len(y), np.ones(len(y), np.int64)
            self.system.recorder.add(
                np.arange(n), np.full(n, float(t)), y, np.full(n, float(dt)), 5 * ones, ones > 0,
                _EVALUATIONS * ones, None,
            )  # fmt: skip
        if not self.looks or self.steps % _EVERY:
            return
        with torch.no_grad():
            _, D = self.system.with_diagonal(t.expand(len(y)).to(y), y)
        level = float(dt.detach().abs() * D.abs().max())
        self.level = max(self.level, level)
        self.high = self.high + 1 if level > _STIFF else 0
        if self.high >= _LOOKS:
            raise _Stiff(float(t.detach()), y, level)


def _explicit(watch: _Watch, task: InitialValue) -> Course:
    """Values at the times, one stretch after another; the watch keeps them."""
    y0, times, tol = task.y0, task.times, task.tol

    def norm(error: Tensor) -> Tensor:
        # Of the worst sample: that of the whole batch would hide it.
        return (error.square().mean(-1).sqrt()).max()

    y, t, failures = y0, task.start, {}
    try:
        for time in times:
            if time != t:
                stretch = y0.new_tensor([t, time])
                y = odeint(
                    watch, y, stretch, rtol=tol.rtol, atol=tol.atol, method="dopri5",
                    options={"norm": norm, "step_t": stretch},
                )[-1]  # fmt: skip
                t = time
            watch.values.append(y)
    except _Lost as lost:
        failures = dict.fromkeys(range(len(y0)), str(lost))
    except AssertionError:
        why = (
            f"sample 0 at t = {watch.t:.6g}: the step size fell below rounding: the solution may "
            "be singular there, or take hp.JacobiNewtonBDF()"
        )
        failures = dict.fromkeys(range(len(y0)), why)
    nan = torch.full_like(y0, torch.nan)
    values = torch.stack([*watch.values, *[nan] * (len(times) - len(watch.values))])
    n = len(y0)
    return Course(
        values,
        failures,
        np.full(n, watch.steps, np.int64),
        watch.rejected,
        0,
        np.full(n, watch.calls, np.int64),
    )
