"""`hollowpde report`: the page of a run, made anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hollowpde import runs


def report(
    run: Annotated[Path, typer.Argument(help="Run directory.", metavar="RUN")],
    trust: Annotated[
        bool, typer.Option("--trust", help="Execute the run's problem.py even if not yours.")
    ] = False,
) -> None:
    """Make report.html of a finished run anew."""
    typer.echo(f"page: {runs.make_report(run, trust)}")
