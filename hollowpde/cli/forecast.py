"""`hollowpde forecast`: quantiles of a fitted equation beyond its data, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import typer

from hollowpde import runs
from hollowpde.cli.simulate import names_of
from hollowpde.data.simulate import SDE
from hollowpde.errors import InputError
from hollowpde.files import write_whole
from hollowpde.problem.panel import Array
from hollowpde.problem.sde.longrun import (
    DensityForecast,
    Forecast,
    PlaneDensityForecast,
    forecast_density,
)
from hollowpde.problem.sde.longrun import forecast as simulated_forecast
from hollowpde.problem.sde.physical_density import PositiveDensity

_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
# The grid holds these quantiles of simulated states, and a share of their range on either side.
_RANGE = (0.001, 0.999)
_MARGIN = 0.25


def forecast(
    run: Annotated[Path, typer.Argument(help="Run directory.", metavar="RUN")],
    until: Annotated[
        float | None, typer.Option(help="Last time [half as long again as the data].")
    ] = None,
    out: Annotated[Path, typer.Option(help="File to write: .csv.")] = Path("forecast.csv"),
    points: Annotated[int, typer.Option(help="Times, the last of the data among them.")] = 26,
    paths: Annotated[int, typer.Option(help="How many to simulate.")] = 2000,
    step: Annotated[
        float | None, typer.Option(help="Step of the simulation [a tenth of that of the times].")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of starts and noise.")] = 0,
    trust: Annotated[
        bool, typer.Option("--trust", help="Execute the run's problem.py even if not yours.")
    ] = False,
) -> None:
    """Carry a fitted SDE on from the fitted density at the end of its data, into a file.

    In one and two dimensions by the Fokker-Planck equation, in more by simulation.
    """
    if out.exists():
        raise InputError(f"out: {str(out)!r} exists: choose another file.")
    if not out.resolve().parent.is_dir():
        raise InputError(f"out: the folder {str(out.parent)!r} does not exist.")
    if out.suffix != ".csv":
        raise InputError(f"out: {str(out)!r} must end in .csv.")
    if points < 2 or paths < 2:
        raise InputError(f"points and paths must be at least 2, but are {points} and {paths}.")
    fitted = runs.load(run, trust)
    first, last = fitted.density.interval
    until = last + (last - first) / 2 if until is None else until
    if not last < until < np.inf:
        raise InputError(f"until must be after {last:g}, the end of the data, but is {until:g}.")
    now = fitted.density.sample(last, paths, torch.Generator().manual_seed(seed))
    times = np.linspace(last, until, points)
    simulated = simulated_forecast(
        fitted.sde, now, torch.as_tensor(times), paths=paths, seed=seed, step=step
    )
    if now.shape[1] > 2:
        quantiles = simulated.quantiles(_LEVELS)
        typer.echo(f"{now.shape[1]} dimensions: {paths} paths simulated")
    else:
        density = _density(fitted, simulated)
        quantiles = _quantiles(fitted, density)
        typer.echo(
            f"Fokker-Planck equation on {' x '.join(map(str, density.density.shape[1:]))} points: "
            f"mass within {np.abs(density.mass - 1).max():.1e} of 1, smallest density "
            f"{density.smallest.min():.3g}"
        )
    names = names_of(run, [f"x{j + 1}" for j in range(now.shape[1])])
    table = _table(times, names, quantiles)
    write_whole(out, lambda file: table.to_csv(file, index=False))
    typer.echo(f"quantiles of {', '.join(names)} at {points} times: {out}")


def _density(fitted: runs.Run, simulated: Forecast) -> DensityForecast | PlaneDensityForecast:
    """By the Fokker-Planck equation; of the logarithms of coordinates that are positive."""
    sde: SDE = fitted.sde
    p, states = fitted.density, simulated.states.double()
    if isinstance(p, PositiveDensity) and fitted.sde.logarithms is not None:
        states = fitted.sde.logarithms.of(states)
        sde, p = fitted.sde.logarithms.sde, p.density
    times = simulated.times.numpy()
    low, high = np.quantile(states.numpy(), _RANGE, axis=1)
    low, high = low.min(0), high.max(0)
    low, high = low - _MARGIN * (high - low), high + _MARGIN * (high - low)
    if len(low) == 1:
        return forecast_density(
            sde, lambda x: p.log_prob(times[0], x), times, float(low[0]), float(high[0])
        )
    return forecast_density(sde, lambda x: p.log_prob(times[0], x), times, low, high)


def _quantiles(fitted: runs.Run, density: DensityForecast | PlaneDensityForecast) -> Array:
    """Of each coordinate in the user's units, `(levels, T, d)`."""
    if isinstance(density, DensityForecast):
        marginals = [density]
    else:
        marginals = [density.marginal(0), density.marginal(1)]
    quantiles = np.stack([p.quantiles(_LEVELS) for p in marginals], axis=-1)
    logarithms = fitted.sde.logarithms
    if logarithms is None:
        return quantiles
    return logarithms.undone(torch.as_tensor(quantiles)).numpy()


def _table(times: Array, names: Sequence[str], quantiles: Array) -> pd.DataFrame:
    """One row for each coordinate and time."""
    parts = []
    for j, name in enumerate(names):
        part = pd.DataFrame({"coordinate": name, "t": times})
        for level, values in zip(_LEVELS, quantiles[..., j], strict=True):
            part[f"q{round(100 * level):02d}"] = values
        parts.append(part)
    return pd.concat(parts, ignore_index=True)
