"""Bands of an ensemble: how often they hold the truth, over many simulated data sets."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from statistics import fmean

from hollowpde.bench.sde.cases import CASES
from hollowpde.bench.sde.cells import Budget as BaseBudget
from hollowpde.bench.sde.cells import Cell, cells_of, in_silence
from hollowpde.bench.sde.ours import fitted, lean, settings
from hollowpde.bench.sde.ours import ours as by_us
from hollowpde.bench.sde.rivals import OURS, Rival
from hollowpde.bench.tables import Heading, Result, Row
from hollowpde.bench.timing import Spread
from hollowpde.problem import SDEProblem
from hollowpde.problem.sde.bootstrap import Bootstrap
from hollowpde.problem.sde.metrics import coverage

TRIED = ("double_well_0.2", "cir_0.5")

# Data that no other table has seen.
_FIRST_SEED = 200
_MEMBERS = 10
_NOTES = (
    f"Share of the observations of held-out paths at which the 90 % band of {_MEMBERS} members "
    "holds the true value: the mean over data sets, and their median [quartiles]. Points of a "
    "data set err together, so that single shares are far from 90 %: what counts is the mean.",
    "The problem file as it is, with `uncertainty.members=10`; data sets that no other table has "
    "seen.",
)


@dataclass(frozen=True)
class Budget(BaseBudget):
    """How much to measure.

    Arguments:
        coverage: data sets with bands for each one of errors: a share takes more than a median.
    """

    coverage: int = 4


@dataclass(frozen=True)
class Held:
    """At what share of the points the bands hold the truth; or why there are none."""

    drift: float = 0.0
    diffusion: float = 0.0
    seconds: float = 0.0
    failure: str = ""

    def __str__(self) -> str:
        return f"drift {self.drift:.3f}, diffusion {self.diffusion:.3f}, {self.seconds:.1f} s"


def wanted(budget: Budget) -> Iterator[Cell]:
    """All fits whose bands are wanted, seed by seed."""
    more = replace(budget, seeds=budget.coverage * budget.seeds)
    ours = Rival(OURS, by_us, settings=lambda problem: settings(_with_members(problem, None)))
    for cell in cells_of([CASES[name] for name in TRIED], {OURS: ours}, more):
        yield replace(cell, seed=_FIRST_SEED + cell.seed)


def measure(cell: Cell) -> Held:
    """What the bands of a fit hold; one that fails does not end the benchmark."""
    try:
        with in_silence():
            task = CASES[cell.case].task(cell.seed, cell.paths)
            start = time.perf_counter()
            fit = fitted(_with_members(lean(task.problem, cell.steps), cell.steps), task.seed)
            seconds = round(time.perf_counter() - start, 2)
            ensemble = fit.learned.ensemble
            if ensemble is None:
                return Held(failure="there are no members")
            held = coverage(ensemble, task.truth, task.split.test)
            return Held(float(held["drift_coverage"]), float(held["diffusion_coverage"]), seconds)
    except Exception as error:
        return Held(failure=f"{type(error).__name__}: {error}")


def table(held: Mapping[Cell, Held]) -> Result:
    """The shares by case; failures are not counted."""
    heading = Heading(
        "coverage",
        "Coverage of 90 % bands",
        _NOTES,
        ("case",),
        "share of points",
        log=False,
        aside=("data sets", "seconds"),
    )
    rows: list[Row] = []
    for case in dict.fromkeys(cell.case for cell in held):
        found = [h for cell, h in held.items() if cell.case == case and not h.failure]
        drift, diffusion = [h.drift for h in found], [h.diffusion for h in found]
        rows.append(
            {
                "case": case,
                "data sets": len(found),
                "drift, mean": fmean(drift) if found else None,
                "drift": Spread.over(drift) if found else None,
                "diffusion, mean": fmean(diffusion) if found else None,
                "diffusion": Spread.over(diffusion) if found else None,
                "seconds": Spread.over([h.seconds for h in found]) if found else None,
            }
        )
    return Result(heading, rows)


def _with_members(problem: SDEProblem, steps: int | None) -> SDEProblem:
    members = Bootstrap(members=_MEMBERS)
    if steps is not None:
        members = replace(
            members, whole=replace(members.whole, steps=min(members.whole.steps, steps))
        )
    return replace(problem, uncertainty=members)
