"""`hollowpde bench`: performance, measured side by side with the alternative."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer

from hollowpde.bench import BENCHES
from hollowpde.bench.tables import QUICK, Budget
from hollowpde.errors import InputError, nearest


def bench(
    name: Annotated[str | None, typer.Argument(help="Which one; none lists them.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the tables, as JSON, Markdown, CSV and a page.", metavar="DIR"
        ),
    ] = None,
    only: Annotated[
        str, typer.Option(help="Some of the tables, such as forward,training.", metavar="TABLES")
    ] = "",
    quick: Annotated[bool, typer.Option("--quick", help="A few repeats, up to d = 32.")] = False,
    repeats: Annotated[
        int | None, typer.Option(help="At most so many of each comparison.", min=1)
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Of each fit.", min=10)] = None,
    threads: Annotated[int, typer.Option(help="Of one operation.", min=1)] = 1,
) -> None:
    """Measure performance: medians of ratios, alternatives interleaved in one process."""
    if name is None:
        for key, module in BENCHES.items():
            typer.echo(f"{key}: {(module.__doc__ or '').splitlines()[0]}")
            for table in module.TABLES.values():
                typer.echo(f"  {table.name}: {table.title}")
        return
    if name not in BENCHES:
        raise InputError(f"unknown benchmark {name!r}: {nearest(name, BENCHES)}")
    budget = QUICK if quick else Budget()
    budget = replace(budget, repeats=repeats or budget.repeats, steps=steps or budget.steps)
    torch.set_num_threads(threads)
    BENCHES[name].run([part.strip() for part in only.split(",") if part.strip()], budget, out)
