"""Initial value problems."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

import numpy as np
import torch
from torch import Tensor, nn

from hollowpde.errors import InputError, SolverError
from hollowpde.solvers.events import Event
from hollowpde.solvers.gradients import leaves
from hollowpde.solvers.integrate import Course, InitialValue, Method
from hollowpde.solvers.linear_multistep import JacobiNewtonBDF
from hollowpde.solvers.solution import Solution, Stats
from hollowpde.solvers.stepper import Tolerances
from hollowpde.solvers.system import RightHandSide, System, check_values
from hollowpde.solvers.trace import Recorder

# Below this relative tolerance single precision has nothing left.
_SINGLE = 1e-5
# A gradient by a time is one by a state times f, which is large where a system is stiff and mostly
# cancels: where one is asked for, the solve is more careful by this factor.
_CAREFUL = 0.1


def solve_ivp(
    f: RightHandSide | nn.Module,
    t_span: tuple[float | Tensor, float | Tensor],
    y0: Tensor,
    *,
    method: Method | None = None,
    rtol: float = 1e-6,
    atol: float | Tensor = 1e-9,
    t_eval: Sequence[float] | Tensor | None = None,
    diagonal: RightHandSide | None = None,
    events: Sequence[Event] = (),
    max_steps: int = 100_000,
    throw: bool = True,
    record: bool = False,
) -> Solution:
    r"""Solve `dy/dt = f(t, y)` from t_0 to t_1 for a batch, stiff or not, each sample by itself.

    Differentiable with respect to y_0, the times, and everything that f depends on, once: the
    implicit function theorem for each step, with step sizes and orders held fixed. A sample is
    never wrong in silence: where the iteration of a step contracts too little to be believed, a
    full Newton method takes over, and what cannot be solved is an error.

    Arguments:
        f: a field such as `HollowNet`, or a function of t `(n,)`, one time for each of the samples
            that are then at work, and y `(n, d)`; returns `(n, d)`. Samples must not depend on
            each other.
        t_span: (t_0, t_1), in either order; numbers, or tensors for gradients. Where a gradient by
            a time is asked for, the solve takes a tenth of the tolerances, as far as the dtype
            allows: it makes more steps.
        y0: `(B, d)`, float32 or float64.
        method: `hp.JacobiNewtonBDF()` by default; `hp.ESDIRK43()`, `hp.AdamsMoulton()`,
            `hp.RungeKutta()`, `hp.Auto()`.
        rtol, atol: an error of a step may be `atol + rtol |y|` for each component, in the root
            mean square; atol is a number or `(d,)`.
        t_eval: times at which to give values, between t_0 and t_1 and in their order; both ends by
            default.
        diagonal: `df_i / dy_i` `(n, d)` as a function of the same arguments, where f is not a
            field.
        events: what to look out for.
        max_steps: of each sample.
        throw: whether a sample that cannot go on is an error, or only said in `status`.
        record: whether to keep every step, its order and its contraction in `trace`.

    Raises:
        InputError: shapes, times or tolerances that make no sense; an inner solver that needs a
            diagonal where there is none.
        SolverError: a sample cannot go on.

    Source:
        Chen and Duvenaud, Neural Networks with Cheap Differential Operators (2019); Shampine and
        Reichelt, The MATLAB ODE Suite (1997).

    Example:
        >>> decay = lambda t, y: -1000.0 * (y - torch.cos(t)[:, None])
        >>> solution = hp.solve_ivp(decay, (0.0, 1.0), torch.zeros(1, 1).double(),
        ...                         diagonal=lambda t, y: torch.full_like(y, -1000.0))
        >>> print(f"{solution.y[-1].item():.3f}")
        0.541
    """
    _check(y0, rtol, atol)
    method = JacobiNewtonBDF() if method is None else method
    system = System(f, diagonal, dtype=y0.dtype)
    system.recorder = Recorder() if record else None
    times = _times(t_span, t_eval)
    t0, t1 = (_number(t) for t in t_span)
    check_values(f, y0.new_full((len(y0),), t0), y0)
    check_inner(getattr(method, "inner", None), system)
    if torch.is_grad_enabled():
        system.theta = leaves(f, y0.new_full((len(y0),), t0), y0)
    start = _moved_start(system, t_span[0], t0, y0)
    given = t_eval if t_eval is not None else t_span
    tol = Tolerances(rtol, atol)
    if any(_asks(t) for t in (*t_span, *given)):
        tol = Tolerances(min(rtol, max(_CAREFUL * rtol, _least(y0.dtype))), _CAREFUL * atol)
    course = method.solve(InitialValue(system, start, times, t0, t1, tol, events, max_steps))
    status = _status(course, len(y0))
    if course.failures and throw:
        raise SolverError(status)
    counts = system.counts
    values = _moved_values(system, given, course.values)
    success = torch.ones(len(y0), dtype=torch.bool)
    success[list(course.failures)] = False
    stats = Stats(
        method=course.note or repr(method),
        n_f=counts["f"],
        n_diag=counts["diagonal"],
        n_jac=counts["jacobian"],
        n_jvp=counts["jvp"],
        n_steps=int(course.steps.max(initial=0)),
        n_rejected=course.rejected,
        n_failed=course.failed,
        n_handed_over=counts["handed over"],
        steps=torch.from_numpy(course.steps),
        evaluations=torch.from_numpy(course.evaluations),
    )
    happened = tuple(
        tuple(torch.tensor(times, dtype=torch.float64) for times in event)
        for event in course.events
    )
    out = torch.tensor([_number(t) for t in given], dtype=torch.float64)
    recorder = system.recorder
    trace = None if recorder is None else recorder.trace(y0.shape[-1], y0.dtype)
    return Solution(out, values, stats, status, success, happened, trace)


def check_inner(inner: object, system: System) -> None:
    """Refuse an inner solver that needs a diagonal which nobody gives."""
    if getattr(inner, "needs_diagonal", False) and not system.knows_diagonal:
        raise InputError(
            f"{type(inner).__name__} needs the diagonal of the Jacobian, which a plain function "
            "does not tell: give diagonal=..., or a field such as hp.HollowNet; or take "
            "inner=hp.DenseNewton(), hp.NewtonKrylov() or hp.FunctionalIteration()."
        )


def _check(y0: Tensor, rtol: float, atol: float | Tensor) -> None:
    if not isinstance(y0, Tensor) or y0.ndim != 2 or 0 in y0.shape:
        shape = tuple(y0.shape) if isinstance(y0, Tensor) else type(y0).__name__
        raise InputError(f"y0 must be a tensor (B, d), such as y.reshape(1, -1), but is {shape}.")
    if y0.dtype not in (torch.float32, torch.float64):
        raise InputError(f"y0 must be float32 or float64, but is {y0.dtype}.")
    if not torch.isfinite(y0).all():
        raise InputError("y0 must be finite, but holds nan or infinite values.")
    if not 0 < rtol < 1:
        raise InputError(f"rtol must lie in (0, 1), but is {rtol}.")
    if rtol < _least(y0.dtype):
        raise InputError(
            f"rtol = {rtol:g} is below what {y0.dtype} can tell ({_least(y0.dtype):g}): take a "
            "larger one, or y0.double() and f in float64."
        )
    if isinstance(atol, Tensor) and atol.shape not in ((), y0.shape[1:]):
        raise InputError(
            f"atol must be a number or ({y0.shape[1]},), but has the shape {tuple(atol.shape)}."
        )
    if bool((torch.as_tensor(atol) < 0).any()):
        raise InputError(f"atol must not be negative, but is {atol}.")


def _times(
    t_span: tuple[float | Tensor, float | Tensor], t_eval: Sequence[float] | Tensor | None
) -> np.ndarray:
    """The times asked for."""
    ends = np.array([_number(t) for t in t_span])
    if not np.isfinite(ends).all() or ends[0] == ends[1]:
        raise InputError(
            f"t_span must be two different finite times, but is ({ends[0]:g}, {ends[1]:g})."
        )
    if t_eval is None:
        return ends
    wanted = np.array([_number(t) for t in t_eval])
    direction = np.sign(ends[1] - ends[0])
    inside = (direction * (wanted - ends[0]) >= 0) & (direction * (ends[1] - wanted) >= 0)
    if not len(wanted) or not inside.all() or (direction * np.diff(wanted) < 0).any():
        raise InputError(
            f"t_eval must lie between {ends[0]:g} and {ends[1]:g} and in that order, but is "
            f"{wanted.tolist()}."
        )
    return wanted


def _moved_start(system: System, t: float | Tensor, t0: float, y0: Tensor) -> Tensor:
    """y_0, with the gradient by t_0: a later start is one that has not moved yet."""
    if _asks(t):
        with torch.no_grad():
            slope = system.f(y0.new_full((len(y0),), t0), y0)
        y0 = y0 - (t - t.detach()).to(y0) * slope
    return y0


def _moved_values(
    system: System, times: Sequence[float | Tensor] | Tensor, values: Tensor
) -> Tensor:
    """The values, with the gradients by their times: f."""
    out = []
    for t, y in zip(times, values, strict=True):
        if _asks(t):
            with torch.no_grad():
                slope = system.f(y.new_full((len(y),), _number(t)), y)
            y = y + (t - t.detach()).to(y) * slope
        out.append(y)
    return torch.stack(out)


def _least(dtype: torch.dtype) -> float:
    """The least relative tolerance."""
    return _SINGLE if dtype == torch.float32 else 10 * torch.finfo(dtype).eps


def _asks(t: float | Tensor) -> TypeGuard[Tensor]:
    """Whether it asks for a gradient."""
    return isinstance(t, Tensor) and t.requires_grad and torch.is_grad_enabled()


def _number(t: float | Tensor) -> float:
    return float(t.detach() if isinstance(t, Tensor) else t)


def _status(course: Course, samples: int) -> str:
    if not course.failures:
        return f"All {samples} samples were solved to the end."
    first = course.failures[min(course.failures)]
    return f"{len(course.failures)} of {samples} samples could not go on: {first}."
