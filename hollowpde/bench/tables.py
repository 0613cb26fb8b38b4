"""Tables of a benchmark: how they are made, shown and written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table as Shown

from hollowpde.bench.timing import Fixed, Ratio, Spread, interleaved
from hollowpde.files import write_whole

Cell = Spread | float | int | str | None
Row = Mapping[str, Cell]


@dataclass(frozen=True)
class Budget:
    """How much to measure.

    Arguments:
        repeats: at most so many of each comparison.
        seconds: for each comparison, of which three repeats are made in any case.
        steps: of each fit.
        largest: the largest d.
        threads: of one operation.
    """

    repeats: int = 101
    seconds: float = 10.0
    steps: int = 1000
    largest: int = 1024
    threads: int = 1

    def up_to(self, *dimensions: int) -> Iterator[int]:
        """Those of the dimensions that are to be measured."""
        return (d for d in dimensions if d <= self.largest)

    def time(self, alternatives: Iterable[Callable[[], object]]) -> list[list[float]]:
        """The times of alternatives, interleaved."""
        return interleaved(list(alternatives), self.repeats, self.seconds)


QUICK = Budget(repeats=3, seconds=1.0, steps=50, largest=32)


@dataclass(frozen=True)
class Heading:
    """What a table shows.

    Arguments:
        name: by which it is asked for.
        title: a heading.
        notes: what is measured, and how to read it.
        keys: the columns that say what a row is about.
        quantity: what the other columns are.
        log: whether the quantity is drawn on a logarithmic axis.
        bars: whether it is drawn as bars, side by side, instead of lines over d.
        aside: columns that are not drawn, since they are something else.
        along: the key over which lines are drawn.
        zero: whether an axis that is not logarithmic begins at 0.
        against: columns, over each of which the quantity is drawn in a picture of its own,
            instead of over a key.
        lines: the key whose values these lines are.
    """

    name: str
    title: str
    notes: Sequence[str]
    keys: Sequence[str]
    quantity: str
    log: bool = True
    bars: bool = False
    aside: Sequence[str] = ()
    along: str = "d"
    zero: bool = True
    against: Sequence[str] = ()
    lines: str = ""

    def label(self, row: Row) -> str:
        """What a row is about, such as `d = 8`."""
        return ", ".join(
            f"{key} = {row[key]}" if key == "d" else str(row[key]) for key in self.keys
        )


@dataclass(frozen=True, kw_only=True)
class Table(Heading):
    """A table whose rows are measured in this process, one by one.

    Arguments:
        rows: measures.
    """

    rows: Callable[[Budget], Iterator[Row]]


@dataclass(frozen=True)
class Result:
    """A table with its rows."""

    table: Heading
    rows: Sequence[Row]

    @property
    def columns(self) -> list[str]:
        """Keys first, then every quantity that some row has."""
        return list(
            dict.fromkeys([*self.table.keys, *(name for row in self.rows for name in row)])
        )


def measure(table: Table, budget: Budget, console: Console) -> Result:
    """The rows of a table; on a terminal it is shown where the work stands."""
    rows = []
    with console.status(f"{table.name} ...") as status:
        for row in table.rows(budget):
            rows.append(row)
            status.update(f"{table.name}: done with {table.label(row)} ...")
    return Result(table, rows)


def show(result: Result, console: Console) -> None:
    """Print a table."""
    shown = Shown(title=result.table.title, box=None)
    for column in result.columns:
        shown.add_column(column, justify="right", overflow="fold")
    for row in result.rows:
        shown.add_row(*(text(row.get(column)) for column in result.columns))
    console.print(shown)
    for note in result.table.notes:
        console.print(note, highlight=False, markup=False)
    console.print()


def write(
    out: Path, name: str, title: str, results: Sequence[Result], machine: Mapping[str, str]
) -> None:
    """Write all tables as Markdown, CSV and JSON, each file whole or not at all."""
    out.mkdir(parents=True, exist_ok=True)
    markdown = _markdown(title, results, machine)
    data = json.dumps(_json(results, machine), indent=1, allow_nan=False) + "\n"
    frame = pd.DataFrame(
        [cell for result in results for cell in _long(result)], columns=list(_LONG)
    )
    frame["repeats"] = frame["repeats"].astype("Int64")
    write_whole(out / f"{name}.md", lambda file: file.write_text(markdown, encoding="utf-8"))
    write_whole(out / f"{name}.json", lambda file: file.write_text(data, encoding="utf-8"))
    write_whole(out / f"{name}.csv", lambda file: frame.to_csv(file, index=False))


def number(cell: Cell) -> float | None:
    """The number that a cell stands for."""
    if isinstance(cell, Spread):
        return cell.median
    return float(cell) if isinstance(cell, int | float) else None


def text(cell: Cell) -> str:
    """What a cell shows; a dash is something that was not measured."""
    if isinstance(cell, int | str | Fixed):
        return str(cell)
    value = number(cell)
    if value is None:
        return "-"
    # Quartiles of times are for the files: they tell more of the machine than of what is timed.
    if isinstance(cell, Spread) and not isinstance(cell, Ratio) and cell.repeats > 1:
        return f"{_short(value)} [{_short(cell.low)}, {_short(cell.high)}]"
    return _short(value)


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _markdown(title: str, results: Sequence[Result], machine: Mapping[str, str]) -> str:
    lines = [f"# {title}", "", *(f"{name}: {value}  " for name, value in machine.items())]
    for result in results:
        columns = result.columns
        lines += [
            "",
            f"## {result.table.title}",
            "",
            *(f"{note}  " for note in result.table.notes),
        ]
        lines += ["", "| " + " | ".join(columns) + " |", "|" + "---:|" * len(columns)]
        for row in result.rows:
            lines.append("| " + " | ".join(text(row.get(column)) for column in columns) + " |")
    return "\n".join(lines) + "\n"


def _json(results: Sequence[Result], machine: Mapping[str, str]) -> object:
    return {
        "machine": dict(machine),
        "tables": {
            result.table.name: {
                "title": result.table.title,
                "notes": list(result.table.notes),
                "keys": list(result.table.keys),
                "rows": [
                    {
                        name: asdict(cell) if isinstance(cell, Spread) else cell
                        for name, cell in row.items()
                    }
                    for row in result.rows
                ],
            }
            for result in results
        },
    }


_LONG = ("table", "case", "quantity", "value", "low", "high", "repeats")


def _long(result: Result) -> Iterator[dict[str, Cell]]:
    """One line for each number."""
    for row in result.rows:
        for name, cell in row.items():
            if name in result.table.keys or number(cell) is None:
                continue
            spread = cell if isinstance(cell, Spread) else None
            yield {
                "table": result.table.name,
                "case": result.table.label(row),
                "quantity": name,
                "value": number(cell),
                "low": spread and spread.low,
                "high": spread and spread.high,
                "repeats": spread and spread.repeats,
            }
