"""Benchmarks: what each measures, of what parts it consists, and how it is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hollowpde.bench import cnf, implicit, operators, pde, sde, snapshots, tables, vae


@dataclass(frozen=True)
class Bench:
    """A benchmark, as the command line needs it.

    Arguments:
        title: what it measures.
        parts: those that can be asked for, with their titles.
        budget, quick: how much to measure, a frozen dataclass of its own; its fields are options.
        run: measures some parts (all, if none is named) and writes to a folder, if there is one.
    """

    title: str
    parts: Mapping[str, str]
    budget: Any
    quick: Any
    run: Callable[[Sequence[str], Any, Path | None], None]


BENCHES = {
    "operators": Bench(
        title="Exact derivatives: what they cost, and what other ways to them cost.",
        parts={name: table.title for name, table in operators.TABLES.items()},
        budget=tables.Budget(),
        quick=tables.QUICK,
        run=operators.run,
    ),
    "sde": Bench(
        title="Drift and diffusion from paths: how well they are found, and by whom.",
        parts=sde.PARTS,
        budget=sde.Budget(),
        quick=sde.QUICK,
        run=sde.run,
    ),
    "snapshots": Bench(
        title="Drift and diffusion from unpaired samples: how well they are found, and by whom.",
        parts=snapshots.PARTS,
        budget=snapshots.Budget(),
        quick=snapshots.QUICK,
        run=snapshots.run,
    ),
    "pde": Bench(
        title="PDE problems: how long they take to an error, and what their residuals cost.",
        parts=pde.PARTS,
        budget=pde.Budget(),
        quick=pde.QUICK,
        run=pde.run,
    ),
    "cnf": Bench(
        title="Continuous normalising flows: exact against estimated traces.",
        parts=cnf.PARTS,
        budget=cnf.Budget(),
        quick=cnf.QUICK,
        run=cnf.run,
    ),
    "vae": Bench(
        title="Autoencoders of binary images: flows as posteriors, on your files.",
        parts=vae.PARTS,
        budget=vae.Budget(),
        quick=vae.QUICK,
        run=vae.run,
    ),
    "implicit": Bench(
        title="Stiff systems: implicit solvers by work, precision and safety, beside their peers.",
        parts=implicit.PARTS,
        budget=implicit.Budget(),
        quick=implicit.QUICK,
        run=implicit.run,
    ),
}

__all__ = ["BENCHES", "Bench"]
