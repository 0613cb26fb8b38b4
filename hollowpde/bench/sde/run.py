"""The tables of the benchmark: errors by case and rival, medians and quartiles over seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from rich.console import Console

from hollowpde.bench.machine import processor, versions
from hollowpde.bench.page import write_page
from hollowpde.bench.sde.cases import CASES
from hollowpde.bench.sde.cells import Budget, Cell, Kept, Outcome, cells, measure_all
from hollowpde.bench.sde.rivals import EULER, ORACLE, OURS, RIVALS
from hollowpde.bench.tables import Heading, Result, Row, show, write
from hollowpde.bench.timing import Spread
from hollowpde.errors import InputError, nearest

_TITLE = "Drift and diffusion from paths"

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

    What is measured goes into `sde.jsonl` of the folder at once. What is there already, measured
    with the same budget and problem settings, is not measured again.

    Arguments:
        only: names of cases; all of them if empty.
        budget: how much to measure.
        out: the folder to write to.

    Raises:
        InputError: a case that is not there.
    """
    names = list(dict.fromkeys(only)) or list(CASES)
    for name in names:
        if name not in CASES:
            raise InputError(f"unknown case {name!r}: {nearest(name, CASES)}")
    console = Console()

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    torch.set_num_threads(1)
    wanted = list(cells(names, budget))
    kept = Kept(None if out is None else out / "sde.jsonl")
    old = sum(cell in kept.outcomes for cell in wanted)
    if old:
        say(f"{old} of {len(wanted)} results are in {kept.file}: delete it to measure them anew")
    measure_all(wanted, budget.jobs, kept, say)
    outcomes = {cell: kept.outcomes[cell] for cell in wanted}
    results = tables(outcomes)
    for result in results:
        show(result, console)
    failures = [f"{cell}: {o.failure}" for cell, o in outcomes.items() if o.failure]
    for failure in failures:
        say(f"failed: {failure}")
    if out is None:
        return
    facts = _facts(budget, failures)
    write(out, "sde", _TITLE, results, facts)
    write_page(out / "sde.html", _TITLE, results, facts)
    say(f"page: {out / 'sde.html'}")


def tables(outcomes: Mapping[Cell, Outcome]) -> list[Result]:
    """The tables of outcomes; failures leave gaps."""
    ratios = tuple(_RATIOS)
    drift = Heading(
        "drift", "Error of the drift", _ERRORS, ("case",), "relative error", aside=ratios
    )
    diffusion = Heading(
        "diffusion",
        "Error of the squared diffusion",
        ("As above, of D = g^2.",),
        ("case",),
        "relative error",
        aside=ratios,
    )
    seconds = Heading(
        "seconds",
        "Seconds for one estimate",
        ("On one thread, with whatever else ran beside: a rough guide.",),
        ("case",),
        "seconds",
    )
    return [
        Result(drift, _rows(outcomes, lambda o: o.drift, _RATIOS)),
        Result(diffusion, _rows(outcomes, lambda o: o.diffusion, _RATIOS)),
        Result(seconds, _rows(outcomes, lambda o: o.seconds, {})),
    ]


def _rows(
    outcomes: Mapping[Cell, Outcome],
    number: Callable[[Outcome], float],
    ratios: Mapping[str, tuple[str, str]],
) -> list[Row]:
    """One row for each case; ratios are taken seed by seed."""
    # values[case][rival][seed]
    values: dict[str, dict[str, dict[int, float]]] = {}
    for cell, outcome in outcomes.items():
        by_rival = values.setdefault(cell.case, {name: {} for name in RIVALS})
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


def _facts(budget: Budget, failures: Sequence[str]) -> Mapping[str, str]:
    facts = {
        "seeds": str(budget.seeds),
        "steps": "those of each rival" if budget.steps is None else str(budget.steps),
        "paths": "those of each problem" if budget.paths is None else f"at most {budget.paths}",
        "versions": versions("torch", "scipy", "kramersmoyal"),
        "processor": processor(),
    }
    return facts | ({"failed": "; ".join(failures)} if failures else {})
