"""`hollowpde simulate`: paths of the fitted equation, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
import typer

from hollowpde import runs
from hollowpde.data import simulate as simulate_sde
from hollowpde.data.readers import import_pyarrow
from hollowpde.errors import InputError
from hollowpde.files import write_whole
from hollowpde.training import RunDirectory


def simulate(
    run: Annotated[Path, typer.Argument(help="Run directory.", metavar="RUN")],
    out: Annotated[Path, typer.Option(help="File to write: .csv or .parquet.")] = Path(
        "paths.csv"
    ),
    paths: Annotated[int, typer.Option(help="How many paths.")] = 100,
    start: Annotated[float | None, typer.Option(help="First time [that of the data].")] = None,
    stop: Annotated[float | None, typer.Option(help="Last time [that of the data].")] = None,
    points: Annotated[int, typer.Option(help="Observations of each path.")] = 101,
    seed: Annotated[int, typer.Option(help="Of starts and noise.")] = 0,
    trust: Annotated[
        bool, typer.Option("--trust", help="Execute the run's problem.py even if not yours.")
    ] = False,
) -> None:
    """Simulate paths of a fitted SDE, started from the fitted density, into a file."""
    if out.exists():
        raise InputError(f"out: {str(out)!r} exists: choose another file.")
    if not out.resolve().parent.is_dir():
        raise InputError(f"out: the folder {str(out.parent)!r} does not exist.")
    if out.suffix not in (".csv", ".parquet"):
        raise InputError(f"out: {str(out)!r} must end in .csv or .parquet.")
    if out.suffix == ".parquet":
        import_pyarrow("pyarrow")
    if paths < 1:
        raise InputError(f"paths must be at least 1, but is {paths}.")
    fitted = runs.load(run, trust)
    low, high = fitted.density.interval
    start, stop = low if start is None else start, high if stop is None else stop
    if points < 2 or not stop > start:
        raise InputError(
            "points must be at least 2 and stop after start, but they are "
            f"{points}, {start:g} and {stop:g}."
        )
    generator = torch.Generator().manual_seed(seed)
    x0 = fitted.density.sample(start, paths, generator)
    data = simulate_sde(
        fitted.sde, x0, torch.linspace(start, stop, points, dtype=torch.float64), paths, seed
    )
    table = pd.DataFrame({"path": data.path.numpy(), "t": data.t.numpy()})
    for name, column in zip(names_of(run, data.names), data.x.T, strict=True):
        table[name] = column.numpy()
    if out.suffix == ".parquet":
        write_whole(out, lambda file: table.to_parquet(file, index=False))
    else:
        write_whole(out, lambda file: table.to_csv(file, index=False))
    typer.echo(f"{paths} paths at {points} times: {out}")


def names_of(run: Path, usual: Sequence[str]) -> Sequence[str]:
    """What the data of a run call their coordinates, where their declaration says it."""
    data = RunDirectory.open(run).read_json("settings.json")["problem"]["data"]
    given = (data.get("names") or data.get("state")) if isinstance(data, dict) else None
    if not given or len(given) != len(usual) or {"path", "t"} & set(given):
        return usual
    return list(given)
