"""`hollowpde new`: a problem file to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hollowpde.errors import InputError, nearest
from hollowpde.files import write_whole
from hollowpde.problem.shipped import shipped_problems


def new(
    file: Annotated[Path, typer.Argument(help="The file to write.", metavar="FILE")],
    like: Annotated[str, typer.Option(help="The shipped problem to copy.")] = "ou_process",
) -> None:
    """Copy a shipped problem file to start from."""
    if file.suffix != ".py":
        raise InputError(f"{str(file)!r} must end in .py: a problem file is Python.")
    if file.exists():
        raise InputError(f"{str(file)!r} exists: choose another name.")
    if not file.resolve().parent.is_dir():
        raise InputError(f"the folder {str(file.parent)!r} does not exist.")
    shipped = shipped_problems()
    if like not in shipped:
        raise InputError(f"no shipped problem {like!r}: {nearest(like, shipped)}")
    text = shipped[like].read_text(encoding="utf-8")
    text = text.replace(f'name="{like}"', f'name="{file.stem}"')
    write_whole(file, lambda f: f.write_text(text, encoding="utf-8"))
    typer.echo(f"{file}: edit it, then run: python -m hollowpde fit {file}")
