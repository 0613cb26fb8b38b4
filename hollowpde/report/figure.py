"""The plotly figure of a chart or a film."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import plotly.graph_objects as go

from hollowpde.problem.panel import Chart, Film, Mark
from hollowpde.report import theme
from hollowpde.report.marks import Look, layer, plain, trace
from hollowpde.report.view import view_of

Props = Mapping[str, Any]

HEIGHT = 420
SLIDER_HEIGHT = 100
PLAY_MS = 4000  # about how long a film plays


def figure(panel: Chart | Film) -> go.Figure:
    """The figure of a panel that was checked.

    Arguments:
        panel: the chart or film.
    """
    frames = panel.frames if isinstance(panel, Film) else [("", panel.marks)]
    first = frames[0][1]
    order = sorted(range(len(first)), key=lambda i: layer(first[i]))
    looks = [_looks(first)[i] for i in order]
    marks = [[stack[i] for i in order] for _, stack in frames]
    view = view_of(panel.axes, list(chain.from_iterable(marks)))
    stills = [
        [
            trace(mark, look, view, panel.axes).to_plotly_json()
            for mark, look in zip(stack, looks, strict=True)
        ]
        for stack in marks
    ]
    layout = theme.layout(HEIGHT)
    layout["xaxis"] = theme.axis(plain(panel.axes.x), view.x, panel.axes.log_x)
    layout["yaxis"] = theme.axis(plain(panel.axes.y), view.y, panel.axes.log_y)
    if isinstance(panel, Chart):
        return go.Figure(stills[0], layout)
    name, labels = plain(panel.slider), [plain(label) for label, _ in frames]
    if len(labels) == 1:  # plotly hides a slider with nowhere to go, and its value with it
        layout["annotations"] = [_value(name, labels[0])]
        return go.Figure(stills[0], layout)
    layout["height"] += SLIDER_HEIGHT
    layout["sliders"] = [_slider(name, labels)]
    layout["updatemenus"] = [_player(len(labels))]
    return go.Figure(stills[0], layout, _changes(stills))


def _looks(marks: Sequence[Mark]) -> list[Look]:
    """Marks that share kind, role and name look the same and share an entry of the legend."""
    names: dict[tuple[type[Mark], str], list[str]] = {}
    looks = []
    for rank, mark in enumerate(marks):
        known = names.setdefault((type(mark), mark.role.value), [])
        leads = mark.name not in known
        if leads:
            known.append(mark.name)
        looks.append(Look(known.index(mark.name), leads, rank))
    return looks


def _changes(stills: Sequence[Sequence[Props]]) -> list[go.Frame]:
    """The frames, which hold only what changes over the film."""
    first = stills[0]
    moving = [
        [key for key in props if any(not _same(still[i].get(key), props[key]) for still in stills)]
        for i, props in enumerate(first)
    ]
    traces = [i for i, keys in enumerate(moving) if keys]
    return [
        go.Frame(
            name=str(number),
            data=[
                {"type": still[i]["type"]} | {k: still[i][k] for k in moving[i]} for i in traces
            ],
            traces=traces,
        )
        for number, still in enumerate(stills)
    ]


def _same(one: object, other: object) -> bool:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return np.array_equal(one, other, equal_nan=True)
    return bool(one == other)


def _slider(name: str, labels: Sequence[str]) -> dict[str, Any]:
    steps = [
        {"label": label, "method": "animate", "args": [[str(i)], _animation(0)]}
        for i, label in enumerate(labels)
    ]
    return {
        "active": 0,
        "steps": steps,
        "x": 0,
        "len": 1,
        "pad": {"t": 56, "b": 0, "l": 0, "r": 0},
        "currentvalue": {
            "prefix": f"{name} = ",
            "font": {"size": 15, "color": theme.TEXT},
            "offset": 12,
        },
        "font": {"size": 11},
        "bgcolor": theme.FAINT,
        "activebgcolor": theme.FRAME,
        "bordercolor": theme.FRAME,
        "tickcolor": theme.FRAME,
        "transition": {"duration": 0},
    }


def _value(name: str, label: str) -> dict[str, Any]:
    return {
        "text": f"{name} = {label}",
        "showarrow": False,
        "xref": "paper",
        "yref": "paper",
        "x": 1,
        "xanchor": "right",
        "y": 1.02,
        "yanchor": "bottom",
        "font": {"size": 15},
    }


def _player(count: int) -> dict[str, Any]:
    """The buttons beside the value of the slider."""
    pause = {"mode": "immediate", "frame": {"duration": 0, "redraw": False}}
    play = _animation(min(max(PLAY_MS // count, 80), 500)) | {"fromcurrent": True}
    return {
        "type": "buttons",
        "direction": "left",
        "showactive": False,
        "x": 1,
        "xanchor": "right",
        "y": 0,
        "yanchor": "top",
        "pad": {"t": 52, "b": 0, "l": 0, "r": 0},
        "bgcolor": "#FFFFFF",
        "bordercolor": theme.FRAME,
        "font": {"size": 12},
        "buttons": [
            {"label": "Play", "method": "animate", "args": [None, play]},
            {"label": "Pause", "method": "animate", "args": [[None], pause]},
        ],
    }


def _animation(duration: int) -> dict[str, Any]:
    # Bars and heat maps change only when they are drawn again.
    return {
        "mode": "immediate",
        "frame": {"duration": duration, "redraw": True},
        "transition": {"duration": 0},
    }
