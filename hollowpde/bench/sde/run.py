"""The tables of the benchmark: errors by case and rival, medians and quartiles over seeds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import plotly.graph_objects as go
import torch
from rich.console import Console

from hollowpde.bench.machine import processor, versions
from hollowpde.bench.page import write_page
from hollowpde.bench.sde import coverage, dimensions
from hollowpde.bench.sde.cases import CASES
from hollowpde.bench.sde.cells import Budget as BaseBudget
from hollowpde.bench.sde.cells import (
    Cell,
    Finding,
    Kept,
    Outcome,
    Store,
    cells,
    fill,
    measure,
)
from hollowpde.bench.sde.coverage import Budget
from hollowpde.bench.sde.rivals import EULER, ORACLE, OURS, RIVALS
from hollowpde.bench.tables import Heading, Result, Row, show, write
from hollowpde.bench.timing import Spread
from hollowpde.errors import InputError, nearest

_TITLE = "Drift and diffusion from paths"

COVERAGE, DIMENSIONS = "coverage", "dimensions"
PARTS = {name: case.title for name, case in CASES.items()} | {
    COVERAGE: "how often 90 % bands of an ensemble hold the truth",
    DIMENSIONS: "what a step of training costs in 50 dimensions, by what it costs in 5",
}

QUICK = Budget(seeds=1, steps=50, paths=100, coverage=1)

_RATIOS = {f"{OURS} / {ORACLE}": (OURS, ORACLE), f"{EULER} / {OURS}": (EULER, OURS)}

_RIVALS = (
    "Ours: the problem file as it is; that of gbm says that x is positive, and no file says more. "
    "Euler-Maruyama: the same networks and steps with that likelihood. Plain MLP: two networks of "
    "64, 64 SiLU units for drift and log D, Euler-Maruyama likelihood, the same optimiser, its "
    "rate by held-out likelihood. Nadaraya-Watson: Gaussian kernel, the bandwidth of each "
    "coordinate by held-out increments, (f dt)^2 taken off D.",
    "Oracle: maximum likelihood over the parameters of the true equation, from a start away from "
    "them; transition densities in closed form (ou_process, gbm, cir, ou_2d), of a Markov chain "
    "on a fine grid (double_well), or Gaussian with the moments of the equation (van_der_pol, "
    "chain_10d).",
    "kramersmoyal: on one long path with as many observations, its bandwidth by held-out "
    "increments, judged at the last tenth of that path: compare it with care. A dash: no "
    "stationary distribution, more than one dimension, or not installed.",
)

_ERRORS = (
    "sqrt(mean |estimate - true|^2 / mean |true|^2) at the observations of held-out paths, the "
    "same for all: median [quartiles] over seeds of data, split and weights together.",
    "Every choice is made on validation paths; nobody sees the truth, except the oracle its form.",
    *_RIVALS,
)


def run(only: Sequence[str], budget: Budget, out: Path | None) -> None:
    """Measure the cases, print the tables, and write them if a folder is given.

    What is measured goes into `sde.jsonl` and `coverage.jsonl` of the folder at once. What is
    there already, measured with the same budget and problem settings, is not measured again.

    Arguments:
        only: names of cases, `coverage` or `dimensions`; all of them if empty.
        budget: how much to measure; of coverage over four times as many seeds.
        out: the folder to write to.

    Raises:
        InputError: a case that is not there.
    """
    names = asked(only, [*CASES, COVERAGE, DIMENSIONS])
    console, say = voice()
    torch.set_num_threads(1)
    results: list[Result] = []
    failed: list[str] = []
    wanted = list(cells([name for name in names if name in CASES], budget))
    if wanted:
        kept = Kept(None if out is None else out / "sde.jsonl")
        outcomes = fill(kept, wanted, measure, budget.jobs, say)
        results += tables(outcomes)
        failed += failures(outcomes)
    if COVERAGE in names:
        tried = list(coverage.wanted(budget))
        store = Store(None if out is None else out / "coverage.jsonl", coverage.Held)
        held = fill(store, tried, coverage.measure, budget.jobs, say)
        results.append(coverage.table(held))
        failed += failures(held)
    if DIMENSIONS in names:
        results.append(dimensions.table(budget))
    publish(results, failed, "sde", _TITLE, facts_of(budget, "kramersmoyal"), console, out)


def asked(only: Sequence[str], known: Collection[str]) -> list[str]:
    """The names that are asked for, each once; all that are known if there are none.

    Raises:
        InputError: a case that is not there.
    """
    names = list(dict.fromkeys(only)) or list(known)
    for name in names:
        if name not in known:
            raise InputError(f"unknown case {name!r}: {nearest(name, known)}")
    return names


def voice() -> tuple[Console, Callable[[str], None]]:
    """A console, and a way to say sentences on it as they are."""
    console = Console()

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    return console, say


def failures(outcomes: Mapping[Cell, Finding]) -> list[str]:
    """A sentence for each cell of which nothing came."""
    return [f"{cell}: {o.failure}" for cell, o in outcomes.items() if o.failure]


def publish(
    results: Sequence[Result],
    failed: Sequence[str],
    name: str,
    title: str,
    facts: Mapping[str, str],
    console: Console,
    out: Path | None,
    pictures: Mapping[str, go.Figure] = MappingProxyType({}),
) -> None:
    """Print the tables and what failed, and write them if a folder is given.

    Pictures, by title, go on the page after the tables.
    """
    for result in results:
        show(result, console)
    for failure in failed:
        console.print(f"failed: {failure}", highlight=False, markup=False, soft_wrap=True)
    if out is None:
        return
    facts = {**facts, **({"failed": "; ".join(failed)} if failed else {})}
    write(out, name, title, results, facts)
    page = out / f"{name}.html"
    write_page(page, title, results, facts, pictures)
    console.print(f"page: {page}", highlight=False, markup=False, soft_wrap=True)


def tables(outcomes: Mapping[Cell, Outcome]) -> list[Result]:
    """The tables of outcomes; failures leave gaps."""
    return tables_of(outcomes, list(RIVALS), _RATIOS, _ERRORS)


def tables_of(
    outcomes: Mapping[Cell, Outcome],
    rivals: Sequence[str],
    ratios: Mapping[str, tuple[str, str]],
    notes: Sequence[str],
) -> list[Result]:
    """The same for any rivals; ratios of the one to the other are taken seed by seed."""
    aside = tuple(ratios)
    drift = Heading("drift", "Error of the drift", notes, ("case",), "relative error", aside=aside)
    diffusion = Heading(
        "diffusion",
        "Error of the squared diffusion",
        ("As above, of D = g^2.",),
        ("case",),
        "relative error",
        aside=aside,
    )
    seconds = Heading(
        "seconds",
        "Seconds for one estimate",
        ("On one thread, with whatever else ran beside: a rough guide.",),
        ("case",),
        "seconds",
    )
    return [
        Result(drift, _rows(outcomes, rivals, lambda o: o.drift, ratios)),
        Result(diffusion, _rows(outcomes, rivals, lambda o: o.diffusion, ratios)),
        Result(seconds, _rows(outcomes, rivals, lambda o: o.seconds, {})),
    ]


def _rows(
    outcomes: Mapping[Cell, Outcome],
    rivals: Sequence[str],
    number: Callable[[Outcome], float],
    ratios: Mapping[str, tuple[str, str]],
) -> list[Row]:
    """One row for each case; ratios are taken seed by seed."""
    # values[case][rival][seed]
    values: dict[str, dict[str, dict[int, float]]] = {}
    for cell, outcome in outcomes.items():
        by_rival = values.setdefault(cell.case, {name: {} for name in rivals})
        if not outcome.failure:
            by_rival[cell.rival][cell.seed] = number(outcome)
    return [
        {
            "case": case,
            **{name: _spread(list(by_seed.values())) for name, by_seed in by_rival.items()},
            **{
                name: _spread(
                    [
                        value / by_rival[below][seed]
                        for seed, value in by_rival[above].items()
                        if seed in by_rival[below]
                    ]
                )
                for name, (above, below) in ratios.items()
            },
        }
        for case, by_rival in values.items()
    ]


def _spread(values: list[float]) -> Spread | None:
    return Spread.over(values) if values else None


def facts_of(budget: BaseBudget, *packages: str) -> Mapping[str, str]:
    """What the results depend on besides, by name."""
    return {
        "seeds": str(budget.seeds),
        "steps": "those of each rival" if budget.steps is None else str(budget.steps),
        "paths": "those of each problem" if budget.paths is None else f"at most {budget.paths}",
        "versions": versions("torch", "scipy", *packages),
        "processor": processor(),
    }
