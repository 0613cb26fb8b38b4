"""`hollowpde bench`: performance, measured side by side with the alternative."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

from hollowpde.bench import BENCHES
from hollowpde.errors import InputError, nearest


def bench(
    name: Annotated[str | None, typer.Argument(help="Which one; none lists them.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the table, as Markdown and CSV.", metavar="DIR")
    ] = None,
    repeats: Annotated[int, typer.Option(help="Timed repeats of each cell.", min=1)] = 51,
    threads: Annotated[int, typer.Option(help="Of one operation.", min=1)] = 1,
) -> None:
    """Measure performance: medians of ratios, alternatives interleaved in one process."""
    if name is None:
        for key, module in BENCHES.items():
            typer.echo(f"{key}: {(module.__doc__ or '').splitlines()[0]}")
        return
    if name not in BENCHES:
        raise InputError(f"unknown benchmark {name!r}: {nearest(name, BENCHES)}")
    torch.set_num_threads(threads)
    BENCHES[name].run(repeats, out)
