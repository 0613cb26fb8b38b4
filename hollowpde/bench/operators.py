"""Exact derivatives: what they cost, and what other ways to them cost."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

import torch
from rich.console import Console

from hollowpde.bench.conditioners import CONDITIONERS
from hollowpde.bench.laplacian import LAPLACIAN
from hollowpde.bench.orders import FORWARD, MEMORY, TRAINING
from hollowpde.bench.page import write_page
from hollowpde.bench.price import FIT, PRICE
from hollowpde.bench.rivals import DIAGONAL, DIVERGENCE
from hollowpde.bench.single import SINGLE
from hollowpde.bench.tables import Budget, measure, show, write
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
    load = _load()
    machine = _machine(budget, load)
    for name, value in machine.items():
        console.print(f"{name}: {value}", highlight=False, markup=False)
    if load > _QUIET:
        console.print(
            f"The machine is busy, {load:.2f} per core: do not trust what follows.",
            style="bold red",
        )
    _keep_freed_memory()
    results = []
    for name in names:
        results.append(measure(TABLES[name], budget, console))
        show(results[-1], console)
    if out is None:
        return
    write(out, "operators", _TITLE, results, machine)
    write_page(out / "operators.html", _TITLE, results, machine)
    console.print(f"page: {out / 'operators.html'}", highlight=False, soft_wrap=True)


def _machine(budget: Budget, load: float) -> Mapping[str, str]:
    return {
        "method": (
            "medians of the ratios within interleaved repeats, at most "
            f"{budget.repeats} and about {budget.seconds:g} s of them for each comparison; "
            "quartiles and milliseconds are in the JSON file"
        ),
        "threads": str(torch.get_num_threads()),
        "versions": f"Python {platform.python_version()}, {_versions('torch', 'jet-for-pytorch')}",
        "processor": f"{_processor()}, load {load:.2f} per core at the start",
        "memory": (
            "a block of 32 MB is allocated and freed first: from then on glibc keeps freed "
            "memory, instead of asking the system for it again at every step"
        ),
    }


def _versions(*packages: str) -> str:
    """Of those that are installed."""
    installed = {package.name.lower(): package.version for package in metadata.distributions()}
    return ", ".join(f"{name} {installed[name]}" for name in packages if name in installed)


def _load() -> float:
    """How many processes wanted each core in the last minute; where that is unknown, none."""
    return os.getloadavg()[0] / (os.cpu_count() or 1) if hasattr(os, "getloadavg") else 0.0


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _keep_freed_memory() -> None:
    """Just below glibc's largest threshold for memory that it maps anew at each allocation.

    What is freed raises the threshold to its own size. Most programs get there by themselves.
    """
    torch.zeros(8 * 2**20 - 4096)
