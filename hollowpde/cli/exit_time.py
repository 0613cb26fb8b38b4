"""`hollowpde exit-time`: how long a fitted equation stays in an interval."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from hollowpde import runs
from hollowpde.problem.sde.longrun import mean_exit_time


def exit_time(
    run: Annotated[Path, typer.Argument(help="Run directory.", metavar="RUN")],
    low: Annotated[float, typer.Option(help="Lower end of the interval.")],
    high: Annotated[float, typer.Option(help="Upper end of the interval.")],
    points: Annotated[int, typer.Option(help="Starts to show.", min=1)] = 9,
    t: Annotated[
        float | None, typer.Option(help="Time at which an equation that depends on it is held.")
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Execute the run's problem.py even if not yours.")
    ] = False,
) -> None:
    """Mean time at which a fitted 1-D SDE leaves an interval, for starts within it."""
    times = mean_exit_time(runs.load(run, trust).sde, low, high, t=t)
    table = Table(box=None, pad_edge=False)
    table.add_column("start", justify="right")
    table.add_column("mean exit time", justify="right")
    for x in np.linspace(low, high, points + 2)[1:-1]:
        table.add_row(f"{x:.6g}", f"{float(times.at(x)):.6g}")
    Console().print(table)
