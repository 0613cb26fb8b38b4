"""`hollowpde fit`: fit a problem and write a run directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

from hollowpde import runs
from hollowpde.errors import InputError, nearest
from hollowpde.problem import find_problem

_DTYPES = {"float32": torch.float32, "float64": torch.float64}


def fit(
    file: Annotated[
        str, typer.Argument(help="Problem file, or FILE:NAME.", metavar="FILE[:NAME]")
    ],
    settings: Annotated[
        list[str] | None, typer.Argument(help="Settings to replace.", metavar="[KEY=VALUE]...")
    ] = None,
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
    """Fit a problem and write a run directory with the weights, the figures and a page."""
    if dtype is not None and dtype not in _DTYPES:
        raise InputError(f"unknown dtype {dtype!r}: {nearest(dtype, _DTYPES)}")
    torch.set_num_threads(threads)
    problem, path = find_problem(file)
    runs.fit(
        problem,
        out,
        overrides=settings or (),
        seed=seed,
        device=device,
        dtype=None if dtype is None else _DTYPES[dtype],
        resume=resume,
        source=path,
    )
