"""The pictures of a fitted SDE."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from hollowpde.data import Trajectories
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
    Role,
    Surface,
    Table,
)
from hollowpde.problem.sde.metrics import entries, truth_at
from hollowpde.residuals import fokker_planck

if TYPE_CHECKING:
    from hollowpde.problem.sde.fit import SDEFit
    from hollowpde.problem.sde.snapshot_fit import SnapshotFit

# More coordinates than this are not drawn one by one.
_SHOWN = 4
_FRAMES = 21
_GRID = 161


@torch.no_grad()
def panels(fit: SDEFit | SnapshotFit) -> list[Panel]:
    """Density over the data, drift and diffusion, residual, and re-simulated paths."""
    shown = range(min(fit.split.train.dim, _SHOWN))
    # Pictures are computed in double precision: single cannot tell large time stamps apart.
    out = density_panels(fit)
    if fit.split.train.dim == 2:
        out.append(_flow(fit))
    out += [chart for j in shown for chart in _coefficients(fit, j)]
    if fit.learned.parameters:
        out.append(_parameters(fit))
    out.append(_residual(fit))
    out += [_resimulated(fit, j) for j in shown]
    return out


@torch.no_grad()
def density_panels(fit: SDEFit | SnapshotFit) -> list[Panel]:
    """The density over the data."""
    data = fit.split.train
    out: list[Panel] = [_plane_density(fit)] if data.dim == 2 else []
    return out + [_density(fit, j) for j in range(min(data.dim, _SHOWN))]


def _density(fit: SDEFit | SnapshotFit, j: int) -> Film:
    """The marginal of one coordinate through time, over the histogram of the data."""
    data, name = fit.split.train.double(), fit.split.train.names[j]
    low, high = _range(data.x[:, j], 0.0)
    grid = np.linspace(low, high, _GRID)
    edges = np.linspace(low, high, 41)
    frames = []
    for t, rows in _instants(data):
        heights, _ = np.histogram(_np(data.x[rows, j]), edges, density=True)
        points = _column(grid, j, data)
        log_p = fit.learned.density.marginal_log_prob(t, points)[:, j]
        marks: list[Mark] = [
            Bars("observed", Role.DATA, edges, heights),
            Line("fitted density", Role.FIT, grid, _np(log_p.exp())),
        ]
        frames.append((_label(t, data), marks))
    return Film(
        f"Density of {name}",
        f"The fitted density p(t, {name}) over the histogram of the data fitted to. Move the "
        "slider through time.",
        Axes(name, "density", x_range=(low, high)),
        "t",
        frames,
    )


def _plane_density(fit: SDEFit | SnapshotFit) -> Film:
    """The joint density of two coordinates through time, under the data."""
    data = fit.split.train.double()
    (a, b), (c, d) = (_range(data.x[:, j], 0.0) for j in (0, 1))
    x, y = np.linspace(a, b, 81), np.linspace(c, d, 81)
    points = torch.as_tensor(np.stack(np.meshgrid(x, y), axis=-1), dtype=data.x.dtype)
    frames = []
    for t, rows in _instants(data):
        p = fit.learned.density.log_prob(t, points.reshape(-1, 2)).exp().reshape(81, 81)
        seen = _np(data.x[rows][:400])
        marks: list[Mark] = [
            Surface("fitted density", Role.FIT, x, y, _np(p)),
            Points("observed", Role.DATA, seen[:, 0], seen[:, 1]),
        ]
        frames.append((_label(t, data), marks))
    return Film(
        "Density",
        "The fitted density p(t, x) under some of the observations. Move the slider through time.",
        Axes(data.names[0], data.names[1], (a, b), (c, d)),
        "t",
        frames,
    )


def _flow(fit: SDEFit | SnapshotFit) -> Chart:
    """The drift of a two-dimensional process as arrows."""
    data = fit.split.train.double()
    (a, b), (c, d) = (_range(data.x[:, j], 0.005) for j in (0, 1))
    x, y = np.meshgrid(np.linspace(a, b, 15), np.linspace(c, d, 15))
    points = torch.as_tensor(np.stack([x.ravel(), y.ravel()], -1), dtype=data.x.dtype)
    drift = _np(fit.learned.sde.f(_middle(data), points))
    return Chart(
        "Drift",
        "The fitted drift at the middle of the observed times; arrows are scaled alike.",
        Axes(data.names[0], data.names[1], (a, b), (c, d)),
        [Arrows("fitted drift", Role.FIT, x.ravel(), y.ravel(), drift[:, 0], drift[:, 1])],
    )


def _coefficients(fit: SDEFit | SnapshotFit, j: int) -> list[Chart]:
    """Drift and squared diffusion of one coordinate: as functions at d = 1, else at points."""
    return [_coefficient(fit, j, k) for k in (0, 1)]


def _coefficient(fit: SDEFit | SnapshotFit, j: int, k: int) -> Chart:
    data, test = fit.split.train.double(), fit.split.test
    name, truth = data.names[j], fit.problem.truth
    what, symbol = (("Drift", "f"), ("Squared diffusion", "D = g²"))[k]
    field = (fit.learned.sde.drift, fit.learned.sde.diffusion)[k]
    low, high = _range(data.x[:, j], 0.001)
    axes = Axes(name, symbol, x_range=(low, high))
    if data.dim > 1:
        points = test.select(torch.linspace(0, len(test) - 1, min(len(test), 800)).long())
        at = _np(points.x[:, j])
        marks: list[Mark] = []
        if truth is not None:
            marks.append(Points("true", Role.TRUTH, at, _np(truth_at(truth, points)[k][:, j])))
        precise = points.double()
        fitted = _np(field(precise.t, precise.x)[:, j])
        marks.append(Points("fitted", Role.FIT, at, fitted))
        top = 1.1 * float(np.quantile(fitted, 0.995))
        if k == 1 and top > 0:
            # From zero: a diffusion that hardly varies should look it.
            axes = Axes(name, symbol, (low, high), (0.0, top))
        caption = f"{what} of {name} at held-out points; it may depend on the others too."
        return Chart(f"{what} of {name}", caption, axes, marks)

    grid = np.linspace(low, high, _GRID)
    t = _middle(data)
    points_x = _column(grid, j, data)
    lines: list[Line] = []
    if truth is not None:
        on_grid = Trajectories(
            torch.full((_GRID,), t, dtype=data.t.dtype),
            points_x.to(test.x.dtype),
            torch.arange(_GRID),
        )
        true = _np(truth_at(truth, on_grid)[k][:, 0])
        lines.append(Line("true", Role.TRUTH, grid, true))
    lines.append(Line("fitted", Role.FIT, grid, _np(field(t, points_x)[:, 0])))
    bands = []
    if fit.learned.ensemble is not None:
        ensemble = fit.learned.ensemble
        ends = (ensemble.drift, ensemble.diffusion)[k](t, points_x)
        lower, upper = (_np(end[:, 0]) for end in ends)
        bands.append(Band("90 % band", Role.FIT, grid, lower, upper))
    low_y = min(0.0, *(float(y.min()) for y in (*(u.y for u in lines), *(b.lower for b in bands))))
    high_y = max(
        0.0, *(float(y.max()) for y in (*(u.y for u in lines), *(b.upper for b in bands)))
    )
    heights, edges = np.histogram(_np(data.x[:, 0]), bins=60, range=(low, high))
    # The histogram stands on the bottom of the picture, a quarter of it high.
    support = heights / heights.max() * (high_y - low_y) / 4
    return Chart(
        what,
        "Bars show where the data lie (not to scale): trust the curve where they stand."
        + ("" if fit.problem.autonomous else f" At t = {_label(t, data)}."),
        Axes(name, symbol, (low, high)),
        [Bars("where the data lie", Role.DATA, edges, support, base=low_y), *bands, *lines],
    )


def _parameters(fit: SDEFit | SnapshotFit) -> Table:
    """The user's own parameters, and the noise of the observations where it was fitted."""
    learned = fit.learned
    intervals = {} if learned.ensemble is None else learned.ensemble.intervals()
    rows: list[list[str | float]] = []
    for name, value in learned.parameters.items():
        columns = [entries(name, numbers) for numbers in (value, *intervals.get(name, ()))]
        rows += [[row[0][0], *(number for _, number in row)] for row in zip(*columns, strict=True)]
    caption = "The fitted parameters" + (
        ", with 90 % intervals from the ensemble." if intervals else
        ". With uncertainty.members=16 they get 90 % intervals."
    )  # fmt: skip
    headings = ["parameter", "estimate", "from", "to"][: max(map(len, rows))]
    rows = [[*row, *[""] * (len(headings) - len(row))] for row in rows]
    return Table("Parameters", caption, headings, rows)


def _residual(fit: SDEFit | SnapshotFit) -> Chart:
    """What is left of the Fokker-Planck equation, over t and x (or t and the first coordinate)."""
    data, learned = fit.split.train.double(), fit.learned
    fields = [learned.density, learned.sde.drift, learned.sde.diffusion]
    name = data.names[0]
    low, high = _range(data.x[:, 0], 0.001)
    times = np.linspace(float(data.t.min()), float(data.t.max()), 61)
    caption = "Left side minus right side of the Fokker-Planck equation for log p, per unit of t"
    if data.dim == 1:
        grid = np.linspace(low, high, 81)
        t = torch.as_tensor(np.repeat(times, len(grid)), dtype=data.x.dtype)
        x = torch.as_tensor(np.tile(grid, len(times)), dtype=data.x.dtype).unsqueeze(-1)
        residual = fokker_planck()(fields, t, x).reshape(len(times), len(grid))
        log_p = learned.density.log_prob(t, x).reshape(len(times), len(grid))
        # Where next to nothing happens the equation is not tested by anything.
        seen = log_p > log_p.amax(1, keepdim=True) - 7
        z = _np(torch.where(seen, residual, torch.nan)).T
        # A few corners would take all the colours.
        limit = np.nanquantile(np.abs(z), 0.98)
        z = np.clip(z, -limit, limit)
        caption += (
            "; blank where the density is below a thousandth of its peak, and the strongest 2 % "
            "drawn alike."
        )
        axes = Axes("t", name)
        return Chart("Fokker-Planck residual", caption, axes, [
            Surface("residual", Role.RESIDUAL, times, grid, z, signed=True)
        ])  # fmt: skip
    test = fit.split.test.double()
    squared = _np(fokker_planck()(fields, test.t, test.x).square())
    bins = [_time_bins(test), np.linspace(low, high, 31)]
    at = (_np(test.t), _np(test.x[:, 0]))
    total, *_ = np.histogram2d(*at, bins=bins, weights=squared)
    count, *_ = np.histogram2d(*at, bins=bins)
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.sqrt(total / count).T
    t_centres, x_centres = ((edges[1:] + edges[:-1]) / 2 for edges in bins)
    return Chart(
        "Fokker-Planck residual",
        f"{caption}: root mean square at held-out points, by t and {name}.",
        Axes("t", name),
        [Surface("residual", Role.RESIDUAL, t_centres, x_centres, z)],
    )


def _resimulated(fit: SDEFit | SnapshotFit, j: int) -> Chart:
    """Quantiles through time: held-out paths, and paths of the fitted SDE from the same starts."""
    pairs = fit.resimulated
    levels = (0.05, 0.5, 0.95)
    windows = [pairs.window == k for k in range(len(pairs.times))]
    seen = np.array([np.quantile(_np(pairs.observed[w, j]), levels) for w in windows]).T
    made = np.array([np.quantile(_np(pairs.simulated[:, w, j]), levels) for w in windows]).T
    times = _np(pairs.times)
    name = fit.split.test.names[j]
    starts = "the same starts" if fit.split.test.paired else "samples of the first time"
    return Chart(
        f"Re-simulated paths of {name}" if fit.split.test.dim > 1 else "Re-simulated paths",
        "5 %, 50 % and 95 % quantiles of the held-out data (shaded), and of paths simulated from "
        f"the fitted equation from {starts} (lines).",
        Axes("t", name),
        [
            Band("held out, 5-95 %", Role.DATA, times, seen[0], seen[2]),
            Line("held out, median", Role.DATA, times, seen[1]),
            Line("fitted, median", Role.FIT, times, made[1]),
            Line("fitted, 5 % and 95 %", Role.FIT, times, made[0], dashed=True),
            Line("fitted, 5 % and 95 %", Role.FIT, times, made[2], dashed=True),
        ],
    )


def _instants(data: Trajectories) -> list[tuple[float, Tensor]]:
    """Times to show, and which rows of the data are seen at each."""
    times = data.t.unique()
    if len(times) <= 3 * _FRAMES:
        keep = torch.linspace(0, len(times) - 1, min(len(times), _FRAMES)).round().long()
        return [(float(t), data.t == t) for t in times[keep]]
    # Irregular times: windows that tile the interval, as far as anything is seen in them.
    edges = torch.linspace(float(times[0]), float(times[-1]), _FRAMES + 1, dtype=data.t.dtype)
    middle = (edges[1:] + edges[:-1]) / 2
    half = float(edges[1] - edges[0]) / 2
    windows = [(float(t), (data.t - t).abs() <= half) for t in middle]
    return [(t, rows) for t, rows in windows if rows.any()]


def _label(t: float, data: Trajectories) -> str:
    """A time with the digits that tell the frames apart."""
    step = float(data.t.max() - data.t.min()) / 100
    return f"{t:.{max(0, math.ceil(-math.log10(step)))}f}"


def _time_bins(data: Trajectories) -> Array:
    """Edges of intervals of time: one around each, if there are few."""
    times = _np(data.t.unique())
    if len(times) > 2 * _FRAMES:
        return np.linspace(times[0], times[-1], _FRAMES + 1)
    middle = (times[1:] + times[:-1]) / 2
    return np.array([2 * times[0] - middle[0], *middle, 2 * times[-1] - middle[-1]])


def _middle(data: Trajectories) -> float:
    return float(data.t.min() + data.t.max()) / 2


def _column(grid: Array, j: int, data: Trajectories) -> Tensor:
    """Points along coordinate j, the others at their means."""
    x = data.x.mean(0).repeat(len(grid), 1)
    x[:, j] = torch.as_tensor(grid, dtype=data.x.dtype)
    return x


def _range(values: Tensor, tail: float) -> tuple[float, float]:
    """An interval that holds all values but a share `tail` at each end, with a margin."""
    low, high = np.quantile(_np(values), (tail, 1 - tail))
    margin = 0.04 * (high - low)
    return float(low - margin), float(high + margin)


def _np(values: Tensor) -> Array:
    return values.detach().cpu().double().numpy()
