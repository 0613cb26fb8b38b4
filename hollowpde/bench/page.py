"""The page of a benchmark: each table as a picture and as numbers, plotly.js included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib import resources
from itertools import cycle
from math import log10
from pathlib import Path
from types import MappingProxyType
from typing import Any

import plotly.graph_objects as go
import plotly.io
from plotly.offline import get_plotlyjs

from hollowpde.bench.tables import Cell, Result, Row, number, text
from hollowpde.bench.timing import Spread
from hollowpde.files import write_whole
from hollowpde.report import theme
from hollowpde.report.page import POLICY

# So far beyond the data, as a power of ten, an axis may reach.
_BEYOND = 0.15
_COLOURS = tuple(theme.COLOURS.values())


def write_page(
    path: Path,
    title: str,
    results: Sequence[Result],
    machine: Mapping[str, str],
    pictures: Mapping[str, go.Figure] = MappingProxyType({}),
) -> None:
    """Write the page, whole or not at all; it needs no network.

    Arguments:
        path: the file to write or replace.
        title: its heading.
        results: the tables.
        machine: what they depend on besides, by name.
        pictures: more of them, by title, after the tables.
    """
    style = resources.files("hollowpde.report").joinpath("page.css").read_text(encoding="utf-8")
    facts = "<br>\n".join(f"{escape(name)}: {escape(value)}" for name, value in machine.items())
    sections = "\n".join([*map(_section, results), *_more(pictures)])
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<link rel="icon" href="data:,">
<title>{escape(title)}</title>
<style>
{style}</style>
<script>{get_plotlyjs()}</script>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
<p class="caption">{facts}</p>
</header>
<main>
{sections}
</main>
</body>
</html>
"""
    write_whole(path, lambda file: file.write_text(page, encoding="utf-8", newline="\n"))


def _section(result: Result) -> str:
    """A table: its pictures, side by side if there are several, then its numbers."""
    table, pictures = result.table, _pictures(result)
    wide = "" if len(pictures) > 1 else " wide"
    panels = "\n".join(
        f'<section class="panel{wide}">{f"<h2>{escape(name)}</h2>" if name else ""}\n'
        f"{_html(picture, f'{table.name}-{i}')}</section>"
        for i, (name, picture) in enumerate(pictures.items())
    )
    notes = "\n".join(f'<p class="caption">{escape(note)}</p>' for note in table.notes)
    return f"""<div class="panels" id="{escape(table.name)}">
<section class="panel wide"><h2>{escape(table.title)}</h2>
{notes}
</section>
{panels}
<section class="panel wide">
{_numbers(result)}
</section>
</div>"""


def _more(pictures: Mapping[str, go.Figure]) -> Iterator[str]:
    """Pictures that belong to no table."""
    for i, (name, picture) in enumerate(pictures.items()):
        yield (
            f'<div class="panels"><section class="panel wide"><h2>{escape(name)}</h2>\n'
            f"{_html(picture, f'more-{i}')}</section></div>"
        )


def _pictures(result: Result) -> dict[str, go.Figure]:
    """One picture for each value of the keys other than the one along which lines are drawn."""
    keys, along = result.table.keys, result.table.along
    if not _drawn(result):
        return {}
    if result.table.against:
        return {
            f"{result.table.quantity} against {other}": _diagram(result, other)
            for other in result.table.against
        }
    if along not in keys:
        return {"": _bars(result, result.rows, [result.table.label(row) for row in result.rows])}
    parts: dict[str, list[Row]] = {}
    for row in result.rows:
        parts.setdefault(", ".join(str(row[key]) for key in keys if key != along), []).append(row)
    if result.table.bars:
        return {
            name: _bars(result, rows, [f"{along} = {row[along]}" for row in rows])
            for name, rows in parts.items()
        }
    return {name: _lines(result, rows) for name, rows in parts.items()}


def _lines(result: Result, rows: Sequence[Row]) -> go.Figure:
    """Every quantity over d, or what else the lines are along."""
    along = result.table.along
    traces = []
    looks = zip(cycle(_COLOURS), cycle(theme.SYMBOLS), strict=False)
    for name, (colour, symbol) in zip(_drawn(result), looks, strict=False):
        cells = [(row[along], row.get(name)) for row in rows if number(row.get(name)) is not None]
        traces.append(
            go.Scatter(
                name=escape(name),
                x=[d for d, _ in cells],
                y=[number(cell) for _, cell in cells],
                error_y=_spread([cell for _, cell in cells]),
                mode="lines+markers",
                line={"color": colour},
                marker={"symbol": symbol, "size": 8},
            )
        )
    places = sorted({place for row in rows if isinstance(place := row[along], int | float)})
    layout = _layout(result)
    layout["xaxis"] = {
        **layout["xaxis"],
        "title": {"text": along},
        "type": "log",
        "tickvals": places,
        "ticktext": [str(d) for d in places],
    }
    return go.Figure(traces, _ticked(layout, traces, "y"))


def _diagram(result: Result, other: str) -> go.Figure:
    """The quantity over another one, both logarithmic; a line for each value of a key."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in result.rows:
        x, y = number(row.get(other)), number(row.get(result.table.quantity))
        if x is not None and y is not None:
            lines.setdefault(str(row[result.table.lines]), []).append((x, y))
    traces = []
    for k, (name, points) in enumerate(lines.items()):
        turn = k // len(_COLOURS)
        look = {
            "line": {"color": _COLOURS[k % len(_COLOURS)], "dash": theme.DASHES[turn % 4]},
            "marker": {"symbol": theme.SYMBOLS[turn % 4], "size": 7},
        }
        x_of, y_of = ([point[axis] for point in points] for axis in (0, 1))
        traces.append(go.Scatter(name=escape(name), x=x_of, y=y_of, mode="lines+markers", **look))
    # As many lines as this need room of their own, and their names some below.
    plain = _layout(result)
    layout = plain | {
        "height": 480 + 22 * len(traces),
        "xaxis": plain["xaxis"] | {"title": {"text": escape(other)}, "type": "log"},
        "yaxis": plain["yaxis"] | {"type": "log"},
        "legend": {"orientation": "v", "x": 0, "y": -0.2, "yanchor": "top"},
    }
    return go.Figure(traces, _ticked(_ticked(layout, traces, "x"), traces, "y"))


def _bars(result: Result, rows: Sequence[Row], labels: Sequence[str]) -> go.Figure:
    """Every quantity in groups of bars."""
    traces = []
    for name, colour in zip(_drawn(result), cycle(_COLOURS), strict=False):
        cells = [row.get(name) for row in rows]
        traces.append(
            go.Bar(
                name=escape(name),
                x=list(labels),
                y=[number(cell) for cell in cells],
                error_y=_spread(cells),
                marker={"color": colour},
            )
        )
    layout = _ticked(_layout(result), traces, "y")
    return go.Figure(traces, {**layout, "barmode": "group", "bargap": 0.2})


def _drawn(result: Result) -> list[str]:
    """The quantities of the axis that were measured; others are in the numbers alone."""
    return [
        name
        for name in result.columns
        if name not in (*result.table.keys, *result.table.aside, "steps")
        and not name.endswith(" MB")
        and any(number(row.get(name)) is not None for row in result.rows)
    ]


def _spread(cells: Sequence[Cell]) -> dict[str, Any]:
    """Error bars to the quartiles."""
    spreads = [cell if isinstance(cell, Spread) else None for cell in cells]
    return {
        "type": "data",
        "symmetric": False,
        "array": [s.high - s.median if s else 0.0 for s in spreads],
        "arrayminus": [s.median - s.low if s else 0.0 for s in spreads],
        "thickness": 1,
        "width": 3,
    }


def _layout(result: Result) -> dict[str, Any]:
    plain = {
        "automargin": True,
        "gridcolor": theme.FAINT,
        "linecolor": theme.FRAME,
        "mirror": True,
        "showline": True,
        "ticks": "outside",
        "tickcolor": theme.FRAME,
        "zeroline": False,
    }
    y = plain | {"title": {"text": escape(result.table.quantity), "standoff": 8}}
    if result.table.log:
        y |= {"type": "log"}
    elif result.table.zero:
        y |= {"rangemode": "tozero"}
    return theme.layout(420) | {"xaxis": plain, "yaxis": y}


def _ticked(layout: dict[str, Any], traces: Sequence[Any], axis: str) -> dict[str, Any]:
    """The layout, with ticks that can be read if the axis is logarithmic."""
    plain = layout[f"{axis}axis"]
    shown = [value for trace in traces for value in trace[axis] if value]
    if plain.get("type") != "log" or not shown:
        return layout
    # Ticks beyond the ends of the axis, which are chosen by plotly, do not show.
    low, high = log10(min(shown)) - _BEYOND, log10(max(shown)) + _BEYOND
    ticks = theme.log_ticks(low, high) | {"exponentformat": "power", "minexponent": 4}
    return layout | {f"{axis}axis": plain | ticks}


def _html(picture: go.Figure, name: str) -> str:
    page: str = plotly.io.to_html(
        picture,
        config={"displaylogo": False, "responsive": True},
        include_plotlyjs=False,
        full_html=False,
        div_id=f"plot-{name}",
    )
    return page


def _numbers(result: Result) -> str:
    columns = result.columns
    head = "".join(f'<th scope="col" class="number">{escape(name)}</th>' for name in columns)
    body = "\n".join(
        "<tr>"
        + "".join(f'<td class="number">{escape(text(row.get(name)))}</td>' for name in columns)
        + "</tr>"
        for row in result.rows
    )
    return (
        f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )
