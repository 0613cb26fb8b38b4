"""Exact derivatives: what they cost, and what other ways to them cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from rich.console import Console

from hollowpde.bench.conditioners import CONDITIONERS
from hollowpde.bench.laplacian import LAPLACIAN
from hollowpde.bench.machine import keep_freed_memory, load, processor, versions
from hollowpde.bench.orders import FORWARD, MEMORY, TRAINING
from hollowpde.bench.page import write_page
from hollowpde.bench.price import FIT, PRICE
from hollowpde.bench.rivals import DIAGONAL, DIVERGENCE
from hollowpde.bench.single import SINGLE
from hollowpde.bench.tables import Budget, measure, show, write
from hollowpde.bench.work import WORK
from hollowpde.errors import InputError, nearest

TABLES = {
    table.name: table
    for table in (
        FORWARD,
        TRAINING,
        MEMORY,
        CONDITIONERS,
        DIAGONAL,
        DIVERGENCE,
        PRICE,
        FIT,
        LAPLACIAN,
        SINGLE,
        WORK,
    )
}

_TITLE = "What exact derivatives cost"

# Of the load that one core can carry: beside more than this, measurements are not to be trusted.
_QUIET = 0.5


def run(only: Iterable[str], budget: Budget, out: Path | None) -> None:
    """Measure the tables, print them, and write them if a folder is given.

    Arguments:
        only: names of tables; all of them if empty.
        budget: how much to measure.
        out: the folder to write to.

    Raises:
        InputError: a table that is not there.
    """
    names = list(dict.fromkeys(only)) or list(TABLES)
    for name in names:
        if name not in TABLES:
            raise InputError(f"unknown table {name!r}: {nearest(name, TABLES)}")
    console = Console()
    torch.set_num_threads(budget.threads)
    busy = load()
    machine = _machine(budget, busy)
    for name, value in machine.items():
        console.print(f"{name}: {value}", highlight=False, markup=False)
    if busy > _QUIET:
        console.print(
            f"The machine is busy, {busy:.2f} per core: do not trust what follows.",
            style="bold red",
        )
    keep_freed_memory()
    results = []
    for name in names:
        results.append(measure(TABLES[name], budget, console))
        show(results[-1], console)
    if out is None:
        return
    write(out, "operators", _TITLE, results, machine)
    write_page(out / "operators.html", _TITLE, results, machine)
    console.print(f"page: {out / 'operators.html'}", highlight=False, soft_wrap=True)


def _machine(budget: Budget, busy: float) -> Mapping[str, str]:
    return {
        "method": (
            "medians of the ratios within interleaved repeats, at most "
            f"{budget.repeats} and about {budget.seconds:g} s of them for each comparison; "
            "quartiles and milliseconds are in the JSON file"
        ),
        "threads": str(torch.get_num_threads()),
        "versions": versions("torch", "jet-for-pytorch"),
        "processor": f"{processor()}, load {busy:.2f} per core at the start",
        "memory": (
            "a block of 32 MB is allocated and freed first: from then on glibc keeps freed "
            "memory, instead of asking the system for it again at every step"
        ),
    }
