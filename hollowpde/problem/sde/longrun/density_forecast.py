"""The Fokker-Planck equation of a one-dimensional SDE, solved forward in time on a grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from hollowpde.data.simulate import SDE
from hollowpde.errors import InputError
from hollowpde.problem.panel import Array
from hollowpde.problem.sde.longrun.line import (
    check_one_dimensional,
    coefficients,
    depends_on_time,
    grid,
)

# The share of the grid at each end, and of the mass that may come there.
_EDGE = 0.02
_AT_EDGE = 0.01


@dataclass(frozen=True, eq=False)
class DensityForecast:
    """Densities `(T, n)` on a grid x `(n,)` at times `(T,)`, each of sum times spacing one."""

    times: Array
    x: Array
    density: Array

    def quantiles(self, levels: Sequence[float] = (0.05, 0.25, 0.5, 0.75, 0.95)) -> Array:
        """Quantiles at each time, `(levels, T)`."""
        h = self.x[1] - self.x[0]
        # A point stands for the cell around it.
        edges = np.concatenate([self.x - h / 2, [self.x[-1] + h / 2]])
        below = np.concatenate(
            [np.zeros((len(self.times), 1)), self.density.cumsum(1) * h], axis=1
        )
        return np.array([np.interp(levels, row, edges) for row in below]).T


def forecast_density(
    sde: SDE,
    start: Callable[[Tensor], Tensor] | float,
    times: Sequence[float] | Array | Tensor,
    low: float,
    high: float,
    *,
    n: int = 401,
    walls: bool = False,
) -> DensityForecast:
    r"""The density of a one-dimensional SDE at later times, by its Fokker-Planck equation.

    $$ \partial_t p = -\partial_x (f p) + \tfrac12 \partial_{xx} (D p), \quad D = g^2 $$

    By finite volumes: the master equation of the random walk on the grid whose generator is that
    of the SDE to second order. No mass is lost and no density turns negative; the ends are
    reflecting walls. Time is integrated implicitly with error control, and the SDE may depend on
    it.

    Arguments:
        sde: in the torchsde protocol, such as `run.sde`.
        start: log p at the first time, a function of points `(n, 1)`, such as
            `lambda x: run.density.log_prob(t, x)`; or the state there, if it is known.
        times: increasing, `(T,)`; the first is that of the start.
        low, high: the interval of the grid, to hold nearly all of p throughout.
        n: grid points.
        walls: the ends are walls of the process: that p gathers there is no error.

    Raises:
        InputError: more than 1 % of the mass comes to an end of the grid; the SDE has more
            dimensions.

    Source:
        Chang and Cooper, A practical difference scheme for Fokker-Planck equations (1970).

    Example:
        >>> class OU(torchsde.SDEIto):
        ...     def f(self, t, y):
        ...         return -y
        ...     def g(self, t, y):
        ...         return torch.ones_like(y)
        >>> later = forecast_density(OU("diagonal"), 1.0, [0.0, 1.0], -4.0, 4.0)
        >>> round(float(later.quantiles([0.5])[0, 1]), 3)
        0.368
    """
    x = grid(low, high, n)
    at = np.asarray(times, dtype=float)
    if at.ndim != 1 or len(at) < 2 or not (np.diff(at) > 0).all():
        raise InputError(
            f"times must be an increasing sequence of at least 2, but are {at.ravel()[:4]}."
        )
    check_one_dimensional(sde, float(at[0]), x)
    flow = _flow(sde, x, float(at[0]))
    solution = solve_ivp(
        flow, (at[0], at[-1]), _masses(start, x), method="LSODA", t_eval=at,
        lband=1, uband=1, rtol=1e-6, atol=1e-9,
    )  # fmt: skip
    if not solution.success:
        raise InputError(f"the Fokker-Planck equation could not be solved: {solution.message}")
    mass = np.maximum(solution.y.T, 0)
    mass = mass / mass.sum(1, keepdims=True)
    if not walls:
        _check_edges(mass, low, high)
    return DensityForecast(at, x, mass / (x[1] - x[0]))


def _flow(sde: SDE, x: Array, start: float) -> Callable[[float, Array], Array]:
    """dm/dt of the masses m at the points: what comes from the neighbours, less what goes."""
    moving = depends_on_time(sde, x)
    fixed = None if moving else coefficients(sde, x, start).rates()

    def flow(t: float, mass: Array) -> Array:
        up, down = fixed or coefficients(sde, x, t).rates()
        # The net flux through each wall between neighbours, none through the two ends.
        flux = np.zeros(len(x) + 1)
        flux[1:-1] = up[:-1] * mass[:-1] - down[1:] * mass[1:]
        return -np.diff(flux)

    return flow


@torch.no_grad()
def _masses(start: Callable[[Tensor], Tensor] | float, x: Array) -> Array:
    """The mass at each point at the beginning."""
    if callable(start):
        log_p = start(torch.as_tensor(x[:, None])).double().numpy()
        if log_p.shape != x.shape or np.isnan(log_p).any() or not np.isfinite(log_p.max()):
            raise InputError(
                f"start must give log p of shape ({len(x)},), not NaN, for points ({len(x)}, 1), "
                f"but gives shape {log_p.shape}."
            )
        mass = np.exp(log_p - log_p.max())
        return np.asarray(mass / mass.sum())
    place = (float(start) - x[0]) / (x[1] - x[0])
    if not 0 <= place <= len(x) - 1:
        raise InputError(f"start must lie between low and high, but is {start}.")
    # Shared by two neighbours so that the mean is right.
    return np.maximum(0, 1 - np.abs(np.arange(len(x)) - place))


def _check_edges(mass: Array, low: float, high: float) -> None:
    width = max(1, round(_EDGE * mass.shape[1]))
    for name, end, part in (("low", low, mass[:, :width]), ("high", high, mass[:, -width:])):
        share = float(part.sum(1).max())
        if share > _AT_EDGE:
            raise InputError(
                f"{share:.1%} of the mass comes to {name} = {end:g}: give a wider interval, or "
                "walls=True if the process cannot go beyond."
            )
