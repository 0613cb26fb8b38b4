"""Timing by interleaved repeats: what is compared runs alternately, so that drift cancels."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from hollowpde.files import write_whole


def interleaved(alternatives: Sequence[Callable[[], object]], repeats: int) -> list[list[float]]:
    """Seconds of each alternative in each repeat; the order turns round at every repeat."""
    for alternative in alternatives:
        alternative()
    seconds: list[list[float]] = [[] for _ in alternatives]
    for repeat in range(repeats):
        order = range(len(alternatives))
        for k in order if repeat % 2 == 0 else reversed(order):
            start = time.perf_counter()
            alternatives[k]()
            seconds[k].append(time.perf_counter() - start)
    return seconds


def median_ratio(of: Sequence[float], to: Sequence[float]) -> float:
    """The median of the ratios within each repeat."""
    return statistics.median(a / b for a, b in zip(of, to, strict=True))


def write_table(
    title: str, notes: Sequence[str], rows: Sequence[Mapping[str, str | float]], name: str,
    out: Path | None,
) -> None:  # fmt: skip
    """Print a table, and write it as Markdown and CSV if a folder is given."""
    frame = pd.DataFrame(rows)
    table = Table(title=title, box=None)
    for column in frame.columns:
        table.add_column(str(column), justify="right")
    shown = [[_text(value) for value in row] for row in frame.itertuples(index=False)]
    for row in shown:
        table.add_row(*row)
    console = Console()
    console.print(table)
    for note in notes:
        console.print(note, highlight=False)
    if out is None:
        return
    out.mkdir(parents=True, exist_ok=True)
    lines = [f"# {title}", "", *(f"{note}  " for note in notes), ""]
    lines.append("| " + " | ".join(map(str, frame.columns)) + " |")
    lines.append("|" + "---:|" * len(frame.columns))
    lines += ["| " + " | ".join(row) + " |" for row in shown]
    text = "\n".join(lines) + "\n"
    write_whole(out / f"{name}.md", lambda file: file.write_text(text, encoding="utf-8"))
    write_whole(out / f"{name}.csv", lambda file: frame.to_csv(file, index=False))


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"
