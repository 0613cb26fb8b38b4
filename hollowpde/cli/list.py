"""`hollowpde list`: the problems that files declare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from hollowpde.errors import HollowPDEError, InputError
from hollowpde.problem import load_problems


def list_problems(
    path: Annotated[Path, typer.Argument(help="A problem file, or a folder of them.")] = Path(
        "problems"
    ),
) -> None:
    """List the problems in a file or folder; nothing is simulated."""
    if not path.exists():
        raise InputError(f"nothing at {str(path)!r}: name a problem file or a folder of them.")
    files = sorted(path.glob("*.py")) if path.is_dir() else [path]
    if not files:
        raise InputError(f"the folder {str(path)!r} holds no Python files.")
    table = Table(box=None, pad_edge=False)
    for column in ("problem", "kind", "data", "truth"):
        table.add_column(column, overflow="fold")
    failures = []
    for file in files:
        try:
            for name, problem in load_problems(file).items():
                shown = str(file) if name == file.stem else f"{file}:{name}"
                summary = problem.summary()
                table.add_row(shown, *(summary.get(k, "") for k in ("kind", "data", "truth")))
        except HollowPDEError as error:
            failures.append(str(error))
    Console().print(table)
    if failures:
        raise InputError("; ".join(failures))
