"""Solvers at equal errors: what each takes, by interpolation between its tolerances."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hollowpde.bench.implicit.lab import Point
from hollowpde.bench.implicit.ours import DEFAULT
from hollowpde.bench.implicit.solve import Solver
from hollowpde.bench.tables import Row

# Errors at which solvers are compared; sentences speak of the one in the middle, if it is reached.
ERRORS = (1e-4, 1e-2, 1e-6)

# Ratios so near to one are even.
_EVEN = 0.05

Cost = Callable[[Point], float | None]


def evaluations(point: Point) -> float | None:
    return point.solve.evaluations


def seconds(point: Point) -> float | None:
    return point.time


def cost_at(points: Iterable[tuple[float, float]], error: float) -> float | None:
    """What an error takes, by interpolation in the logarithms of errors and costs.

    A larger error than was measured takes the least that was measured; a smaller one is not
    reached.

    Arguments:
        points: errors, and what they took.
        error: the error that is wanted.

    >>> points = [(1e-2, 10.0), (1e-4, 1000.0)]
    >>> round(cost_at(points, 1e-3), 6), round(cost_at(points, 1.0), 6), cost_at(points, 1e-5)
    (100.0, 10.0, None)
    """
    # No more than what a smaller error took.
    envelope: list[tuple[float, float]] = []
    for e, cost in sorted((max(e, 1e-300), cost) for e, cost in points):
        if math.isfinite(e) and (not envelope or cost < envelope[-1][1]):
            envelope.append((e, cost))
    if not envelope or error < envelope[0][0]:
        return None
    errors, costs = (np.log([point[k] for point in envelope]) for k in (0, 1))
    return float(np.exp(np.interp(math.log(error), errors, costs)))


def costs_at(points: Sequence[Point], error: float, cost: Cost) -> dict[str, float]:
    """What an error takes, by the names of the solvers that reach it."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for point in points:
        value = cost(point)
        if point.error is not None and value is not None:
            lines.setdefault(point.solver, []).append((point.error, value))
    found = {name: cost_at(line, error) for name, line in lines.items()}
    return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True)
class Against:
    """The project's default against the best of some peers.

    Arguments:
        peer: the best.
        ratio: what the default takes, by what the peer takes.
    """

    peer: str
    ratio: float

    @property
    def verdict(self) -> str:
        if abs(self.ratio - 1) < _EVEN:
            return "is even"
        return "wins" if self.ratio < 1 else "loses"


@dataclass(frozen=True)
class Verdict:
    """How the default does at an error.

    Arguments:
        error: at which.
        evaluations, seconds: against the best of those that take the torch field.
        compiled: seconds, against the best of those that do not.
        best: the fastest of the project's solvers, and its seconds by the default's.
    """

    error: float
    evaluations: Against | None
    seconds: Against | None
    compiled: Against | None
    best: Against | None

    @property
    def sentence(self) -> str:
        parts = []
        if self.evaluations is not None and self.seconds is not None:
            e, s = self.evaluations, self.seconds
            parts.append(
                f"At an error of {self.error:.0e}, {DEFAULT} {e.verdict} in evaluations, "
                f"{e.ratio:.3g} times those of the best peer on the torch field ({e.peer}), and "
                f"{s.verdict} in time, {s.ratio:.3g} times that of the fastest ({s.peer})"
            )
        if self.compiled is not None:
            c = self.compiled
            parts.append(
                f"against {c.peer}, compiled from a translation of the field, it {c.verdict} in "
                f"time ({c.ratio:.3g} times)"
            )
        if self.best is not None and self.best.ratio > 1 + _EVEN:
            parts.append(f"of the project's own, {self.best.peer} is faster")
        return "; ".join(parts) + "." if parts else ""


def verdicts(points: Sequence[Point], solvers: Sequence[Solver]) -> list[Verdict]:
    """At each of the errors that the default reaches."""
    known = {solver.name: solver for solver in solvers}
    out = []
    for error in ERRORS:
        work, time = (costs_at(points, error, cost) for cost in (evaluations, seconds))
        if DEFAULT not in time:
            continue
        peers = [s for s in known.values() if not s.ours]
        field = [s.name for s in peers if s.torch_field]
        others = [s.name for s in peers if not s.torch_field]
        out.append(
            Verdict(
                error,
                _against(work, field),
                _against(time, field),
                _against(time, others),
                _against(time, [s.name for s in known.values() if s.ours]),
            )
        )
    return out


def sentence(points: Sequence[Point], solvers: Sequence[Solver]) -> str:
    """Where the project wins and where it loses on a diagram."""
    found = verdicts(points, solvers)
    if not found:
        return f"{DEFAULT} reaches none of the errors {', '.join(f'{e:.0e}' for e in ERRORS)}."
    return found[0].sentence or "No peer reaches the same error within the budget."


def row(verdict: Verdict) -> Row:
    """A row of a table."""

    def cells(name: str, against: Against | None) -> dict[str, float | str | None]:
        if against is None:
            return {name: None, f"best in {name}": "none"}
        return {name: against.ratio, f"best in {name}": against.peer}

    return {
        "error": f"{verdict.error:.0e}",
        **cells("evaluations", verdict.evaluations),
        **cells("time", verdict.seconds),
        **cells("time, compiled", verdict.compiled),
        "fastest of ours": verdict.best.peer if verdict.best else None,
    }


def _against(costs: Mapping[str, float], names: Sequence[str]) -> Against | None:
    reached = {name: costs[name] for name in names if name in costs}
    if not reached:
        return None
    best = min(reached, key=lambda name: reached[name])
    return Against(best, costs[DEFAULT] / reached[best])
