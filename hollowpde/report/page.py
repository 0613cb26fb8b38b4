"""The report: one HTML page with everything in it, plotly.js included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from numbers import Integral, Real
from pathlib import Path
from types import MappingProxyType
from typing import TypeGuard, assert_never

import plotly.io
from plotly.offline import get_plotlyjs

from hollowpde.files import write_whole
from hollowpde.problem.panel import Arrows, Chart, Film, Mark, Panel, Role, Surface, Table
from hollowpde.report import theme
from hollowpde.report.checks import check
from hollowpde.report.figure import figure

Cell = str | float | int

NO_FACTS: Mapping[str, Mapping[str, Cell]] = MappingProxyType({})
NO_HEADLINES: Mapping[str, str] = MappingProxyType({})

# Groups of more facts than this span the page, in columns.
LONG = 20

# The browser itself keeps the page from the network, whatever plotly.js might ask for.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:"
)

# A film that is paused rejects its promise without a reason, which is no error of the page.
QUIET_PAUSE = """window.addEventListener("unhandledrejection", (event) => {
  if (event.reason === undefined) event.preventDefault();
});"""


def write_page(
    path: Path,
    title: str,
    subtitle: str,
    panels: Sequence[Panel],
    facts: Mapping[str, Mapping[str, Cell]] = NO_FACTS,
    headlines: Mapping[str, str] = NO_HEADLINES,
) -> None:
    """Write the report, whole or not at all.

    Arguments:
        path: the file to write or replace.
        title: the heading of the page.
        subtitle: a line below it.
        panels: the pictures and tables, in order.
        facts: named groups of names and values, shown at the end.
        headlines: the few figures to see first, by name.

    Raises:
        InputError: a panel cannot be drawn.
    """
    page = render_page(title, subtitle, panels, facts, headlines)
    write_whole(path, lambda file: file.write_text(page, encoding="utf-8", newline="\n"))


def render_page(
    title: str,
    subtitle: str,
    panels: Sequence[Panel],
    facts: Mapping[str, Mapping[str, Cell]] = NO_FACTS,
    headlines: Mapping[str, str] = NO_HEADLINES,
) -> str:
    """The report as HTML; the same arguments give the same text.

    Arguments:
        title: the heading of the page.
        subtitle: a line below it.
        panels: the pictures and tables, in order.
        facts: named groups of names and values, shown at the end.
        headlines: the few figures to see first, by name.

    Raises:
        InputError: a panel cannot be drawn.
    """
    for panel in panels:
        check(panel)
    style = resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    sections = "\n".join(_section(panel, number) for number, panel in enumerate(panels, start=1))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<link rel="icon" href="data:,">
<title>{escape(title)}</title>
<style>
{style}</style>
<script>{QUIET_PAUSE}</script>
<script>{get_plotlyjs()}</script>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
<p class="subtitle">{escape(subtitle)}</p>
{_headlines(headlines)}{_key(panels)}</header>
<main>
<div class="panels">
{sections}
</div>
{_facts(facts)}</main>
</body>
</html>
"""


def _headlines(headlines: Mapping[str, str]) -> str:
    if not headlines:
        return ""
    cards = "\n".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in headlines.items()
    )
    return f'<dl class="headlines">\n{cards}\n</dl>\n'


def _key(panels: Sequence[Panel]) -> str:
    """What each colour stands for, of those on the page."""
    used = {mark.role for panel in panels for mark in _first_marks(panel)}
    if not used:
        return ""
    items = "".join(
        f'<li><span style="background:{theme.COLOURS[role]}"></span>{role.value}</li>'
        for role in Role
        if role in used
    )
    return f'<ul class="key" aria-label="Colours">{items}</ul>\n'


def _section(panel: Panel, number: int) -> str:
    wide = " wide" if _is_wide(panel) else ""
    return f"""<section class="panel{wide}" id="panel-{number}">
<h2>{escape(panel.title)}</h2>
{_body(panel, number)}
<p class="caption">{escape(panel.caption)}</p>
</section>"""


def _body(panel: Panel, number: int) -> str:
    match panel:
        case Chart() | Film():
            plot: str = plotly.io.to_html(
                figure(panel),
                config={
                    "displaylogo": False,
                    "responsive": True,
                    "modeBarButtons": [["zoom2d", "pan2d", "resetScale2d", "toImage"]],
                },
                include_plotlyjs=False,
                full_html=False,
                auto_play=False,
                div_id=f"plot-{number}",
            )
            return plot
        case Table():
            return _table(panel.columns, panel.rows)
        case _:
            assert_never(panel)


def _is_wide(panel: Panel) -> bool:
    """Films of curves fill the width; maps keep near the shape of a square."""
    maps = (Surface, Arrows)
    return isinstance(panel, Film) and not any(isinstance(m, maps) for m in _first_marks(panel))


def _first_marks(panel: Panel) -> Sequence[Mark]:
    match panel:
        case Chart():
            return panel.marks
        case Film():
            return panel.frames[0][1]
        case Table():
            return ()
        case _:
            assert_never(panel)


def _facts(facts: Mapping[str, Mapping[str, Cell]]) -> str:
    if not facts:
        return ""
    groups = "\n".join(
        f'<section class="panel{" wide" if len(values) > LONG else ""}">'
        f"<h2>{escape(name)}</h2>\n{_pairs(values)}\n</section>"
        for name, values in facts.items()
    )
    return f'<div class="facts">\n{groups}\n</div>\n'


def _pairs(values: Mapping[str, Cell]) -> str:
    rows = "\n".join(
        f'<tr><th scope="row">{_breakable(name)}</th>{_cell(value)}</tr>'
        for name, value in values.items()
    )
    return f'<div class="scroll"><table>\n{rows}\n</table></div>'


def _breakable(name: str) -> str:
    """A name that may be broken where its parts meet, rather than anywhere."""
    return escape(name).replace(".", ".<wbr>").replace("_", "_<wbr>")


def _table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    head = "".join(
        f'<th scope="col" class="number">{escape(name)}</th>'
        if rows and all(_is_number(row[i]) for row in rows)
        else f'<th scope="col">{escape(name)}</th>'
        for i, name in enumerate(columns)
    )
    body = "\n".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _cell(value: Cell) -> str:
    if _is_number(value):
        return f'<td class="number">{_number(value)}</td>'
    return f"<td>{escape(str(value))}</td>"


def _is_number(value: Cell) -> TypeGuard[float | int]:
    return isinstance(value, Real) and not isinstance(value, bool)


def _number(value: float | int) -> str:
    if isinstance(value, Integral):
        return str(value)
    if 1e4 <= abs(value) < 1e7:
        return f"{value:.0f}"
    return f"{value:.4g}"
