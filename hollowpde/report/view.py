"""What the frames of a panel share, so that the picture does not jump: ranges and scales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10, sqrt
from typing import assert_never

import numpy as np

from hollowpde.problem.panel import (
    Array,
    Arrows,
    Axes,
    Band,
    Bars,
    Line,
    Mark,
    Points,
    Surface,
)

Span = tuple[float, float]


@dataclass(frozen=True)
class View:
    """What all frames of a panel share.

    Arguments:
        x: ends of the x axis, as powers of ten where it is logarithmic.
        y: ends of the y axis, likewise.
        z: values at the ends of the colour scale.
        stretch: the length of an arrow, in axis units, for a vector of length one.
    """

    x: Span
    y: Span
    z: Span
    stretch: float


def view_of(axes: Axes, marks: Sequence[Mark]) -> View:
    """The view that holds all marks of all frames.

    Arguments:
        axes: its ranges go before those of the marks.
        marks: the marks of all frames.
    """
    reaches = [_reach(mark) for mark in marks]
    beside, above = _margins(marks)
    # Bars stand on the axis, and no margin parts them from it.
    stands = not axes.log_y and any(isinstance(mark, Bars) for mark in marks)
    below = 0.0 if stands else above
    x = _given(axes.x_range, axes.log_x)
    y = _given(axes.y_range, axes.log_y)
    x = x or _fit([reach_x for reach_x, _ in reaches], axes.log_x, beside, beside)
    y = y or _fit([reach_y for _, reach_y in reaches], axes.log_y, below, above)
    return View(x, y, _colours(marks), _stretch(marks, x, y))


def _reach(mark: Mark) -> tuple[Array, Array]:
    """The x and the y that must be in view."""
    match mark:
        case Line() | Points() | Arrows():
            return mark.x, mark.y
        case Band():
            return mark.x, np.concatenate([mark.lower, mark.upper])
        case Bars():
            return mark.edges, mark.base + np.append(mark.heights, 0.0)
        case Surface():
            return _cells(mark.x), _cells(mark.y)
        case _:
            assert_never(mark)


def _cells(centres: Array) -> Array:
    """The edges of the cells of a heat map, as plotly draws them."""
    if centres.size < 2:
        return centres
    middles = (centres[1:] + centres[:-1]) / 2
    first, last = centres[0], centres[-1]
    return np.concatenate([[2 * first - middles[0]], middles, [2 * last - middles[-1]]])


def _margins(marks: Sequence[Mark]) -> Span:
    """Shares of the span to leave free beside, and above and below the marks."""
    if any(isinstance(mark, Surface) for mark in marks):
        return 0.0, 0.0
    if any(isinstance(mark, Arrows) for mark in marks):
        half = _spacing(marks) / 2 + 0.02
        return half, half
    return 0.02, 0.05


def _given(span: Span | None, log: bool) -> Span | None:
    if span is None or not log:
        return span
    return log10(span[0]), log10(span[1])


def _fit(arrays: Sequence[Array], log: bool, below: float, above: float) -> Span:
    values = np.concatenate(arrays).astype(float)
    values = values[np.isfinite(values)]
    if log:
        values = np.log10(values[values > 0])
    if values.size == 0:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    if low == high:
        half = 0.5 if log or low == 0 else abs(low) / 2
        return low - half, high + half
    return low - below * (high - low), high + above * (high - low)


def _colours(marks: Sequence[Mark]) -> Span:
    surfaces = [mark for mark in marks if isinstance(mark, Surface)]
    values = np.concatenate([mark.z.ravel() for mark in surfaces]) if surfaces else np.empty(0)
    values = values[np.isfinite(values)]
    if values.size == 0:
        return 0.0, 1.0
    if any(mark.signed for mark in surfaces):
        most = float(np.abs(values).max()) or 1.0
        return -most, most
    low, high = float(values.min()), float(values.max())
    return (low, high) if low < high else (low, low + (abs(low) or 1.0))


def _stretch(marks: Sequence[Mark], x: Span, y: Span) -> float:
    """Makes arrows about as long as they are apart: the mean below, the longest above."""
    fields = [mark for mark in marks if isinstance(mark, Arrows)]
    if not fields:
        return 0.0
    lengths = np.concatenate(
        [np.hypot(m.u / (x[1] - x[0]), m.v / (y[1] - y[0])).astype(float) for m in fields]
    )
    lengths = lengths[np.isfinite(lengths)]
    if not lengths.any():
        return 0.0
    return _spacing(marks) * min(0.9 / float(lengths.mean()), 1.5 / float(lengths.max()))


def _spacing(marks: Sequence[Mark]) -> float:
    """The distance between neighbouring arrows, as a share of the sides of the panel."""
    most = max((mark.x.size for mark in marks if isinstance(mark, Arrows)), default=0)
    return 1 / sqrt(max(most, 4))
