"""The pictures of a system that was solved by several methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from hollowpde.problem.ode.contest import Outcome, distances
from hollowpde.problem.panel import Array, Axes, Chart, Line, Mark, Panel, Points, Role, Table
from hollowpde.solvers import Trace

if TYPE_CHECKING:
    from hollowpde.problem.ode.solve import ODESolve

# More components than these are not drawn.
_SHOWN = 6
# More steps than these are thinned.
_POINTS = 1500
# Times that span so much are drawn on a logarithmic axis.
_LONG = 1e4
# Errors within this factor count as equal.
_EQUAL = 3.0
# The contraction from which on an iteration is handed over to a full Newton method.
_HANDED_OVER = 0.7


def panels(solve: ODESolve) -> list[Panel]:
    """The solution, what each solver did on its way, and what it took."""
    outcomes = list(solve.model.outcomes.values())
    traced = [(o.name, o.trace.of(0)) for o in outcomes if o.trace is not None and o.n_steps]
    out = _work(solve, outcomes)
    if not traced:
        return out
    log_t = _is_long(solve, traced[0][1])
    out += _solution(solve, traced[0], log_t)
    out.append(_errors(solve, outcomes, log_t))
    more = " Of the first sample." if len(solve.y0) > 1 else ""
    out += [
        _along(
            "Step sizes", f"Accepted steps of each solver.{more}", "h", traced, log_t,
            lambda s: np.abs(s.h), log_y=True,
        ),
        _along(
            "Orders", f"The order of the method in each step.{more}", "order",
            [(name, s) for name, s in traced if s.order.any()], log_t, lambda s: s.order,
        ),
        _along(
            "Evaluations on the way", f"Evaluations of f until t, rejected steps included.{more}",
            "evaluations", traced, log_t, lambda s: np.cumsum(s.iterations), log_y=True,
            rejected=True,
        ),
    ]  # fmt: skip
    if measured := [(name, s) for name, s in traced if np.isfinite(s.rate).any()]:
        out.append(_contraction(measured, log_t, more))
    return out


def _solution(solve: ODESolve, first: tuple[str, Trace], log_t: bool) -> list[Chart]:
    """Each component at the steps of the first solver, and the reference."""
    name, steps = first
    steps = _accepted(steps)
    times = np.array(solve.problem.times)
    assert solve.model.reference is not None
    exact = solve.model.reference[:, 0].double().cpu().numpy()
    shown = range(min(exact.shape[-1], _SHOWN))
    seen = _positive(times, log_t)
    keep = _positive(steps.t, log_t)
    return [
        Chart(
            f"y{i + 1}",
            f"At the steps of {name}, and the reference at the times that errors are taken at.",
            Axes("t", f"y{i + 1}", log_x=log_t),
            [
                Line(name, Role.FIT, *_thinned(steps.t[keep], steps.y[keep, i])),
                Points("reference", Role.TRUTH, times[seen], exact[seen, i]),
            ],
        )
        for i in shown
    ]


def _errors(solve: ODESolve, outcomes: list[Outcome], log_t: bool) -> Chart:
    exact, times = solve.model.reference, np.array(solve.problem.times)
    assert exact is not None
    seen = _positive(times, log_t)
    marks: list[Mark] = []
    for k, outcome in enumerate(outcomes):
        gaps = distances(outcome.y, exact, solve.problem.floor).amax(1)
        error = gaps.double().cpu().numpy()
        there = seen & (error > 0)
        if there.any():
            marks.append(Line(outcome.name, _role(k), times[there], error[there]))
    rtol = np.full(2, solve.problem.rtol)
    marks.append(Line("rtol", Role.TRUTH, times[seen][[0, -1]], rtol, dashed=True))
    return Chart(
        "Error",
        "From the reference, relative to |y| + atol / rtol, in the mean square over components; "
        "of the worst sample.",
        Axes("t", "error", log_x=log_t, log_y=True),
        marks,
    )


def _along(
    title: str,
    caption: str,
    label: str,
    traced: list[tuple[str, Trace]],
    log_t: bool,
    value: Callable[[Trace], Array | np.ndarray],
    log_y: bool = False,
    rejected: bool = False,
) -> Chart:
    """A figure of each solver against time."""
    marks: list[Mark] = []
    for k, (name, steps) in enumerate(traced):
        steps = steps if rejected else _accepted(steps)
        keep = _positive(steps.t, log_t)
        y = np.asarray(value(steps), dtype=float)[keep]
        if len(y):
            marks.append(Line(name, _role(k), *_thinned(steps.t[keep], y)))
    return Chart(title, caption, Axes("t", label, log_x=log_t, log_y=log_y), marks)


def _contraction(traced: list[tuple[str, Trace]], log_t: bool, more: str) -> Chart:
    marks: list[Mark] = []
    ends = []
    for k, (name, steps) in enumerate(traced):
        keep = _positive(steps.t, log_t) & np.isfinite(steps.rate) & (steps.rate > 0)
        if keep.any():
            t, rate = steps.t[keep], steps.rate[keep]
            marks.append(Line(name, _role(k), *_thinned(t, rate)))
            ends += [t[0], t[-1]]
    limit = np.full(2, _HANDED_OVER)
    span = np.array([min(ends), max(ends)]) if ends else np.array([1.0, 2.0])
    marks.append(Line("handed over", Role.TRUTH, span, limit, dashed=True))
    return Chart(
        "Contraction",
        "By what factor an iteration with the diagonal alone makes an error smaller, as measured "
        f"of late. Samples above the line are handed over to a full Newton method.{more}",
        Axes("t", "contraction", log_x=log_t, log_y=True),
        marks,
    )


def _work(solve: ODESolve, outcomes: list[Outcome]) -> list[Panel]:
    work = Table(
        "Work",
        f"At rtol = {solve.problem.rtol:g}. Evaluations of f are of all samples at once, but "
        f"SciPy's of one after another. {lost(outcomes)}",
        ["solver", "error", "evaluations", "diagonals", "Jacobians", "seconds"],
        [
            [
                o.name, f"{o.error:.1e}" if o.solved else "failed", o.n_f, o.n_diag, o.n_jac,
                f"{o.seconds:.2g}",
            ]
            for o in outcomes
        ],
    )  # fmt: skip
    steps = Table(
        "Steps",
        "Accepted steps of the sample that took most; rejected ones, and those whose equation was "
        "not solved, of all samples.",
        ["solver", "accepted", "rejected"],
        [[o.name, o.n_steps, o.n_rejected] for o in outcomes],
    )
    failed: list[list[str | float | int]] = [[o.name, o.why] for o in outcomes if not o.solved]
    if not failed:
        return [work, steps]
    return [work, steps, Table("What failed", "And why.", ["solver", "reason"], failed)]


def lost(outcomes: list[Outcome]) -> str:
    """Where the first solver loses, in a sentence: to what is no less accurate, but for a bit."""
    first, *others = outcomes
    if not first.solved:
        return f"{first.name} failed."
    equal = [o for o in others if o.solved and o.error <= _EQUAL * first.error]
    parts = []
    for what, cost in (
        ("time", lambda o: o.seconds),
        ("evaluations", lambda o: o.n_f),
    ):
        better = sorted((o for o in equal if cost(o) < cost(first)), key=cost)
        if better:
            said = ", ".join(f"{o.name} ({cost(first) / cost(o):.2g} x)" for o in better)
            parts.append(f"in {what} to {said}")
    if not parts:
        return f"Nothing as accurate takes less than {first.name}."
    return f"{first.name} loses {' and '.join(parts)}."


def _accepted(steps: Trace) -> Trace:
    keep = steps.accepted
    return Trace(*(getattr(steps, name)[keep] for name in steps.__dataclass_fields__))


def _is_long(solve: ODESolve, steps: Trace) -> bool:
    """Whether a logarithmic axis of time shows more."""
    assert solve.problem.t_span is not None
    start, end = solve.problem.t_span
    first = steps.t[steps.t > 0]
    return bool(start == 0 and end > 0 and len(first) and end / first[0] > _LONG)


def _positive(t: Array, log_t: bool) -> np.ndarray:
    return t > 0 if log_t else np.ones(len(t), bool)


def _thinned(x: Array, y: Array) -> tuple[Array, Array]:
    step = max(1, -(-len(x) // _POINTS))
    return np.asarray(x[::step], float), np.asarray(y[::step], float)


def _role(k: int) -> Role:
    """Ours first; the others are told apart by colour, then by dashes."""
    if k == 0:
        return Role.FIT
    others = (Role.DATA, Role.VALIDATION, Role.RESIDUAL, Role.TRAIN)
    return others[(k - 1) % len(others)]
