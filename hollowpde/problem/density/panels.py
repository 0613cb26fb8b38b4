"""The pictures of a fitted density."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from hollowpde.densities.cnf import BruteForceTrace, ExactTrace, HutchinsonTrace, Trace
from hollowpde.problem.panel import (
    Array,
    Axes,
    Bars,
    Chart,
    Film,
    Line,
    Mark,
    Panel,
    Points,
    Role,
    Surface,
    Table,
)

if TYPE_CHECKING:
    from hollowpde.problem.density.fit import DensityProblemFit

# More coordinates than these are not drawn one by one.
_SHOWN = 4
_POINTS = 1500
# Times along the flow, and nodes on each axis.
_FRAMES, _GRID = 9, 71
# Samples by which traces are compared, and the most dimensions for brute force.
_COMPARED, _BRUTE_FORCE = 500, 16


def panels(fit: DensityProblemFit) -> list[Panel]:
    """The density along the flow, samples beside data, and traces beside each other."""
    dim = fit.split.test.dim
    draws = fit.learned.density.sample(_POINTS, generator=torch.Generator().manual_seed(0))
    out: list[Panel] = []
    if dim == 1:
        out.append(_line(fit))
    elif dim == 2:
        out.append(_plane(fit))
    if dim >= 2:
        out.append(_scatter(fit, draws))
    if fit.problem.image is not None:
        out += _images(fit, draws, fit.problem.image)
    elif dim > 1:
        out += [_marginal(fit, draws, j) for j in range(min(dim, _SHOWN))]
    return out + _traces(fit)


def _instants() -> list[float]:
    return np.linspace(0, 1, _FRAMES).tolist()


def _line(fit: DensityProblemFit) -> Film:
    data = _np(fit.split.train.x[:, 0])
    low, high = _range(data)
    grid, edges = np.linspace(low, high, 301), np.linspace(low, high, 61)
    heights = np.histogram(data, edges, density=True)[0]
    points = torch.as_tensor(grid).unsqueeze(-1).to(fit.train)
    frames = []
    for t in _instants():
        p = _np(fit.learned.density.log_prob(t, points).exp())
        marks: list[Mark] = [
            Bars("data", Role.DATA, edges, heights),
            Line("fitted density", Role.FIT, grid, p),
        ]
        frames.append((f"{t:.3g}", marks))
    name = fit.split.train.names[0]
    return Film(
        "Density along the flow",
        "The flow carries a normal density, at t = 0, to that of the data, at t = 1; the "
        "histogram is of the training data.",
        Axes(name, "density", x_range=(low, high)),
        "t",
        frames[::-1],
    )


def _plane(fit: DensityProblemFit) -> Film:
    data = fit.split.test
    seen = _np(data.x[:_POINTS])
    (a, b), (c, d) = (_range(_np(fit.split.train.x[:, j])) for j in (0, 1))
    x, y = np.linspace(a, b, _GRID), np.linspace(c, d, _GRID)
    points = torch.as_tensor(np.stack(np.meshgrid(x, y), axis=-1)).to(fit.train)
    frames = []
    for t in _instants():
        p = _np(fit.learned.density.log_prob(t, points).exp())
        marks: list[Mark] = [
            Surface("fitted density", Role.FIT, x, y, p),
            Points("held out", Role.DATA, seen[:300, 0], seen[:300, 1]),
        ]
        frames.append((f"{t:.3g}", marks))
    return Film(
        "Density along the flow",
        "The fitted density at flow time t under some held-out data. At t = 0 it is normal, at "
        "t = 1 that of the data: the slider runs from there back.",
        Axes(data.names[0], data.names[1], (a, b), (c, d)),
        "t",
        frames[::-1],
    )


def _scatter(fit: DensityProblemFit, draws: Tensor) -> Chart:
    data = fit.split.test
    seen, drawn = _np(data.x[:_POINTS]), _np(draws)
    more = " (the first two coordinates)" if data.dim > 2 else ""
    return Chart(
        "Samples",
        f"Samples of the fitted density over as many held-out data{more}.",
        Axes(data.names[0], data.names[1]),
        [
            Points("held out", Role.DATA, seen[:, 0], seen[:, 1]),
            Points("samples", Role.FIT, drawn[:, 0], drawn[:, 1]),
        ],
    )


def _marginal(fit: DensityProblemFit, draws: Tensor, j: int) -> Chart:
    data, drawn = _np(fit.split.train.x[:, j]), _np(draws[:, j])
    edges = np.linspace(*_range(data), 41)
    middle = (edges[1:] + edges[:-1]) / 2
    name = fit.split.train.names[j]
    return Chart(
        f"Marginal of {name}",
        "The histogram of the training data, and that of samples of the fitted density as a line.",
        Axes(name, "density"),
        [
            Bars("data", Role.DATA, edges, np.histogram(data, edges, density=True)[0]),
            Line("samples", Role.FIT, middle, np.histogram(drawn, edges, density=True)[0]),
        ],
    )


def _images(fit: DensityProblemFit, draws: Tensor, shape: tuple[int, int]) -> list[Chart]:
    """Samples and data as images, 5 x 10 of each."""
    charts = []
    for title, role, x in (
        ("Samples", Role.FIT, draws),
        ("Held-out data", Role.DATA, fit.split.test.x),
    ):
        rows, columns = min(5, len(x) // 10), 10
        height, width = shape
        tiles = _np(x[: rows * columns]).reshape(rows, columns, height, width)
        # A Surface has its origin below: the first row of an image is its top.
        whole = tiles.transpose(0, 2, 1, 3).reshape(rows * height, columns * width)[::-1].copy()
        charts.append(
            Chart(
                f"{title} as images",
                f"{rows * columns} of them, each {height} by {width}.",
                Axes("", ""),
                [
                    Surface(
                        title.lower(),
                        role,
                        np.arange(columns * width, dtype=float),
                        np.arange(rows * height, dtype=float),
                        whole,
                    )
                ],
            )
        )
    return charts


def _traces(fit: DensityProblemFit) -> list[Panel]:
    """The same weights by an exact trace and by estimated ones."""
    traces: dict[str, Trace] = {
        "exact": ExactTrace(),
        "one probe": HutchinsonTrace(),
        "ten probes": HutchinsonTrace(probes=10),
    }
    if fit.split.test.dim <= _BRUTE_FORCE:
        traces["brute force"] = BruteForceTrace()
    x = fit.test[:_COMPARED]
    rows: list[list[str | float]] = []
    found: dict[str, Array] = {}
    for name, trace in traces.items():
        flow = fit.model.flow.using(trace=trace)
        begin = time.perf_counter()
        solved = fit.densities(flow, x)
        seconds = time.perf_counter() - begin
        found[name] = _np(solved.log_prob)
        gap = found[name] - found["exact"]
        rows.append(
            [name, -float(found[name].mean()), float(gap.std()), solved.nfe, round(seconds, 3)]
        )
    both = np.concatenate([found["exact"], found["one probe"]])
    span = np.array([both.min(), both.max()])
    return [
        Chart(
            "Exact and stochastic log-density",
            "log p of held-out samples, by the exact trace and by one random probe: what is off "
            "the diagonal is the noise of the estimate, with the same weights.",
            Axes("exact", "one probe"),
            [
                Points("samples", Role.FIT, found["exact"], found["one probe"]),
                Line("equal", Role.TRUTH, span, span, dashed=True),
            ],
        ),
        Table(
            "Traces",
            f"{len(x)} held-out samples, by the same weights; the error is the standard deviation "
            "of log p from the exact one.",
            ["trace", "NLL", "error of log p", "evaluations", "seconds"],
            rows,
        ),
    ]


def _range(values: Array) -> tuple[float, float]:
    """An interval that holds nearly all values, with a margin."""
    low, high = (float(v) for v in np.quantile(values, [0.001, 0.999]))
    margin = 0.1 * (high - low)
    return low - margin, high + margin


def _np(values: Tensor) -> Array:
    return values.detach().cpu().double().numpy()
