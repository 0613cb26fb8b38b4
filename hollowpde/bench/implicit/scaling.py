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
BATCHED = (
    SciPy(f"{BDF}, looped", "BDF", first=_LOOPED),
    SciPy(f"{BDF}, stacked", "BDF", stacked=True),
    SciPy(f"{BDF}, stacked, sparse", "BDF", stacked=True, sparse=True),
)
_NAMED: dict[str, Solver] = {s.name: s for s in (*OURS, *SCIPY, *TORCHDIFFEQ, *BATCHED)}
_CELLS, _ALONE = 64, 16
# Where a single tolerance is of interest.
_AT = 1e-4


@dataclass
class Measured:
    """What was found of the networks and cells.

    Arguments:
        points: by network.
        cells: rows of evaluations.
    """

    points: dict[str, list[Point]] = field(default_factory=dict)
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
        names = [DEFAULT, BDF, LSODA] if dim == 1000 else [DEFAULT, DENSE, BDF, LSODA]
        yield relaxation(dim, end=end), names, once
    batch = relaxation(10, budget.samples, end)
    yield batch, [DEFAULT, DENSE, *(s.name for s in BATCHED)], [DOPRI5]


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
        label = name.removeprefix("relaxation, ")
        short = label.replace(" ", "")
        scipy = [p.solver for p in points if p.solver.startswith(BDF)]
        faster = at_equal_error(points, list(dict.fromkeys(scipy)))
        if ", to " in name:
            # A part of the time says nothing about the whole.
            continue
        asked = {"d=1000": 5.0, "d=100": 1 / 1.5}.get(short, 5.0 if "B=" in short else None)
        if faster is not None and short != "d=10":
            yield Figure(f"{label}: time of {BDF} / ours, the same error", faster, asked)
        dense = at_equal_error(points, [DENSE])
        if dense is not None:
            yield Figure(
                f"{label}: time of dense Newton / ours, the same error",
                dense, 20.0 if short == "d=1000" else None,
            )  # fmt: skip
        explicit = _evaluations(points, DOPRI5)
        own = _evaluations(points, DEFAULT)
        if explicit is not None and own is not None:
            yield Figure(f"{label}: evaluations of dopri5 / ours, rtol 1e-4", explicit / own, 40.0)
    for row in measured.cells:
        most = float(str(row["most, together / alone"]))
        yield Figure("cells: evaluations together / alone, the worst", most, 1.5, least=False)


def at_equal_error(points: Sequence[Point], peers: Sequence[str]) -> float | None:
    """The time of the best of some peers by ours, at our error with rtol 1e-4."""
    own = next((p for p in points if p.solver == DEFAULT and p.level == _AT), None)
    if own is None or own.error is None:
        return None
    times = []
    for peer in peers:
        line = [(p.error, p.time) for p in points if p.solver == peer and p.error is not None]
        # Of a single solve at the same tolerance the error may be a little larger.
        single = line[0][1] if len(line) == 1 else None
        times.append(single if single is not None else cost_at(line, own.error))
    known = [time for time in times if time is not None]
    return min(known) / own.time if known else None


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
        "one call of f. Errors and evaluations as above; some solvers at 1e-4 alone, once.",
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
