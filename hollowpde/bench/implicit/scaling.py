"""The relaxation network: in many dimensions, in batches, and cells that each go their way."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch

from hollowpde.bench.implicit.budget import Budget
from hollowpde.bench.implicit.cases import CLASSICS, Case, relaxation
from hollowpde.bench.implicit.compare import cost_at
from hollowpde.bench.implicit.figures import Figure
from hollowpde.bench.implicit.lab import Lab, Point
from hollowpde.bench.implicit.ours import DEFAULT, DENSE, OURS
from hollowpde.bench.implicit.scipys import BDF, LSODA, SCIPY, SciPy
from hollowpde.bench.implicit.solve import DONE, Solver
from hollowpde.bench.implicit.torchdiffeqs import DOPRI5, TORCHDIFFEQ
from hollowpde.bench.tables import Heading, Result, Row
from hollowpde.bench.timing import Ratio
from hollowpde.solvers import JacobiNewtonBDF, solve_ivp

# Of a batch, SciPy solves so many one by one, which stand for all.
_LOOPED = 8
PLAIN, LOOPED, STACKED, SPARSE = (
    f"{BDF}, {how}" for how in ("column by column", "looped", "stacked", "stacked, sparse")
)
BATCHED = (
    SciPy(LOOPED, "BDF", first=_LOOPED),
    SciPy(STACKED, "BDF", stacked=True),
    SciPy(SPARSE, "BDF", stacked=True, sparse=True),
)
_PLAIN = SciPy(PLAIN, "BDF", vectorized=False)
# What each is asked for: the least time of the peer, by ours. Nothing where SciPy is told which
# samples do not depend on each other: it is faster there, as the figure says.
_ASKED: dict[str, dict[str, float | None]] = {
    "d=100": {PLAIN: 1 / 1.5, BDF: 1 / 1.5},
    "d=1000": {PLAIN: 5.0, BDF: 5.0, DENSE: 20.0},
    "B=": {LOOPED: 5.0, STACKED: 5.0, SPARSE: None},
}
_NAMED: dict[str, Solver] = {s.name: s for s in (*OURS, *SCIPY, *TORCHDIFFEQ, *BATCHED, _PLAIN)}
_CELLS, _ALONE = 64, 16
# Where a single tolerance is of interest.
_AT = 1e-4


@dataclass
class Measured:
    """What was found of the networks and cells.

    Arguments:
        points: by network.
        few: by network, our error with rtol 1e-4 of those samples that SciPy loops over.
        cells: rows of evaluations.
    """

    points: dict[str, list[Point]] = field(default_factory=dict)
    few: dict[str, float] = field(default_factory=dict)
    cells: list[Row] = field(default_factory=list)


def measure(lab: Lab) -> Measured:
    """All networks within the budget, then the cells."""
    out = Measured()
    budget = lab.budget
    rtols = [rtol for rtol in budget.rtols if rtol >= 1e-6]
    for case, names, once in _networks(budget):
        solvers = [_NAMED[name] for name in names]
        found: list[Point] = []
        for rtol in rtols:
            found += lab.compare(case, [(s, rtol) for s in solvers], patience=budget.patience)
        alone = [(_NAMED[name], _AT) for name in once]
        found += lab.compare(case, alone, patience=budget.patience, repeats=1)
        out.points[case.name] = found
        own = _own(found)
        if own is not None and own.solve.values is not None:
            some = own.solve.values[:, :_LOOPED]
            out.few[case.name] = case.error(some, lab.reference(case))
        lab.say(f"{case.name}: {len(found)} solves")
    out.cells = [_cells(lab, min(_CELLS, budget.samples))]
    return out


def _networks(budget: Budget) -> Iterator[tuple[Case, Sequence[str], Sequence[str]]]:
    """Cases, the solvers at all tolerances, and those at one of them."""
    end = None if budget.share == 1 else 2 * budget.share
    for dim in (10, 100, 1000):
        if dim > budget.largest:
            continue
        # An explicit solve in 1000 dimensions takes minutes, and dense Newton nearly one.
        once = [DENSE] if dim == 1000 else [DOPRI5]
        names = [DEFAULT, BDF, PLAIN] if dim == 1000 else [DEFAULT, DENSE, BDF, PLAIN, LSODA]
        yield relaxation(dim, end=end), names, once
    batch = relaxation(10, budget.samples, end)
    # One dense system of all takes a minute.
    yield batch, [DEFAULT, DENSE, LOOPED, SPARSE], [STACKED, DOPRI5]


def _cells(lab: Lab, samples: int) -> Row:
    """FitzHugh-Nagumo cells that fire at times of their own: together, and some of them alone."""
    case = CLASSICS["fitzhugh_nagumo"]
    generator = torch.Generator().manual_seed(0)
    draws = torch.rand(samples, 2, generator=generator, dtype=torch.float64)
    y0 = draws * torch.tensor([4.0, 2.0]) - torch.tensor([2.0, 0.5])
    end = 2 * case.span[1] if samples == _CELLS else 0.02 * case.span[1]

    def evaluations(y: torch.Tensor) -> tuple[torch.Tensor, int]:
        with torch.no_grad():
            found = solve_ivp(
                case.f, (case.span[0], end), y, method=JacobiNewtonBDF(),
                diagonal=case.diagonal, rtol=_AT, atol=_AT * case.floor,
            )  # fmt: skip
        return found.stats.evaluations, found.stats.n_f

    together, calls = evaluations(y0)
    chosen = list(range(0, samples, max(samples // _ALONE, 1)))
    alone = [evaluations(y0[k : k + 1]) for k in chosen]
    ratios = [
        float(together[k]) / float(own[0]) for k, (own, _) in zip(chosen, alone, strict=True)
    ]
    return {
        "cells": samples,
        "alone": len(chosen),
        "mean evaluations of a cell": float(together.double().mean()),
        "most, together / alone": max(ratios),
        "calls of f together": calls,
        "most calls alone": max(own for _, own in alone),
        "calls alone, mean": statistics.mean(own for _, own in alone),
    }


def tables(measured: Measured) -> list[Result]:
    """Times of all, by those of the default; and the cells."""
    rows = [
        _row(name, point, points) for name, points in measured.points.items() for point in points
    ]
    return [Result(NETWORKS, rows), Result(CELLS, measured.cells)]


def _row(name: str, point: Point, points: Sequence[Point]) -> Row:
    own = next(p for p in points if p.solver == DEFAULT and p.level == point.level)
    done = point.solve.outcome == DONE
    ratio = None
    if done and own.solve.outcome == DONE:
        n = min(len(point.seconds), len(own.seconds))
        ratio = Ratio.of(point.seconds[:n], own.seconds[:n])
    return {
        "network": name.removeprefix("relaxation, "),
        "rtol": f"{point.level:.0e}",
        "solver": point.solver,
        "time / ours": ratio,
        "error": point.error,
        "evaluations": point.solve.evaluations,
        "seconds": point.time if done else None,
        "outcome": "done" if done else f"{point.solve.outcome}: {point.solve.why}",
    }


def figures(measured: Measured) -> Iterator[Figure]:
    """What was asked of the solvers, and what came of it."""
    for name, points in measured.points.items():
        if ", to " in name:
            # A part of the time says nothing about the whole.
            continue
        label = name.removeprefix("relaxation, ")
        short = "B=" if "B = " in label else label.replace(" ", "")
        for peer, asked in _ASKED.get(short, {}).items():
            few = measured.few.get(name) if peer == LOOPED else None
            ratio = at_equal_error(points, peer, few)
            if ratio is not None:
                yield Figure(f"{label}: time of {peer} / ours, the same error", ratio, asked)
        explicit = _evaluations(points, DOPRI5)
        own = _evaluations(points, DEFAULT)
        if explicit is not None and own is not None:
            yield Figure(f"{label}: evaluations of dopri5 / ours, rtol 1e-4", explicit / own, 40.0)
    for row in measured.cells:
        most = float(str(row["most, together / alone"]))
        yield Figure("cells: evaluations together / alone, the worst", most, 1.5, least=False)


def at_equal_error(points: Sequence[Point], peer: str, error: float | None = None) -> float | None:
    """The time of a peer by ours, at our error with rtol 1e-4, or that of some samples."""
    own = _own(points)
    if own is None or own.error is None:
        return None
    line = [(p.error, p.time) for p in points if p.solver == peer and p.error is not None]
    if len(line) == 1:
        # Of a single solve, at the same tolerance.
        return line[0][1] / own.time
    cost = cost_at(line, own.error if error is None else error)
    return None if cost is None else cost / own.time


def _own(points: Sequence[Point]) -> Point | None:
    return next((p for p in points if p.solver == DEFAULT and p.level == _AT), None)


def _evaluations(points: Sequence[Point], solver: str) -> float | None:
    """Of f, with rtol 1e-4."""
    return next(
        (p.solve.evaluations for p in points if (p.solver, p.level) == (solver, _AT)), None
    )


NETWORKS = Heading(
    name="networks",
    title="The relaxation network: dimensions and batches",
    notes=(
        f"Wall time by that of {DEFAULT}: above 1 the project is faster. One thread, medians of "
        "the ratios within interleaved repeats. Of a batch, SciPy solves the first "
        f"{_LOOPED} one by one, which stand for all, or all as one system, its Jacobian dense "
        "or, told of the blocks, sparse. SciPy's Jacobians are differences with all columns in "
        "one call of f, unless it says column by column. Errors and evaluations as above; some "
        "solvers at 1e-4 alone, once.",
    ),
    keys=("network", "rtol", "solver"),
    quantity="time / ours",
    aside=("error", "evaluations", "seconds", "outcome"),
)

CELLS = Heading(
    name="cells",
    title="FitzHugh-Nagumo cells in one batch, and some of them alone",
    notes=(
        "Cells that fire at times of their own, rtol 1e-4. A batch calls f for all cells that "
        "are then at work, so that there are as many calls as the busiest cell needs, and more.",
    ),
    keys=("cells",),
    quantity="evaluations",
    aside=("alone", "most, together / alone"),
)
