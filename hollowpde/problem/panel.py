"""Panels: plain data of the pictures of a run, made by the problems, drawn by the report.

Arrays are NumPy. A mark says what it stands for by its `Role`, and the report gives each role the
same colour on every panel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


class Role(Enum):
    """What a mark stands for."""

    DATA = "data"
    TRUTH = "truth"
    FIT = "fit"
    RESIDUAL = "residual"
    TRAIN = "training"
    VALIDATION = "validation"


@dataclass(frozen=True)
class Line:
    """A curve y(x); dashed where it is a guide rather than a result."""

    name: str
    role: Role
    x: Array
    y: Array
    dashed: bool = False


@dataclass(frozen=True)
class Band:
    """The region between two curves."""

    name: str
    role: Role
    x: Array
    lower: Array
    upper: Array


@dataclass(frozen=True)
class Points:
    """Separate points."""

    name: str
    role: Role
    x: Array
    y: Array


@dataclass(frozen=True)
class Bars:
    """A histogram: heights over the intervals between edges, standing on a base."""

    name: str
    role: Role
    edges: Array  # (n + 1,)
    heights: Array  # (n,)
    base: float = 0.0


@dataclass(frozen=True)
class Surface:
    """A function on a grid, z[j, i] at (x[i], y[j]), as a heat map."""

    name: str
    role: Role
    x: Array
    y: Array
    z: Array
    signed: bool = False  # colours centred on zero


@dataclass(frozen=True)
class Arrows:
    """A vector field: (u, v) at the points (x, y)."""

    name: str
    role: Role
    x: Array
    y: Array
    u: Array
    v: Array


Mark = Line | Band | Points | Bars | Surface | Arrows


@dataclass(frozen=True)
class Axes:
    """What the axes show; a range of None fits the marks."""

    x: str
    y: str
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    log_x: bool = False
    log_y: bool = False


@dataclass(frozen=True)
class Chart:
    """A still picture."""

    title: str
    caption: str  # one or two sentences: what is seen, and how to read it
    axes: Axes
    marks: Sequence[Mark]


@dataclass(frozen=True)
class Film:
    """A picture with a slider: every frame holds the same kinds of marks in the same order."""

    title: str
    caption: str
    axes: Axes
    slider: str  # what the slider moves through, such as "t"
    frames: Sequence[tuple[str, Sequence[Mark]]]  # the slider's label and the marks there


@dataclass(frozen=True)
class Table:
    """Rows of text and numbers."""

    title: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float | int]]


Panel = Chart | Film | Table
