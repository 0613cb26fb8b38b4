"""`hollowpde fit-csv`: fit an SDE to a table, without writing a problem file."""

from __future__ import annotations

import glob
import os
import re
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from hollowpde.cli.fit import fit
from hollowpde.data import Table
from hollowpde.errors import InputError
from hollowpde.problem import override

_PROBLEM = '''"""Data in a table, as `hollowpde fit-csv` declared them: edit, and fit anew."""

import hollowpde as hp

data = hp.{table!r}
hp.register(hp.SDEProblem(name={name!r}, data=data))
'''


def fit_csv(
    arguments: Annotated[
        list[str],
        typer.Argument(
            help="CSV or Parquet files, and settings to replace.",
            metavar="FILE... [KEY=VALUE]...",
        ),
    ],
    state: Annotated[
        str, typer.Option(help="Columns of the state, as x,y [all others with numbers].")
    ] = "",
    time: Annotated[str | None, typer.Option(help="Column of times [guessed].")] = None,
    id: Annotated[
        str | None,
        typer.Option(help="Column that tells paths apart; '' if there is none [guessed]."),
    ] = None,
    unpaired: Annotated[
        bool, typer.Option("--unpaired", help="Observations of a population, not of paths.")
    ] = False,
    sep: Annotated[str | None, typer.Option(help="Between columns [guessed].")] = None,
    decimal: Annotated[str, typer.Option(help="Decimal point.")] = ".",
    unit: Annotated[str, typer.Option(help="In which dates are measured.")] = "D",
    name: Annotated[str | None, typer.Option(help="Of the problem [of the file].")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run directory [results/NAME/DATE-TIME].", metavar="DIR")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of the split, the weights and the batches [0].")
    ] = None,
    device: Annotated[str, typer.Option(help="A torch device.")] = "cpu",
    dtype: Annotated[str | None, typer.Option(help="float32 or float64 [float32].")] = None,
    threads: Annotated[
        int, typer.Option(help="Of one operation; small networks gain nothing from more.", min=1)
    ] = 1,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the run in --out, or the newest."),
    ] = False,
) -> None:
    """Fit an SDE to a table in long form: a row for each observation."""
    files = [text for text in arguments if "=" not in text or Path(text).exists()]
    settings = [text for text in arguments if text not in files]
    if not files:
        raise InputError("no file: name a CSV or Parquet file.")
    table = Table(
        tuple(map(_absolute, files)) if len(files) > 1 else _absolute(files[0]),
        time=time,
        id=id,
        state=state,
        sep=None if sep is None else sep.replace("\\t", "\t"),
        decimal=decimal,
        unit=unit,
        paired=not unpaired,
    )
    of_data = [text for text in settings if text.strip().startswith("data.")]
    table = override(table, [text.strip().removeprefix("data.") for text in of_data]).named()
    text = _PROBLEM.format(table=table, name=problem_name(files) if name is None else name)
    # The run keeps a copy of its problem file, from which it is loaded later, as after `fit`.
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "problem.py"
        file.write_text(text, encoding="utf-8")
        rest = [setting for setting in settings if setting not in of_data]
        fit(str(file), rest, out, seed, device, dtype, threads, resume)


def problem_name(files: list[str]) -> str:
    """A name for a problem, from its file, or from the folder of several files.

    >>> problem_name(["lab/run 7.csv.gz"]), problem_name(["mice/*.csv"])
    ('run_7', 'mice')
    """
    first = Path(files[0])
    several = len(files) > 1 or (glob.has_magic(files[0]) and not first.exists())
    stem = first.absolute().parent.name if several else first.name.split(".")[0]
    return re.sub(r"[^\w-]+", "_", stem).strip("_-") or "table"


def _absolute(file: str) -> str:
    """A file or pattern that means the same from any folder."""
    if Path(file).exists() or not glob.has_magic(file):
        return os.path.abspath(file)
    return os.path.join(glob.escape(os.getcwd()), file)
