"""The Fokker-Planck equation of an SDE of one or two dimensions, solved forward on a grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

import numpy as np
import torch
from scipy.integrate import solve_ivp
from scipy.sparse import csc_array
from torch import Tensor

from hollowpde.data.simulate import SDE
from hollowpde.errors import InputError
from hollowpde.problem.panel import Array
from hollowpde.problem.sde.longrun.line import (
    check_dimension,
    coefficients,
    depends_on_time,
    grid,
)
from hollowpde.problem.sde.longrun.plane import Plane

# Grid points along each axis, by the dimension.
_POINTS = (401, 101)
# The share of the grid at each end, and of the mass that may come there.
_EDGE = 0.02
_AT_EDGE = 0.01
# The mass that may be lost or gained, or lie below zero: more is no solution.
_ASTRAY = 1e-6

Start = Callable[[Tensor], Tensor] | float | Sequence[float] | Array | Tensor


@dataclass(frozen=True, eq=False)
class DensityForecast:
    """Densities on a grid at some times, and what the integration did to their total and sign.

    Arguments:
        times: `(T,)`.
        x: the grid, `(n,)`.
        density: never negative, `(T, n)`; sum times spacing is `mass`, but for that error.
        mass: the total at each time as integrated, `(T,)`: one, but for rounding.
        smallest: the least density at each time as integrated, `(T,)`: what was below zero, by
            the error of integration, is zero in `density`.
    """

    times: Array
    x: Array
    density: Array
    mass: Array
    smallest: Array

    def quantiles(self, levels: Sequence[float] = (0.05, 0.25, 0.5, 0.75, 0.95)) -> Array:
        """Quantiles at each time, `(levels, T)`."""
        h = self.x[1] - self.x[0]
        # A point stands for the cell around it.
        edges = np.concatenate([self.x - h / 2, [self.x[-1] + h / 2]])
        below = np.concatenate(
            [np.zeros((len(self.times), 1)), self.density.cumsum(1) * h], axis=1
        )
        return np.array([np.interp(levels, row, edges) for row in below]).T


@dataclass(frozen=True, eq=False)
class PlaneDensityForecast:
    """Densities of two coordinates on a grid at some times; `mass` is that of `DensityForecast`.

    Arguments:
        times: `(T,)`.
        x, y: the axes of the grid, `(nx,)` and `(ny,)`.
        density: never negative, `(T, nx, ny)`.
        mass: the total at each time as integrated, `(T,)`.
        smallest: the least density at each time as integrated, `(T,)`.
    """

    times: Array
    x: Array
    y: Array
    density: Array
    mass: Array
    smallest: Array

    def marginal(self, j: int) -> DensityForecast:
        """The density of coordinate j alone; its `smallest` is its own."""
        if j not in (0, 1):
            raise InputError(f"j must be 0 or 1, the coordinate, but is {j}.")
        kept, other = (self.x, self.y) if j == 0 else (self.y, self.x)
        density = self.density.sum(2 - j) * (other[1] - other[0])
        return DensityForecast(self.times, kept, density, self.mass, density.min(1))

    @property
    def mean(self) -> Array:
        """The mean at each time, `(T, 2)`."""
        return self._moments[0]

    @property
    def covariance(self) -> Array:
        """The covariance at each time, `(T, 2, 2)`."""
        return self._moments[1]

    @cached_property
    def _moments(self) -> tuple[Array, Array]:
        points = Plane(self.x, self.y).points
        middle = points.mean(0)
        weights = self.density.reshape(len(self.times), -1)
        weights = weights / weights.sum(1, keepdims=True)
        # About the middle of the grid, which may be far from zero.
        mean = weights @ (points - middle)
        square = np.einsum("tm,mi,mj->tij", weights, points - middle, points - middle)
        return mean + middle, square - mean[:, :, None] * mean[:, None, :]


@overload
def forecast_density(
    sde: SDE,
    start: Start,
    times: Sequence[float] | Array | Tensor,
    low: float,
    high: float,
    *,
    n: int | None = None,
    walls: bool = False,
) -> DensityForecast: ...


@overload
def forecast_density(
    sde: SDE,
    start: Start,
    times: Sequence[float] | Array | Tensor,
    low: Sequence[float] | Array | Tensor,
    high: Sequence[float] | Array | Tensor,
    *,
    n: int | Sequence[int] | None = None,
    walls: bool = False,
) -> PlaneDensityForecast: ...


def forecast_density(
    sde: SDE,
    start: Start,
    times: Sequence[float] | Array | Tensor,
    low: float | Sequence[float] | Array | Tensor,
    high: float | Sequence[float] | Array | Tensor,
    *,
    n: int | Sequence[int] | None = None,
    walls: bool = False,
) -> DensityForecast | PlaneDensityForecast:
    r"""The density of an SDE at later times, by its Fokker-Planck equation; 1-D or 2-D.

    $$ \partial_t p = -\sum_i \partial_i (f_i p) + \tfrac12 \sum_i \partial_{ii} (D_i p),
       \quad D = g^2 $$

    By finite volumes: the master equation of the random walk on the grid whose generator is that
    of the SDE to second order. No mass is lost and no density turns negative, which is checked
    and reported; the ends are reflecting walls. Time is integrated implicitly with error control,
    and the SDE may depend on it.

    Arguments:
        sde: in the torchsde protocol, such as `run.sde`.
        start: log p at the first time, a function of points `(m, d)` that returns `(m,)`, such as
            `lambda x: run.density.log_prob(t, x)`; or the state there, if it is known.
        times: increasing, `(T,)`; the first is that of the start.
        low, high: the ends of the grid, to hold nearly all of p throughout: numbers in one
            dimension, two numbers each in two.
        n: grid points, in two dimensions along each axis or two numbers; 401 or 101 by default.
        walls: the ends are walls of the process: that p gathers there is no error.

    Raises:
        InputError: more than 1 % of the mass comes to an end of the grid; the SDE has other
            dimensions than the grid, or the grid more than two; the integration fails.

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
        >>> plane = forecast_density(OU("diagonal"), [1.0, 0.0], [0.0, 1.0], [-3, -3], [4, 3])
        >>> plane.density.shape, bool(abs(plane.mass - 1).max() < 1e-9)
        ((2, 101, 101), True)
    """
    axes = _axes(low, high, n)
    at = np.asarray(times, dtype=float)
    if at.ndim != 1 or len(at) < 2 or not (np.diff(at) > 0).all():
        raise InputError(
            f"times must be an increasing sequence of at least 2, but are {at.ravel()[:4]}."
        )
    if len(axes) == 1:
        mass = _along_line(sde, start, at, axes[0])
    else:
        mass = _over_plane(sde, start, at, Plane(*axes))
    cell = float(np.prod([x[1] - x[0] for x in axes]))
    total, smallest = _checked(mass, axes)
    mass = np.maximum(mass, 0)
    if not walls:
        _check_edges(mass, axes)
    if len(axes) == 1:
        return DensityForecast(at, axes[0], mass / cell, total, smallest / cell)
    return PlaneDensityForecast(at, axes[0], axes[1], mass / cell, total, smallest / cell)


def _axes(
    low: float | Sequence[float] | Array | Tensor,
    high: float | Sequence[float] | Array | Tensor,
    n: int | Sequence[int] | None,
) -> list[Array]:
    """The axes of the grid, one or two."""
    ends = [np.asarray(end, dtype=float) for end in (low, high)]
    if any(end.ndim == 1 and len(end) > 2 for end in ends):
        raise InputError(
            f"low and high have {max(end.size for end in ends)} numbers, and the Fokker-Planck "
            "equation is solved on grids of one or two dimensions: in more, simulate by "
            "hp.forecast."
        )
    if ends[0].shape != ends[1].shape or ends[0].shape not in ((), (2,)):
        raise InputError(
            "low and high must be a number each in one dimension, and two numbers each in two, "
            f"but they are {low} and {high}."
        )
    d = max(1, ends[0].size)
    points = np.broadcast_to(_POINTS[d - 1], d) if n is None else np.asarray(n)
    if points.shape not in ((), (d,)) or points.dtype.kind not in "iu":
        raise InputError(f"n must be {'an integer' if d == 1 else 'one or two integers'}: {n}.")
    lows, highs = (end.reshape(-1) for end in ends)
    return [
        grid(float(a), float(b), int(k))
        for a, b, k in zip(lows, highs, np.broadcast_to(points, d), strict=True)
    ]


def _along_line(sde: SDE, start: Start, at: Array, x: Array) -> Array:
    """The masses at the points of a line, `(T, n)`."""
    check_dimension(
        sde, float(at[0]), x[:2, None],
        "in two, give low and high two numbers each; in more, simulate by hp.forecast.",
    )  # fmt: skip
    solution = solve_ivp(
        _flow(sde, x, float(at[0])), (at[0], at[-1]), _masses(start, [x]), method="LSODA",
        t_eval=at, lband=1, uband=1, rtol=1e-6, atol=1e-9,
    )  # fmt: skip
    return _solved(solution.success, solution.message, solution.y)


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


def _over_plane(sde: SDE, start: Start, at: Array, plane: Plane) -> Array:
    """The masses at the points of a plane, `(T, nx, ny)`."""
    first, points = float(at[0]), plane.points
    check_dimension(
        sde, first, points[[0, -1]],
        "in one, give low and high a number each; in more, simulate by hp.forecast.",
    )  # fmt: skip
    begin = _masses(start, [plane.x, plane.y])
    last = (first, plane.generator(sde, first))
    moving = depends_on_time(sde, points)

    def generator(t: float, mass: Array) -> csc_array:
        nonlocal last
        if moving and t != last[0]:
            last = (t, plane.generator(sde, t))
        return last[1]

    # Backward differentiation: two to three times as fast here as Radau, and unlike with a matrix
    # exponential the number of steps grows neither with the horizon nor with the grid.
    solution = solve_ivp(
        lambda t, mass: generator(t, mass) @ mass, (at[0], at[-1]), begin.ravel(), method="BDF",
        t_eval=at, jac=generator if moving else last[1], rtol=1e-6, atol=1e-7 / begin.size,
    )  # fmt: skip
    return _solved(solution.success, solution.message, solution.y).reshape(-1, *plane.shape)


def _solved(success: bool, message: str, y: Array) -> Array:
    if not success:
        raise InputError(f"the Fokker-Planck equation could not be solved: {message}")
    return y.T


@torch.no_grad()
def _masses(start: Start, axes: Sequence[Array]) -> Array:
    """The mass at each point at the beginning, `(n,)` or `(nx, ny)`."""
    d, shape = len(axes), tuple(len(x) for x in axes)
    if callable(start):
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, d)
        log_p = start(torch.as_tensor(points)).double().numpy()
        m = len(points)
        if log_p.shape != (m,) or np.isnan(log_p).any() or not np.isfinite(log_p.max()):
            raise InputError(
                f"start must give log p of shape ({m},), not NaN, for points ({m}, {d}), "
                f"but gives shape {log_p.shape}."
            )
        mass = np.exp(log_p - log_p.max()).reshape(shape)
        return np.asarray(mass / mass.sum())
    state = np.asarray(start, dtype=float).reshape(-1)
    if len(state) != d:
        raise InputError(f"start must be a state of {d} numbers or a function, but is {start}.")
    mass = np.ones(())
    for x, value in zip(axes, state, strict=True):
        place = (value - x[0]) / (x[1] - x[0])
        if not 0 <= place <= len(x) - 1:
            raise InputError(f"start must lie between low and high, but is {start}.")
        # Shared by two neighbours along each axis so that the mean is right.
        share = np.maximum(0, 1 - np.abs(np.arange(len(x)) - place))
        mass = np.multiply.outer(mass, share)
    return mass


def _checked(mass: Array, axes: Sequence[Array]) -> tuple[Array, Array]:
    """The total and the least of the masses at each time, if these are near one and zero."""
    rows = mass.reshape(len(mass), -1)
    total, smallest = rows.sum(1), rows.min(1)
    lost = float(np.abs(total - 1).max())
    below = float(-np.minimum(rows, 0).sum(1).min())
    points = " x ".join(str(len(x)) for x in axes)
    # Written so that NaN is refused too.
    if not (lost <= _ASTRAY and below <= _ASTRAY):
        raise InputError(
            f"the Fokker-Planck equation could not be solved on {points} points: "
            f"the total mass is off by {lost:.1e} and {below:.1e} of it lies below zero. "
            "Give another n or a narrower interval."
        )
    return total, smallest


def _check_edges(mass: Array, axes: Sequence[Array]) -> None:
    for j, x in enumerate(axes):
        along = mass if len(axes) == 1 else mass.sum(2 - j)
        width = max(1, round(_EDGE * len(x)))
        which = "" if len(axes) == 1 else f"[{j}]"
        for name, end, part in (
            ("low", x[0], along[:, :width]),
            ("high", x[-1], along[:, -width:]),
        ):
            share = float(part.sum(1).max())
            if share > _AT_EDGE:
                raise InputError(
                    f"{share:.1%} of the mass comes to {name}{which} = {end:g}: give a wider "
                    "interval, or walls=True if the process cannot go beyond."
                )
