"""Linear multistep methods with variable orders and step sizes, of each sample by itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hollowpde.errors import InputError
from hollowpde.solvers.equation import Stage
from hollowpde.solvers.gradients import Implicit, Relation
from hollowpde.solvers.inner import Inner, JacobiNewton, Worker, at_work
from hollowpde.solvers.inner.base import Counts, Flags, Numbers, anywhere, everywhere, index, sizes
from hollowpde.solvers.integrate import Stepping
from hollowpde.solvers.invariants import conserves
from hollowpde.solvers.multistep import HIGHEST, ROWS, Tables, adams, backward_differences
from hollowpde.solvers.stepper import Attempt, Stepper, Tolerances, column, first_step
from hollowpde.solvers.system import System

_SHRINK, _GROW = 0.2, 10.0
# So near to the end, in steps, is at the end: what rounding makes of many steps.
_SAME = 1e-9


@dataclass(frozen=True)
class _Multistep(Stepping):
    """What multistep methods have in common."""

    inner: Inner = JacobiNewton()
    max_order: int = HIGHEST
    fixed: tuple[int, float] | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.max_order <= HIGHEST:
            raise InputError(f"max_order must lie in 1..{HIGHEST}, but is {self.max_order}.")
        if self.fixed is not None and not (
            1 <= self.fixed[0] <= HIGHEST and 0 < self.fixed[1] < np.inf
        ):
            raise InputError(
                f"fixed must be (order in 1..{HIGHEST}, positive step), but is {self.fixed}."
            )

    @property
    def tables(self) -> Tables:
        raise NotImplementedError

    def stepper(
        self, system: System, t: float, y: Tensor, direction: float, span: float, tol: Tolerances
    ) -> MultistepStepper:
        return MultistepStepper(self, system, t, y, direction, span, tol)


@dataclass(frozen=True)
class JacobiNewtonBDF(_Multistep):
    r"""Backward differentiation of orders 1 to 5 with Jacobi-Newton iteration: for stiff systems.

    $$ \sum_{m=1}^k \frac1m \nabla^m y_{n+1} = h f(t_{n+1}, y_{n+1})
       + \kappa_k \gamma_k (y_{n+1} - y_p) $$

    Every sample has its own step size and order. The equation of a step is solved by `inner`.

    Arguments:
        inner: `JacobiNewton()`, `FunctionalIteration()`, `DenseNewton()` or `NewtonKrylov()`.
        max_order: the highest order.
        fixed: (order, step) instead of adaptive ones, to study a method.
        corrected: whether the formulas are corrected for accuracy (NDF).

    Source:
        Shampine and Reichelt, The MATLAB ODE Suite (1997); Chen and Duvenaud (2019), sec. 4.

    >>> hp.JacobiNewtonBDF(inner=hp.DenseNewton()).max_order
    5
    """

    corrected: bool = True

    @property
    def tables(self) -> Tables:
        return backward_differences(self.corrected)


@dataclass(frozen=True)
class AdamsMoulton(_Multistep):
    r"""Adams-Bashforth-Moulton of orders 1 to 5: the classical method where nothing is stiff.

    $$ y_{n+1} = y_n + h \sum_{j<k} \gamma^*_j \nabla^j f_{n+1} $$

    With `FunctionalIteration()` and `JacobiNewton()` these are the baseline and the method of the
    source. Its regions of stability are bounded from order 3 on, whatever `inner` is: on stiff
    systems take `JacobiNewtonBDF`.

    Arguments:
        inner, max_order, fixed: as in `JacobiNewtonBDF`.

    Source:
        Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I (1993), sec. III.1.

    >>> hp.AdamsMoulton(inner=hp.FunctionalIteration()).max_order
    5
    """

    @property
    def tables(self) -> Tables:
        return adams()


@dataclass(frozen=True)
class _Step:
    """What stays the same for as long as samples, orders and step sizes do.

    Arguments:
        move: signed step sizes, `(n,)`.
        c: of the equations `z = b + c f(t, z)`, `(n, 1)`.
        predict, advance: the matrices of the method, of each sample.
    """

    move: Numbers
    c: Tensor
    predict: Tensor
    advance: Tensor


class MultistepStepper(Stepper):
    """A multistep method at work. Orders, steps and decisions are numpy's; states are tensors."""

    def __init__(
        self,
        method: _Multistep,
        system: System,
        t: float,
        y: Tensor,
        direction: float,
        span: float,
        tol: Tolerances,
    ) -> None:
        n = len(y)
        self.method, self.system, self.direction, self.tol = method, system, direction, tol
        self.tables = method.tables
        self.t = np.full(n, t)
        self.order = np.ones(n, np.int64)
        # Steps that were made with the present order and step size.
        self.equal = np.zeros(n, np.int64)
        self._predict, self._advance = (
            torch.from_numpy(table).to(y) for table in (self.tables.predict, self.tables.advance)
        )
        self.inner = working(method.inner, system, self.t, y, tol.rtol, 1.0)
        self.reason = self.inner.reason
        f = system(_times(self.t, y), y)
        if method.fixed is None:
            self.h = first_step(system, _times(self.t, y), y, f, direction, span, 1, tol)
            past = torch.stack([y, column(self.h * direction, y) * f], dim=1)
            self.S = torch.cat([past, y.new_zeros(n, ROWS - 2, y.shape[-1])], dim=1)
        else:
            k, step = method.fixed
            if k * step > span * (1.0 + _SAME):
                raise InputError(
                    f"fixed=({k}, {step:g}) begins with {k} steps of that size, which must lie "
                    f"within t_span, of length {span:g}: take smaller steps."
                )
            self.h, self.order = np.full(n, step), np.full(n, k)
            self.t, self.S = _started(self.tables, system, t, y, direction * step, k)
        self._step: _Step | None = None
        # For interpolation: the state at the end of the last step, before any change of step.
        self._last = (self.S, self.order, self.h, self.t)

    @property
    def y(self) -> Tensor:
        return self.S[:, 0]

    def keep(self, rows: Counts) -> None:
        self.t, self.h, self.order = self.t[rows], self.h[rows], self.order[rows]
        self.equal = self.equal[rows]
        self.S = self.S[index(rows, self.S)]
        self.inner.keep(rows)
        self._step = None

    def attempt(self, end: float) -> Attempt:
        there = self._arriving(end)
        if self._step is None:
            self._step = self._planned()
        step, c = self._step, self._step.c
        t = self.t + step.move
        if anywhere(there):
            t = np.where(there, end, t)
        guess, base = torch.bmm(step.predict, self.S).unbind(1)
        times = _times(t, base)
        with torch.no_grad():
            guess, scale = guess.detach(), self.tol.scale(guess)
            out = self.inner.solve(
                Stage(self.system, times, base.detach(), c), guess, scale, np.arange(len(t))
            )
        y = out.z
        if torch.is_grad_enabled():
            y = attached(self.system, times, y, base, c)
        both = torch.bmm(step.advance, torch.cat([self.S, y.unsqueeze(1)], dim=1))
        new, errors = both.split_with_sizes((ROWS, 3), dim=1)
        if self.method.fixed is not None:
            return self._fixed_step(t, new, out.converged, out.iterations)
        norm = sizes(errors, scale.unsqueeze(1))
        solved = out.converged & np.isfinite(norm[:, 1])
        accepted = solved & (norm[:, 1] <= 1.0)
        self._move(t, new, accepted)
        self._adapt(norm, accepted, solved, out.iterations)
        return Attempt(accepted, solved, out.iterations)

    def between(self, rows: Counts, t: Numbers) -> Tensor:
        S, order, h, end = self._last
        weights = self.tables.between(order[rows], (t - end[rows]) / (self.direction * h[rows]))
        return (self._constant(weights[:, None]) @ S[index(rows, S)]).squeeze(1)

    def _fixed_step(self, t: Numbers, new: Tensor, solved: Flags, iterations: Counts) -> Attempt:
        self._move(t, new, solved)
        return Attempt(solved, solved, iterations)

    def _move(self, t: Numbers, new: Tensor, accepted: Flags) -> None:
        """Those that are accepted take their new state."""
        if everywhere(accepted):
            self.S, self.t = new, t
        elif anywhere(accepted):
            chosen = torch.from_numpy(accepted).to(new.device)[:, None, None]
            self.S, self.t = torch.where(chosen, new, self.S), np.where(accepted, t, self.t)
        self._last = (self.S, self.order, self.h, self.t)

    def _adapt(self, norm: Numbers, accepted: Flags, solved: Flags, iterations: Counts) -> None:
        """Orders and step sizes of the next step.

        After k + 1 equal steps that order is taken which allows the longest.
        """
        k = self.order
        self.equal = np.where(accepted, self.equal + 1, 0)
        choose = accepted & (self.equal >= k + 1)
        if everywhere(accepted) and not anywhere(choose):
            return
        safety, order = _safety(iterations), k.copy()
        power = -1.0 / (k[:, None] + np.arange(3))
        factors = np.where(np.isnan(norm), np.inf, np.maximum(norm, 1e-30)) ** power
        factors[k <= 1, 0] = 0.0
        factors[k >= self.method.max_order, 2] = 0.0
        best = factors.argmax(1)
        by = np.ones(len(k))
        by[choose] = np.minimum(_GROW, safety * factors.max(1))[choose]
        order[choose] += best[choose] - 1
        rejected = solved & ~accepted
        by[rejected] = np.maximum(_SHRINK, safety * factors[:, 1])[rejected]
        by[~solved] = 0.5
        self._change(by, order)

    def _arriving(self, end: float) -> Flags:
        """Whose next step ends there; what would go beyond is shortened."""
        left = np.abs(end - self.t)
        near = left <= (1.0 + _SAME) * self.h
        if not anywhere(near):
            return near
        if self.method.fixed is None:
            self._change(np.where(self.h > left, left / self.h, 1.0), self.order)
        return np.asarray(np.abs(left - self.h) <= _SAME * self.h)

    def _change(self, by: Numbers, order: Counts) -> None:
        """Change step sizes by factors, and orders."""
        changed = (by != 1.0) | (order != self.order)
        self.order = order
        if anywhere(changed):
            self.equal[changed] = 0
            self.h = self.h * by
            self.S = torch.bmm(self._constant(self.tables.rescaled(order, by)), self.S)
            self._step = None

    def _planned(self) -> _Step:
        """What the next steps have in common."""
        k, first = self.order, int(self.order[0])
        # Of each sample, as an index of the tables; or one for all of them.
        alike = everywhere(k == first)
        chosen = slice(first, first + 1) if alike else index(k, self.S)
        move = self.direction * self.h
        c = column(move * self.tables.gain[k], self.S)
        # Of a few samples `matmul` takes longer to find out what it is to do than `bmm` to do it.
        each = (m[chosen].expand(len(k), -1, -1) for m in (self._predict, self._advance))
        return _Step(move, c, *each)

    def _constant(self, values: Numbers) -> Tensor:
        return torch.from_numpy(values).to(self.S)


def working(
    inner: Inner, system: System, t: Numbers, y: Tensor, rtol: float, share: float
) -> Worker:
    """An inner solver for the equations of steps from (t, y)."""
    # Of the error that a step may have, its equation may leave so much (as in SciPy's BDF).
    tolerance = share * max(10 * system.eps / rtol, min(0.03, rtol**0.5))
    conserving = inner.needs_diagonal and conserves(system, _times(t, y), y)
    return at_work(inner, y.shape[-1], len(y), tolerance, system.counts, conserving)


def attached(system: System, t: Tensor, z: Tensor, base: Tensor, c: Tensor) -> Tensor:
    """The solution of a stage equation, with its gradient."""
    theta = system.theta
    if not (base.requires_grad or theta):
        return z
    return Implicit.apply(Relation(system, t, c), z, base, *theta)


def _times(t: Numbers, like: Tensor) -> Tensor:
    return torch.from_numpy(t).to(like)


def _safety(iterations: Counts) -> Numbers:
    # The more an equation took, the more careful (as in SciPy's BDF, which allows 4 iterations).
    return np.asarray(0.9 * 9.0 / (8.0 + np.minimum(iterations, 4)))


def _started(
    tables: Tables, system: System, t: float, y: Tensor, h: float, order: int
) -> tuple[Numbers, Tensor]:
    """The state after k steps of a fixed size, from values that are far more accurate."""
    from torchdiffeq import odeint

    times = t + h * torch.arange(order + 1, dtype=y.dtype, device=y.device)

    def f(s: Tensor, z: Tensor) -> Tensor:
        return system(s.expand(len(z)), z)

    values = odeint(
        f, y, times, method="dopri8", rtol=1e-12, atol=1e-14, options={"step_t": times}
    )
    past = (
        values
        if not tables.scaled
        else h * torch.stack([f(s, z) for s, z in zip(times, values, strict=True)])
    )
    rows = [] if not tables.scaled else [values[-1]]
    while len(past) and len(rows) < ROWS:
        rows.append(past[-1])
        past = past[1:] - past[:-1]
    zero = torch.zeros_like(y)
    S = torch.stack([*rows, *[zero] * (ROWS - len(rows))], dim=1)
    return np.full(len(y), float(times[-1])), S
