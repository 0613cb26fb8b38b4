"""One plotly trace for each kind of mark."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from textwrap import wrap
from typing import Any, assert_never

import numpy as np
import plotly.graph_objects as go
from plotly.basedatatypes import BaseTraceType

from hollowpde.problem.panel import (
    Array,
    Arrows,
    Axes,
    Band,
    Bars,
    Line,
    Mark,
    Points,
    Role,
    Surface,
)
from hollowpde.report import theme
from hollowpde.report.view import View

MANY = 50  # points from which they are drawn small and seen through
PALE = 0.35  # the opacity of truths, which are drawn broad, to show under fits that meet them
HEAD = 360  # pixels of head for an arrow whose half spans the panel
HOVER = "%{x:.4g}, %{y:.4g}"


@dataclass(frozen=True)
class Look:
    """How a mark is told from others of its role on the same panel.

    Arguments:
        variant: the number of its name among the names of its role and kind.
        leads: whether it is the first of its name, and stands for it in the legend.
        rank: its place in the legend.
    """

    variant: int
    leads: bool
    rank: int


def plain(text: str) -> str:
    """Text for plotly, which would read some HTML in it."""
    return escape(text, quote=False)


def layer(mark: Mark) -> int:
    """Which marks lie on which: those of a higher layer are drawn later."""
    match mark:
        case Surface():
            return 0
        case Band() | Bars():
            return 1
        case Points():
            return 2
        case Line() if mark.dashed:
            return 5  # what lies under it shows through its gaps
        case Line() | Arrows():
            return 3 if mark.role is Role.TRUTH else 4
        case _:
            assert_never(mark)


def trace(mark: Mark, look: Look, view: View, axes: Axes) -> BaseTraceType:
    """The plotly trace of a mark.

    Arguments:
        mark: the mark; its arrays were checked.
        look: how it differs from the others of its role.
        view: what all frames share.
        axes: what the axes show.
    """
    match mark:
        case Line():
            return _line(mark, look)
        case Band():
            return _band(mark, look, 10 ** view.y[0] if axes.log_y else None)
        case Points():
            return _points(mark, look)
        case Bars():
            return _bars(mark, look)
        case Surface():
            return _surface(mark, view)
        case Arrows():
            return _arrows(mark, look, view)
        case _:
            assert_never(mark)


def _line(mark: Line, look: Look) -> go.Scatter:
    is_broad = mark.role is Role.TRUTH and not mark.dashed
    dash = "dash" if mark.dashed else theme.DASHES[look.variant % len(theme.DASHES)]
    return go.Scatter(
        **_common(mark, look),
        x=_compact(mark.x),
        y=_compact(mark.y),
        mode="lines",
        line={"color": theme.COLOURS[mark.role], "dash": dash, "width": 6 if is_broad else 2.25},
        opacity=PALE if is_broad else 1,
        hovertemplate=HOVER,
    )


def _band(mark: Band, look: Look, floor: float | None) -> go.Scatter:
    # On a logarithmic axis a band that reaches zero goes down to the foot of the axis.
    lower = mark.lower if floor is None else np.maximum(mark.lower, floor)
    upper = mark.upper if floor is None else np.maximum(mark.upper, floor)
    known = np.isfinite(mark.x) & np.isfinite(lower) & np.isfinite(upper)
    x, lower, upper = mark.x[known], lower[known], upper[known]
    return go.Scatter(
        **_common(mark, look),
        x=_compact(np.concatenate([x, x[::-1]])),
        y=_compact(np.concatenate([upper, lower[::-1]])),
        mode="lines",
        line={"width": 0, "color": theme.COLOURS[mark.role]},
        fill="toself",
        fillcolor=theme.translucent(mark.role, 0.22),
        hoverinfo="skip",
    )


def _points(mark: Points, look: Look) -> go.Scatter:
    many = mark.x.size > MANY
    return go.Scatter(
        **_common(mark, look),
        x=_compact(mark.x),
        y=_compact(mark.y),
        mode="markers",
        marker={
            "color": theme.COLOURS[mark.role],
            "symbol": theme.SYMBOLS[look.variant % len(theme.SYMBOLS)],
            "size": 5 if many else 7,
            "opacity": 0.7 if many else 0.95,
            "line": {"color": "#FFFFFF", "width": 0.5 if many else 1},
        },
        hovertemplate=HOVER,
    )


def _bars(mark: Bars, look: Look) -> go.Bar:
    return go.Bar(
        **_common(mark, look),
        x=_compact((mark.edges[1:] + mark.edges[:-1]) / 2),
        y=_compact(mark.heights),
        base=mark.base,
        width=_compact(np.diff(mark.edges)),
        marker={"color": theme.COLOURS[mark.role], "line": {"width": 0}},
        opacity=0.4,
        hovertemplate=HOVER,
    )


def _surface(mark: Surface, view: View) -> go.Heatmap:
    title = "<br>".join(map(plain, wrap(mark.name, 14)))  # a long line would squeeze the map
    return go.Heatmap(
        name=plain(mark.name),
        x=_compact(mark.x),
        y=_compact(mark.y),
        z=_compact(mark.z),
        zmin=view.z[0],
        zmax=view.z[1],
        colorscale=theme.DIVERGING if mark.signed else theme.sequential(mark.role),
        colorbar={
            "title": {"text": title, "side": "top", "font": {"size": 12}},
            "thickness": 12,
            "outlinewidth": 0,
            "exponentformat": "power",
        },
        hovertemplate=HOVER + ": %{z:.4g}",
    )


def _arrows(mark: Arrows, look: Look, view: View) -> go.Scatter:
    # Each arrow is a tail, a tip and a gap. Plotly turns the tip on the screen, so that heads keep
    # their shape whatever the axes measure.
    half_x, half_y = mark.u * view.stretch / 2, mark.v * view.stretch / 2
    length = np.hypot(half_x / (view.x[1] - view.x[0]), half_y / (view.y[1] - view.y[0]))
    moves = np.isfinite(length) & (length > 0)
    is_truth = mark.role is Role.TRUTH
    gap = np.full(mark.x.shape, np.nan)
    x = np.stack([mark.x - half_x, np.where(moves, mark.x + half_x, gap), gap], axis=1)
    y = np.stack([mark.y - half_y, np.where(moves, mark.y + half_y, gap), gap], axis=1)
    heads = np.where(moves, np.clip(HEAD * length, 4, 9), 4) * (1.6 if is_truth else 1)
    none = np.zeros(mark.x.shape)
    return go.Scatter(
        **_common(mark, look),
        x=_compact(x.ravel()),
        y=_compact(y.ravel()),
        mode="lines+markers",
        line={"color": theme.COLOURS[mark.role], "width": 4.5 if is_truth else 1.5},
        marker={
            "symbol": "arrow",
            "angleref": "previous",
            "color": theme.COLOURS[mark.role],
            "size": _compact(np.stack([none, heads, none], axis=1).ravel()),
            "line": {"width": 0},
            "opacity": 1,
        },
        opacity=PALE if is_truth else 1,
        hoverinfo="skip",
    )


def _common(mark: Mark, look: Look) -> dict[str, Any]:
    name = plain(mark.name)
    return {
        "name": name,
        "legendgroup": f"{type(mark).__name__} {mark.role.value} {name}",
        "showlegend": look.leads,
        "legendrank": look.rank,
    }


def _compact(array: Array) -> Array:
    """Single precision, which plotly writes at half the size, where a picture cannot tell."""
    exact = array.astype(np.float64)
    known = exact[np.isfinite(exact)]
    with np.errstate(over="ignore", under="ignore"):
        short = exact.astype(np.float32)
        error = np.abs(known.astype(np.float32) - known)
    if known.size == 0:
        return short
    # Near at every value, for logarithmic axes, and near for the span, for large offsets.
    span = float(known.max()) - float(known.min())
    near = (error <= 1e-6 * np.abs(known)).all() and (error.max() <= 1e-5 * span or span == 0)
    return short if near else exact
