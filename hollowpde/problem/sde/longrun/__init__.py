"""What a fitted SDE is for: stationary density, exit times, forecasts."""

from hollowpde.problem.sde.longrun.density_forecast import (
    DensityForecast,
    PlaneDensityForecast,
    forecast_density,
)
from hollowpde.problem.sde.longrun.exit_time import (
    ExitTimes,
    SimulatedExit,
    mean_exit_time,
    simulate_exit_time,
)
from hollowpde.problem.sde.longrun.forecast import Forecast, forecast
from hollowpde.problem.sde.longrun.potential import effective_potential, rotational_share
from hollowpde.problem.sde.longrun.stationary import StationaryDensity, stationary_density

__all__ = [
    "DensityForecast",
    "ExitTimes",
    "Forecast",
    "PlaneDensityForecast",
    "SimulatedExit",
    "StationaryDensity",
    "effective_potential",
    "forecast",
    "forecast_density",
    "mean_exit_time",
    "rotational_share",
    "simulate_exit_time",
    "stationary_density",
]
