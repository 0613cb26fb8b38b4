"""The benchmark of PDE problems: time to an error, and time of a residual."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from hollowpde.bench.machine import load, processor, versions
from hollowpde.bench.pde import race, residuals
from hollowpde.bench.pde.budget import Budget
from hollowpde.bench.pde.cases import CASES
from hollowpde.bench.sde.run import asked, publish, voice
from hollowpde.bench.tables import Result

_TITLE = "Partial differential equations"

TIME, RESIDUALS = "time", "residuals"
PARTS = {
    TIME: "seconds to an error on Burgers, heat in 10 and Poisson in 5 dimensions, and DeepXDE's",
    RESIDUALS: "what a residual costs in 1, 10, 100 dimensions, against nested autograd",
}


def run(only: Sequence[str], budget: Budget, out: Path | None) -> None:
    """Measure the parts, print the tables, and write them if a folder is given.

    Arguments:
        only: `time`, `residuals`; both if empty.
        budget: how much to measure.
        out: the folder to write to.

    Raises:
        InputError: a part that is not there.
    """
    names = asked(only, PARTS)
    console, say = voice()
    torch.set_num_threads(budget.threads)
    facts = _facts(budget)
    results: list[Result] = []
    if TIME in names:
        results += race.tables([race.run(case, budget, say) for case in CASES.values()])
    if RESIDUALS in names:
        results += residuals.tables(residuals.measure(budget, console), budget)
    publish(results, [], "pde", _TITLE, facts, console, out)


def _facts(budget: Budget) -> Mapping[str, str]:
    """What the results depend on besides, by name."""
    return {
        "threads": str(budget.threads),
        "steps": "those of each side" if budget.steps is None else f"at most {budget.steps}",
        "versions": versions("torch", "deepxde"),
        "processor": f"{processor()}, load {load():.2f} per core at the start",
    }
