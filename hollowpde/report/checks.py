"""What a panel must hold to be drawn; anything else is an `InputError` that names the panel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

import numpy as np

from hollowpde.errors import InputError
from hollowpde.problem.panel import (
    Array,
    Arrows,
    Axes,
    Band,
    Bars,
    Chart,
    Film,
    Line,
    Mark,
    Panel,
    Points,
    Surface,
    Table,
)


def check(panel: Panel) -> None:
    """Raise an `InputError` if the panel cannot be drawn."""
    where = f"panel {panel.title!r}"
    match panel:
        case Chart():
            _check_axes(panel.axes, where)
            _check_marks(panel.marks, where)
        case Film():
            _check_axes(panel.axes, where)
            _check_frames(panel.frames, where)
        case Table():
            _check_rows(panel, where)
        case _:
            assert_never(panel)


def _check_axes(axes: Axes, where: str) -> None:
    for name, span, log in (
        ("x_range", axes.x_range, axes.log_x),
        ("y_range", axes.y_range, axes.log_y),
    ):
        if span is None:
            continue
        low, high = span
        if not (np.isfinite([low, high]).all() and low < high):
            raise InputError(f"{where}: {name} is {span}; expected finite ends, low < high.")
        if log and low <= 0:
            raise InputError(f"{where}: {name} is {span}; a logarithmic axis starts above 0.")


def _check_frames(frames: Sequence[tuple[str, Sequence[Mark]]], where: str) -> None:
    if not frames:
        raise InputError(f"{where} is a film without frames; expected at least one.")
    expected = [(type(mark), mark.role) for mark in frames[0][1]]
    for label, marks in frames:
        _check_marks(marks, f"{where}, frame {label!r}")
        if [(type(mark), mark.role) for mark in marks] != expected:
            raise InputError(
                f"{where}, frame {label!r}: the marks are {_kinds(marks)}; expected those of the "
                f"first frame, {_kinds(frames[0][1])}."
            )


def _check_marks(marks: Sequence[Mark], where: str) -> None:
    if not marks:
        raise InputError(f"{where} has no marks; expected at least one.")
    if sum(isinstance(mark, Surface) for mark in marks) > 1:
        raise InputError(f"{where} has several surfaces, and the last would hide the others.")
    for mark in marks:
        _check_mark(mark, f"{where}, {type(mark).__name__} {mark.name!r}")


def _check_mark(mark: Mark, where: str) -> None:
    match mark:
        case Line() | Points():
            _one_length({"x": mark.x, "y": mark.y}, where)
        case Band():
            _one_length({"x": mark.x, "lower": mark.lower, "upper": mark.upper}, where)
        case Arrows():
            _one_length({"x": mark.x, "y": mark.y, "u": mark.u, "v": mark.v}, where)
        case Bars():
            _bins(mark, where)
        case Surface():
            _grid(mark, where)
        case _:
            assert_never(mark)


def _one_length(arrays: dict[str, Array], where: str) -> None:
    _numeric(arrays, where)
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) > 1 or any(len(shape) != 1 for shape in shapes):
        raise InputError(f"{where}: {_shapes(arrays)}; expected 1-D arrays of one length.")


def _bins(mark: Bars, where: str) -> None:
    arrays = {"edges": mark.edges, "heights": mark.heights}
    _numeric(arrays, where)
    if mark.heights.ndim != 1 or mark.edges.shape != (mark.heights.size + 1,):
        raise InputError(f"{where}: {_shapes(arrays)}; expected n + 1 edges and n heights.")
    if not (np.diff(mark.edges) > 0).all():
        raise InputError(f"{where}: the edges do not increase.")


def _grid(mark: Surface, where: str) -> None:
    arrays = {"x": mark.x, "y": mark.y, "z": mark.z}
    _numeric(arrays, where)
    if mark.x.ndim != 1 or mark.y.ndim != 1 or mark.z.shape != (mark.y.size, mark.x.size):
        raise InputError(f"{where}: {_shapes(arrays)}; expected z of shape (len(y), len(x)).")


def _numeric(arrays: dict[str, Array], where: str) -> None:
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
            kind = getattr(array, "dtype", type(array).__name__)
            raise InputError(f"{where}: {name} is {kind}; expected a NumPy array of real numbers.")


def _check_rows(table: Table, where: str) -> None:
    for number, row in enumerate(table.rows, start=1):
        if len(row) != len(table.columns):
            raise InputError(
                f"{where}: row {number} has {len(row)} cells; expected {len(table.columns)}, "
                "one for each column."
            )


def _shapes(arrays: dict[str, Array]) -> str:
    return ", ".join(f"{name} has shape {array.shape}" for name, array in arrays.items())


def _kinds(marks: Sequence[Mark]) -> str:
    return ", ".join(f"{type(mark).__name__} ({mark.role.value})" for mark in marks) or "none"
