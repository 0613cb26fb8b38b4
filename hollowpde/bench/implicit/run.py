"""The benchmark of implicit solvers: work and precision, dimensions, safety, orders, gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from hollowpde.bench.implicit import (
    classics,
    figures,
    flow,
    gradients,
    orders,
    safety,
    scaling,
)
from hollowpde.bench.implicit.budget import Budget
from hollowpde.bench.implicit.figures import Figure
from hollowpde.bench.implicit.lab import Lab
from hollowpde.bench.implicit.solvers import all_solvers
from hollowpde.bench.machine import load, processor, versions
from hollowpde.bench.sde.run import asked, publish, voice
from hollowpde.bench.tables import Result

_TITLE = "Stiff systems by implicit solvers"

PARTS = {
    "classics": "errors against evaluations and time on stiff systems, every solver and peer",
    "scaling": "the relaxation network in 10 to 1000 dimensions and in batches; cells",
    "safety": "the sweep for silent wrong answers: systems, tolerances, precisions",
    "orders": "the order of each method at fixed steps",
    "gradients": "the error of gradients through a stiff solve",
    "flow": "a flow as it is trained: evaluations on the same weights, three seeds",
}


def run(only: Sequence[str], budget: Budget, out: Path | None) -> None:
    """Measure the parts, print the tables, and write them if a folder is given.

    Arguments:
        only: names of parts; all if empty.
        budget: how much to measure.
        out: the folder to write to.

    Raises:
        InputError: a part that is not there.
    """
    names = asked(only, PARTS)
    console, say = voice()
    torch.set_num_threads(1)
    facts = _facts(budget)
    solvers, lab = all_solvers(budget.compiled), Lab(budget, say)
    results: list[Result] = []
    found: list[Figure] = []
    if "classics" in names:
        results += classics.measure(lab, solvers)
    if "scaling" in names:
        networks = scaling.measure(lab)
        results += scaling.tables(networks)
        found += scaling.figures(networks)
    if "safety" in names:
        swept = safety.measure(lab, solvers)
        results += safety.tables(swept)
        found += safety.figures(swept)
    if "orders" in names:
        rows = orders.measure(budget.highest)
        results += orders.tables(rows)
        found += orders.figures(rows)
    if "gradients" in names:
        rows = gradients.measure(budget.sweep[::2], 4.0 if budget.largest > 10 else 1.0)
        results += gradients.tables(rows)
        found += gradients.figures(rows)
    if "flow" in names:
        watched = flow.measure(lab)
        results += flow.tables(watched)
        found += flow.figures(watched)
    if found:
        results.insert(0, figures.table(found))
    publish(results, [], "implicit", _TITLE, facts, console, out)


def _facts(budget: Budget) -> Mapping[str, str]:
    """What the results depend on besides, by name."""
    return {
        "threads": "1",
        "limit of a solve": f"{budget.seconds:g} s, {budget.evaluations} evaluations per sample",
        "versions": versions("torch", "scipy", "torchdiffeq", "torchode", "diffrax", "jax"),
        "processor": f"{processor()}, load {load():.2f} per core at the start",
    }
