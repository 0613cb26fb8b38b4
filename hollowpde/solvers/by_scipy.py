"""SciPy's codes as methods, to compare with."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.integrate
import torch
from torch import Tensor

from hollowpde.errors import InputError, nearest
from hollowpde.solvers.inner.base import Numbers
from hollowpde.solvers.integrate import Course, InitialValue

# The names, and whether a code takes a Jacobian.
_CODES = {
    "Radau": True,
    "BDF": True,
    "LSODA": True,
    "RK45": False,
    "RK23": False,
    "DOP853": False,
}


@dataclass(frozen=True)
class SciPy:
    """A code of SciPy's, one sample after another, without gradients: to compare with.

    It evaluates the same f, on one sample at a time.

    Arguments:
        code: "Radau", "BDF", "LSODA", "RK45", "RK23" or "DOP853".
        jacobian: whether an implicit code is given the exact Jacobian, by d directional
            derivatives at once, or finds it by differences.
        rtol, atol: instead of those that `solve_ivp` is given.

    Raises:
        InputError: there is no such code.

    Source:
        Virtanen et al., SciPy 1.0 (2020).

    >>> decay = lambda t, y: -1000.0 * (y - torch.cos(t)[:, None])
    >>> solution = hp.solve_ivp(
    ...     decay, (0.0, 1.0), torch.zeros(1, 1).double(), method=hp.SciPy("BDF")
    ... )
    >>> print(f"{solution.y[-1].item():.3f}")
    0.541
    """

    code: str = "Radau"
    jacobian: bool = True
    rtol: float | None = None
    atol: float | None = None

    def __post_init__(self) -> None:
        if self.code not in _CODES:
            raise InputError(f"unknown code {self.code!r} of SciPy: {nearest(self.code, _CODES)}")

    def solve(self, task: InitialValue) -> Course:
        system, y0, times = task.system, task.y0, task.times
        if task.events:
            raise InputError("events need a method of this library: take hp.JacobiNewtonBDF().")
        if torch.is_grad_enabled() and (y0.requires_grad or system.theta):
            raise InputError(
                "hp.SciPy() gives no gradients: solve within torch.no_grad(), or take "
                "hp.JacobiNewtonBDF()."
            )
        n = len(y0)
        out = Course(y0.new_full((len(times), *y0.shape), torch.nan))
        out.steps, out.evaluations = np.zeros(n, np.int64), np.zeros(n, np.int64)
        with torch.no_grad():
            for k in range(n):
                _Sample(self, task, k).go(times, out)
        return out


class _Sample:
    """One sample at work."""

    def __init__(self, method: SciPy, task: InitialValue, k: int) -> None:
        self.system, self.like, self.k, self.max_steps = task.system, task.y0, k, task.max_steps
        y0, tol, start, end = task.y0, task.tol, task.start, task.end
        self.direction = np.sign(end - start)
        self.calls = 0
        atol = np.asarray(tol.atol, float) if method.atol is None else method.atol
        options: dict[str, Any] = {"rtol": method.rtol or tol.rtol, "atol": atol}
        if _CODES[method.code] and method.jacobian:
            options["jac"] = self.jacobian
        make: Callable[..., Any] = getattr(scipy.integrate, method.code)
        self.solver = make(self.f, start, y0[k].double().cpu().numpy(), end, **options)

    def f(self, t: float, y: np.ndarray) -> np.ndarray:
        self.calls += 1
        value: np.ndarray = self.system(*self._at(t, y))[0].double().cpu().numpy()
        return value

    def jacobian(self, t: float, y: np.ndarray) -> np.ndarray:
        value: np.ndarray = self.system.jacobian(*self._at(t, y))[0].double().cpu().numpy()
        return value

    def go(self, times: Numbers, out: Course) -> None:
        """Step to the end, and leave behind what was found."""
        solver, due, steps = self.solver, 0, 0
        while due < len(times) and times[due] == solver.t:
            out.values[due, self.k] = self.like[self.k]
            due += 1
        why = ""
        with warnings.catch_warnings():
            # Overflow and the like, of which the state tells.
            warnings.simplefilter("ignore")
            while solver.status == "running" and not why:
                before, calls, y = solver.t, self.calls, solver.y
                order = getattr(solver, "order", 0)
                why = self._step(steps)
                if why:
                    break
                steps += 1
                self._record(before, y, order, self.calls - calls)
                inside = self.direction * (times[due:] - solver.t) <= 0
                if inside.any():
                    between = solver.dense_output()
                    for time in times[due:][inside]:
                        out.values[due, self.k] = torch.as_tensor(between(time)).to(self.like)
                        due += 1
        out.steps[self.k], out.evaluations[self.k] = steps, self.calls
        if why:
            out.failures[self.k] = f"sample {self.k} at t = {solver.t:.6g}: {why}"

    def _step(self, steps: int) -> str:
        """One step; why there was none, or an empty text."""
        if steps >= self.max_steps:
            return (
                f"{self.max_steps} steps did not suffice: take a method for stiff systems, "
                "larger tolerances, or more max_steps"
            )
        try:
            message = self.solver.step()
        except ValueError as error:  # of what is not a number
            return f"SciPy gives up: {error}"
        if self.solver.status == "failed":
            return f"SciPy gives up: {message}"
        if not np.isfinite(self.solver.y).all():
            return "f is not finite there: the solution may not exist beyond"
        return ""

    def _record(self, t: float, y: np.ndarray, order: int, calls: int) -> None:
        recorder = self.system.recorder
        if recorder is None:
            return
        one = np.ones(1, np.int64)
        recorder.add(
            self.k * one, t * np.ones(1), torch.from_numpy(y[None]), self.solver.t - t * one,
            order * one, one > 0, calls * one, None,
        )  # fmt: skip

    def _at(self, t: float, y: np.ndarray) -> tuple[Tensor, Tensor]:
        state = torch.from_numpy(np.array(y)).to(self.like)
        return self.like.new_full((1,), float(t)), state[None]
