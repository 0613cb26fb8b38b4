"""`hollowpde show`: one problem with all its settings."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from hollowpde.problem import find_problem, flat, override, plain


def show(
    file: Annotated[
        str, typer.Argument(help="Problem file, or FILE:NAME.", metavar="FILE[:NAME]")
    ],
    settings: Annotated[
        list[str] | None, typer.Argument(help="Settings to replace.", metavar="[KEY=VALUE]...")
    ] = None,
) -> None:
    """Show a problem and its settings, spelled as `fit` takes them."""
    problem, _ = find_problem(file)
    problem = override(problem, settings or ())
    table = Table(box=None, pad_edge=False, show_header=False)
    for key, value in {**problem.summary(), **flat(plain(problem))}.items():
        table.add_row(key, value)
    Console().print(table, markup=False)
