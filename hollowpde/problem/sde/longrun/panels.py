"""The pictures of what a fitted SDE says about the long run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hollowpde.data.simulate import SDE
from hollowpde.errors import InputError
from hollowpde.problem.panel import (
    Array,
    Axes,
    Band,
    Bars,
    Chart,
    Film,
    Line,
    Mark,
    Role,
    Surface,
)
from hollowpde.problem.sde.longrun.density_forecast import DensityForecast, PlaneDensityForecast
from hollowpde.problem.sde.longrun.exit_time import mean_exit_time
from hollowpde.problem.sde.longrun.forecast import Forecast
from hollowpde.problem.sde.longrun.potential import effective_potential, rotational_share
from hollowpde.problem.sde.longrun.stationary import StationaryDensity, stationary_density

# Above this share of rotation a potential would say little.
_GRADIENT = 0.05
_POINTS = 200
_GRID = 41
_SHOWN = 401
_FRAMES = 21
_PLANE = 81
# How far a first density, which may be of a single state, may rise above all later ones.
_HIGHEST = 3.0


def stationary_charts(
    sde: SDE, name: str, low: float, high: float, late: Tensor | None = None
) -> list[Chart]:
    """Stationary density and effective potential of a 1-D SDE that does not depend on time.

    Arguments:
        sde: in the torchsde protocol.
        name: of the coordinate.
        low, high: the range of the data, which is widened a little.
        late: the last states of the paths, `(n, 1)`, drawn as a histogram.
    """
    margin = 0.1 * (high - low)
    ends = (low - margin, high + margin)
    try:
        p, note = stationary_density(sde, *ends), ""
    except InputError:
        try:
            p = stationary_density(sde, *ends, walls=True)
        except InputError:
            return []  # no noise somewhere, or no coefficients: no such density
        note = (
            " It is not normalisable within the picture, or reaches beyond it: drawn as if there "
            "were walls at both ends."
        )
    return [_density(p, name, ends, late, note), _potential(p, name, ends, note)]


def _density(
    p: StationaryDensity, name: str, ends: tuple[float, float], late: Tensor | None, note: str
) -> Chart:
    keep = _thin(len(p.x))
    marks: list[Mark] = []
    if late is not None:
        states = late[:, 0].double().numpy()
        heights, edges = np.histogram(states, 40, ends, density=True)
        marks.append(Bars("last states of the paths", Role.DATA, edges, heights))
    marks.append(Line("stationary density", Role.FIT, p.x[keep], p.density[keep]))
    return Chart(
        "Stationary density",
        "Where the fitted equation settles in the long run; the last states of the paths come to "
        f"it if these are long enough.{note}",
        Axes(name, "density", x_range=ends),
        marks,
    )


def _potential(p: StationaryDensity, name: str, ends: tuple[float, float], note: str) -> Chart:
    keep = _thin(len(p.x))
    potential = p.potential - p.potential.min()
    return Chart(
        "Effective potential",
        "-log of the stationary density, zero at its lowest point: barriers in units of the noise."
        f" Wells are where the process dwells.{note}",
        # Walls that nobody reaches would flatten everything else.
        Axes(name, "-log p", x_range=ends, y_range=(-0.5, float(min(potential.max() + 0.5, 12)))),
        [Line("effective potential", Role.FIT, p.x[keep], potential[keep])],
    )


def exit_time_chart(sde: SDE, name: str, low: float, high: float) -> Chart | None:
    """The mean time at which a 1-D SDE leaves an interval, over the start; None if it cannot."""
    try:
        exit_times = mean_exit_time(sde, low, high)
    except InputError:
        return None
    keep = _thin(len(exit_times.x))
    return Chart(
        "Mean exit time",
        f"The mean time until the fitted equation first leaves [{low:.4g}, {high:.4g}], over "
        "where it starts.",
        Axes(name, "mean time", x_range=(low, high)),
        [Line("mean exit time", Role.FIT, exit_times.x[keep], exit_times.time[keep])],
    )


def potential_chart(sde: SDE, x: Tensor, names: tuple[str, str]) -> Chart | None:
    """The effective potential of a 2-D SDE, if it has one: None otherwise.

    Arguments:
        sde: in the torchsde protocol, not depending on time.
        x: states that show where the process lives, `(n, 2)`.
        names: of the coordinates.
    """
    x = x.double()
    sample = x[:: 1 + len(x) // _POINTS]
    try:
        share = rotational_share(sde, sample)
    except InputError:
        return None
    if share > _GRADIENT:
        return None
    low, high = np.quantile(x.numpy(), (0.005, 0.995), axis=0)
    a, b = (np.linspace(low[j], high[j], _GRID) for j in (0, 1))
    points = torch.as_tensor(np.stack(np.meshgrid(a, b), axis=-1).reshape(-1, 2))
    potential = effective_potential(sde, points).numpy().reshape(_GRID, _GRID)
    return Chart(
        "Effective potential",
        f"-log of the stationary density, zero at its lowest point. {share:.1%} of the force is "
        "rotation, which no potential explains.",
        Axes(*names, (float(low[0]), float(high[0])), (float(low[1]), float(high[1]))),
        [Surface("-log p", Role.FIT, a, b, np.clip(potential - potential.min(), None, 12))],
    )


def forecast_charts(
    future: Forecast, names: tuple[str, ...], past: tuple[Array, Array] | None = None
) -> list[Chart]:
    """The fan of a forecast, one chart for each coordinate.

    Arguments:
        future: the forecast.
        names: of the coordinates.
        past: times `(T,)` and 5, 50, 95 % quantiles of the data `(3, T, d)`.
    """
    outer, inner, middle, upper_inner, upper_outer = future.quantiles()
    times = future.times.double().numpy()
    charts = []
    for j, name in enumerate(names):
        marks: list[Mark] = []
        if past is not None:
            at, (below, median, above) = past
            marks += [
                Band("observed, 5-95 %", Role.DATA, at, below[:, j], above[:, j]),
                Line("observed, median", Role.DATA, at, median[:, j]),
            ]
        marks += [
            Band("forecast, 5-95 %", Role.FIT, times, outer[:, j], upper_outer[:, j]),
            Band("forecast, 25-75 %", Role.FIT, times, inner[:, j], upper_inner[:, j]),
            Line("forecast, median", Role.FIT, times, middle[:, j]),
        ]
        charts.append(
            Chart(
                f"Forecast of {name}" if len(names) > 1 else "Forecast",
                "Quantiles of paths simulated from the fitted equation beyond the last observed "
                "time, from the last states. The bands hold the noise of the process, not the "
                "error of the fit.",
                Axes("t", name),
                marks,
            )
        )
    return charts


def density_forecast_film(
    forecast: DensityForecast | PlaneDensityForecast, names: Sequence[str]
) -> Film:
    """The density of a forecast through time.

    Arguments:
        forecast: what `forecast_density` returned.
        names: of the coordinates, one or two.
    """
    axes = [forecast.x] if isinstance(forecast, DensityForecast) else [forecast.x, forecast.y]
    if len(names) != len(axes):
        raise InputError(f"names must be {len(axes)}, of each coordinate one, but are {names}.")
    top = min(forecast.density.max(), _HIGHEST * forecast.density[1:].max())
    frames: list[tuple[str, list[Mark]]] = []
    for k in _thin(len(forecast.times), _FRAMES):
        p = np.minimum(forecast.density[k], top)
        mark: Mark
        if isinstance(forecast, DensityForecast):
            keep = _thin(len(forecast.x))
            mark = Line("density", Role.FIT, forecast.x[keep], p[keep])
        else:
            i, j = (_thin(len(x), _PLANE) for x in axes)
            mark = Surface("density", Role.FIT, forecast.x[i], forecast.y[j], p[np.ix_(i, j)].T)
        frames.append((f"{forecast.times[k]:.6g}", [mark]))
    caption = (
        "The density that the fitted equation foretells, by its Fokker-Planck equation. Move the "
        "slider through time."
    )
    if top < forecast.density.max():
        caption += " The first ones are cut off at the top."
    spans = [(float(x[0]), float(x[-1])) for x in axes]
    labels = (
        Axes(names[0], "density", spans[0])
        if len(axes) == 1
        else Axes(names[0], names[1], spans[0], spans[1])
    )
    return Film("Density forecast", caption, labels, "t", frames)


def _thin(n: int, most: int = _SHOWN) -> Array:
    """Indices of as many points as a picture can show."""
    return np.linspace(0, n - 1, min(n, most)).round().astype(int)
