"""The tables of the benchmark: errors by case and rival, and what fits say of themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from hollowpde.bench.sde.cells import (
    Cell,
    Kept,
    Outcome,
    Store,
    cells_of,
    fill,
    outcome_of,
)
from hollowpde.bench.sde.rivals import ORACLE, OURS
from hollowpde.bench.sde.run import asked, facts_of, failures, publish, tables_of, voice
from hollowpde.bench.snapshots import verdicts
from hollowpde.bench.snapshots.cases import CASES
from hollowpde.bench.snapshots.rivals import FLUX, KERNELS, RIVALS, STRONG
from hollowpde.bench.snapshots.verdicts import Budget
from hollowpde.bench.tables import Result

_TITLE = "Drift and diffusion from snapshots"

VERDICTS = "verdicts"
PARTS = {name: case.title for name, case in CASES.items()} | {
    VERDICTS: "whether fits refuse and warn where they should, and only there"
}

QUICK = Budget(seeds=1, steps=1, paths=50, verdicts=1)

_RATIOS = {
    f"{OURS} / {ORACLE}": (OURS, ORACLE),
    f"{STRONG} / {OURS}": (STRONG, OURS),
    f"{KERNELS} / {OURS}": (KERNELS, OURS),
}

_ERRORS = (
    "sqrt(mean |estimate - true|^2 / mean |true|^2) at held-out samples, the same for all: median "
    "[quartiles] over seeds of data, split and weights together. 15 times, 5000 independent "
    "samples at each, 80 % of them to fit to.",
    "Every choice is made on validation samples or the training samples themselves; nobody sees "
    "the truth, except the oracle its form.",
    "Ours: the problem file as it is, of which ou_2d_unpaired says that the drift is linear; the "
    "weak form, which needs no density. "
    f"{STRONG}, {FLUX}: the same networks matched to a mixture density fitted before; the flux "
    "form is for one dimension, and a dash stands where there are more.",
    "Kernels: a kernel density estimate at each time, its bandwidth by held-out likelihood and "
    "widened for derivatives by the normal reference rule; D is constant, also in cir. In one "
    "dimension, the velocity -d_t F / p by differences in time, then f and D by partially linear "
    "kernel regression on x and the score (Robinson). In the plane, least squares of the equation "
    "divided by p at samples, the drift linear in x and 60 Gaussian bumps with a ridge: the "
    "density alone does not determine the flow, and the ridge takes the smallest. Bandwidth of "
    "the regression and ridge by leaving out times.",
    "Oracle: the true equation but for its coefficients, by generalised least squares of moment "
    "equations for random cosines, with the noise of both sides taken into account.",
)


def run(only: Sequence[str], budget: Budget, out: Path | None) -> None:
    """Measure the cases, print the tables, and write them if a folder is given.

    What is measured goes into `snapshots.jsonl` and `verdicts.jsonl` of the folder at once. What
    is there already, measured with the same budget and problem settings, is not measured again.

    Arguments:
        only: names of cases, or `verdicts`; all if empty.
        budget: how much to measure; of verdicts over twice as many seeds.
        out: the folder to write to.

    Raises:
        InputError: a case that is not there.
    """
    names = asked(only, PARTS)
    console, say = voice()
    torch.set_num_threads(1)
    results: list[Result] = []
    failed: list[str] = []
    wanted = list(cells([name for name in names if name != VERDICTS], budget))
    if wanted:
        kept = Kept(None if out is None else out / "snapshots.jsonl")
        outcomes = fill(kept, wanted, measure, budget.jobs, say)
        results += tables(outcomes)
        failed += failures(outcomes)
    if VERDICTS in names:
        tried = list(verdicts.cells(budget))
        store = Store(None if out is None else out / "verdicts.jsonl", verdicts.Said)
        said = fill(store, tried, verdicts.measure, budget.jobs, say)
        results.append(verdicts.table(said))
        failed += failures(said)
    publish(results, failed, "snapshots", _TITLE, facts_of(budget), console, out)


def cells(names: Sequence[str], budget: Budget) -> Iterator[Cell]:
    """All estimates that are to be measured, seed by seed."""
    return cells_of([CASES[name] for name in names], RIVALS, budget)


def measure(cell: Cell) -> Outcome:
    """The outcome of a cell; a rival that fails does not end the benchmark."""
    return outcome_of(cell, CASES[cell.case], RIVALS[cell.rival])


def tables(outcomes: Mapping[Cell, Outcome]) -> list[Result]:
    """The tables of errors; failures leave gaps."""
    return tables_of(outcomes, list(RIVALS), _RATIOS, _ERRORS)
