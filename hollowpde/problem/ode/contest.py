"""Several solvers on one system: what each took, and how far it is from a reference."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor

from hollowpde.errors import HollowPDEError, InputError
from hollowpde.solvers import Trace, solve_ivp
from hollowpde.solvers.integrate import Method

if TYPE_CHECKING:
    from hollowpde.problem.ode.problem import ODEProblem

log = logging.getLogger(__name__)

# Values at the times asked for `(T, B, d)`, a function of these times that returns them, or what
# finds them.
Reference: TypeAlias = Tensor | Callable[[Tensor], Tensor] | Method


@dataclass(frozen=True)
class Outcome:
    """What became of a solver.

    Arguments:
        name: of the solver.
        y: values at the times asked for, `(T, B, d)`; nan where it did not get.
        n_f, n_diag, n_jac, n_steps: as in `Stats`.
        n_rejected: with those whose equation was not solved.
        seconds: of the solve.
        error: from the reference, nan if it failed.
        why: why it failed; empty if it did not.
        trace: its steps.
    """

    name: str
    y: Tensor
    n_f: int
    n_diag: int
    n_jac: int
    n_steps: int
    n_rejected: int
    seconds: float
    error: float
    why: str
    trace: Trace | None

    @property
    def solved(self) -> bool:
        return not self.why

    def state(self) -> dict[str, Any]:
        """As plain data and tensors, to save."""
        state = {f.name: getattr(self, f.name) for f in fields(self)}
        if self.trace is not None:
            state["trace"] = {
                f.name: torch.from_numpy(getattr(self.trace, f.name)) for f in fields(self.trace)
            }
        return state

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Outcome:
        """From what was saved."""
        trace = state["trace"]
        if trace is not None:
            trace = Trace(**{name: values.numpy() for name, values in trace.items()})
        return cls(**{**state, "trace": trace})


def run(problem: ODEProblem, name: str, y0: Tensor, exact: Tensor) -> Outcome:
    """One solver on a problem; what it refuses, or cannot solve, is an outcome too."""
    assert problem.f is not None and problem.t_span is not None
    begin = time.perf_counter()
    try:
        with torch.no_grad():
            found = solve_ivp(
                problem.f,
                problem.t_span,
                y0,
                method=problem.solvers[name],
                rtol=problem.rtol,
                atol=problem.atol,
                t_eval=problem.times,
                diagonal=problem.diagonal,
                max_steps=problem.max_steps,
                throw=False,
                record=True,
            )
    except HollowPDEError as error:
        nothing, why = torch.full_like(exact, torch.nan), " ".join(str(error).split())
        return Outcome(name, nothing, 0, 0, 0, 0, 0, 0.0, torch.nan, why, None)
    seconds = time.perf_counter() - begin
    stats, solved = found.stats, bool(found.success.all())
    outcome = Outcome(
        name=name,
        y=found.y,
        n_f=stats.n_f,
        n_diag=stats.n_diag,
        n_jac=stats.n_jac,
        n_steps=stats.n_steps,
        n_rejected=stats.n_rejected + stats.n_failed,
        seconds=seconds,
        error=distance(found.y, exact, problem.floor) if solved else torch.nan,
        why="" if solved else found.status,
        trace=found.trace,
    )
    told = f"error {outcome.error:.2g}" if solved else outcome.why
    log.info("%s: %d evaluations, %.2f s, %s", name, outcome.n_f, seconds, told)
    return outcome


def exact_solution(problem: ODEProblem, y0: Tensor) -> Tensor:
    """The reference at the times asked for, `(T, B, d)`.

    Raises:
        InputError: it has another shape, or cannot be found.
    """
    assert problem.f is not None and problem.t_span is not None
    given, times = problem.reference, torch.tensor(problem.times, dtype=y0.dtype)
    shape = (len(times), *y0.shape)
    if isinstance(given, Tensor):
        values = given
    elif callable(given):
        values = given(times)
    else:
        log.info("reference: %s", given)
        with torch.no_grad():
            found = solve_ivp(
                problem.f,
                problem.t_span,
                y0,
                method=given,
                rtol=problem.rtol,
                atol=problem.atol,
                t_eval=problem.times,
                diagonal=problem.diagonal,
                max_steps=10**7,
            )
        values = found.y
    if not isinstance(values, Tensor) or values.shape != shape:
        got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise InputError(
            f"reference must give values {shape}, one for each of the times of t_eval, sample and "
            f"component, but gave {got}."
        )
    return values.to(y0)


def distances(y: Tensor, exact: Tensor, floor: float | Tensor) -> Tensor:
    r"""How far values `(T, B, d)` are from exact ones, at each time `(T, B)`.

    $$ \sqrt{\frac1d \sum_i \Big( \frac{y_i - y^*_i}{|y^*_i| + \phi} \Big)^2} $$

    with the floor $\phi$ = atol / rtol: what is asked of a solver, in units of rtol.
    """
    relative = (y - exact) / (exact.abs() + floor)
    return relative.square().mean(-1).sqrt()


def distance(y: Tensor, exact: Tensor, floor: float | Tensor) -> float:
    """The distance in the mean square over times, of the worst sample."""
    return float(distances(y, exact, floor).square().mean(0).sqrt().max())
