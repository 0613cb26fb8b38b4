"""Mean exit times: solved in one dimension, simulated in any."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hollowpde.data.simulate import SDE, Logarithms, check_sde
from hollowpde.errors import InputError
from hollowpde.problem.panel import Array
from hollowpde.problem.sde.longrun.line import on_line


class ExitTimes(NamedTuple):
    """Mean exit times T at points x, both `(n,)`."""

    x: Array
    time: Array

    def at(self, x: float | Array) -> Array:
        """T at other points, interpolated; zero outside the interval."""
        return np.asarray(np.interp(x, self.x, self.time, left=0.0, right=0.0))


def mean_exit_time(
    sde: SDE, low: float, high: float, *, t: float | None = None, n: int = 2001
) -> ExitTimes:
    r"""The mean time at which a one-dimensional SDE leaves an interval, for every start within.

    $$ f T' + \tfrac12 D T'' = -1, \quad T(\text{low}) = T(\text{high}) = 0, \quad D = g^2 $$

    Solved to second order in the spacing, as the exit time of a random walk on the grid: T is
    positive however strong the drift. The difference of n and 2 n tells how exact it is.

    Arguments:
        sde: in the torchsde protocol, such as `run.sde`.
        low, high: the interval.
        t: the time at which the coefficients of an SDE that depends on time are held.
        n: grid points, the ends included.

    Raises:
        InputError: the SDE has more dimensions (see `simulate_exit_time`), depends on time, or
            cannot leave.

    Source:
        Gardiner, Handbook of Stochastic Methods (1985), section 5.2.7; the scheme: Scharfetter
        and Gummel (1969).

    Example:
        >>> class Brownian(torchsde.SDEIto):
        ...     def f(self, t, y):
        ...         return torch.zeros_like(y)
        ...     def g(self, t, y):
        ...         return torch.ones_like(y)
        >>> round(float(mean_exit_time(Brownian("diagonal"), -1.0, 1.0).at(0.5)), 6)
        0.75
    """
    line = on_line(sde, low, high, n, t)
    inside = _absorbed(*(rate[1:-1].tolist() for rate in line.rates()))
    if not np.isfinite(inside).all():
        raise InputError(
            f"the mean time to leave [{low:g}, {high:g}] is infinite: give a narrower interval, "
            "or one without a point at which drift and noise both vanish."
        )
    return ExitTimes(line.x, np.concatenate([[0.0], inside, [0.0]]))


def _absorbed(up: list[float], down: list[float]) -> Array:
    """Mean times until a random walk with these rates has left at either end.

    By elimination from below, without a subtraction (Grassmann, Taksar and Heyman 1985): exact to
    rounding however high a barrier is.
    """
    # Of each point, once those below are eliminated: the rate to the lower end, and the time spent
    # here and below in each visit, times the rate of its end.
    to_end, spent = [down[0]], [1.0]
    for k in range(1, len(up)):
        rate = to_end[-1] + up[k - 1]
        share = down[k] / rate if rate > 0 else math.nan
        to_end.append(share * to_end[-1])
        spent.append(1 + share * spent[-1])
    times, above = np.empty(len(up)), 0.0
    for k in reversed(range(len(up))):
        rate = to_end[k] + up[k]
        above = (spent[k] + up[k] * above) / rate if rate > 0 else math.inf
        times[k] = above
    return times


@dataclass(frozen=True)
class SimulatedExit:
    """A mean exit time, its standard error over paths, and the time of each path `(paths,)`."""

    mean: float
    standard_error: float
    times: Tensor


@torch.no_grad()
def simulate_exit_time(
    sde: SDE,
    start: Tensor,
    low: Tensor | float,
    high: Tensor | float,
    *,
    step: float,
    horizon: float,
    t: float = 0.0,
    paths: int = 2000,
    seed: int = 0,
) -> SimulatedExit:
    r"""The mean time at which an SDE of any dimension leaves a box, by simulation.

    Euler-Maruyama steps; between the two ends of a step, x and y, a coordinate has been beyond a
    wall b with the probability of a Brownian bridge, so that few exits are missed:

    $$ \exp\left(-2 (b - x)(b - y) / (D h)\right) $$

    Arguments:
        sde: in the torchsde protocol, such as `run.sde`.
        start: where all paths begin, `(d,)`, or `(n, d)` of which each is used in turn.
        low, high: the box, numbers or `(d,)`; an infinite side is open.
        step: of the simulation; the error is of its first order.
        horizon: the longest time that is simulated; all paths must have left by then.
        t: the time of the start.
        paths: how many.
        seed: of the noise.

    Raises:
        InputError: an argument of the wrong shape, a start outside, or paths that have not left.

    Source:
        Gobet, Weak approximation of killed diffusion using Euler schemes (2000).

    Example:
        >>> class Brownian(torchsde.SDEIto):
        ...     def f(self, t, y):
        ...         return torch.zeros_like(y)
        ...     def g(self, t, y):
        ...         return torch.ones_like(y)
        >>> start = torch.zeros(2, dtype=torch.float64)
        >>> exit = simulate_exit_time(Brownian("diagonal"), start, -1.0, 1.0, step=.02, horizon=20)
        >>> abs(exit.mean - 0.589) < 4 * exit.standard_error
        True
    """
    y = _starts(start, paths)
    bottom, top = (torch.as_tensor(end, dtype=y.dtype).expand(y.shape[1:]) for end in (low, high))
    if not ((y > bottom) & (y < top)).all():
        raise InputError("start must lie within the box from low to high, but does not.")
    if not (step > 0 and horizon > step and paths > 1):
        raise InputError(
            "step must be positive, horizon longer than it and paths at least 2, but they are "
            f"{step}, {horizon} and {paths}."
        )
    check_sde(sde, torch.tensor(t, dtype=y.dtype), y)
    logarithms: Logarithms | None = getattr(sde, "logarithms", None)
    if logarithms is not None:  # the same box, in coordinates that cannot leave the half line
        sde, y = logarithms.sde, logarithms.of(y)
        bottom = torch.where(logarithms.positive, bottom.clamp(min=0).log(), bottom)
        top = logarithms.of(top)
    generator = torch.Generator().manual_seed(seed)
    times = torch.full((paths,), torch.nan, dtype=torch.float64)
    # Paths that have left are carried no further: what is left of them is a shorter batch.
    inside = torch.arange(paths)
    for k in range(math.ceil(horizon / step)):
        now = torch.tensor(t + k * step, dtype=y.dtype)
        noise = sde.g(now, y) * math.sqrt(step)
        new = y + step * sde.f(now, y) + noise * torch.randn(y.shape, generator=generator).to(y)
        left = _left(y, new, noise.square(), bottom, top, generator)
        times[inside[left]] = (k + 0.5) * step
        inside, y = inside[~left], new[~left]
        if not len(inside):
            break
    if len(inside):
        raise InputError(
            f"{len(inside)} of {paths} paths are still inside after horizon = {horizon:g}: give a "
            "longer one, or a smaller box."
        )
    return SimulatedExit(float(times.mean()), float(times.std() / math.sqrt(paths)), times)


def _left(
    x: Tensor, y: Tensor, variance: Tensor, low: Tensor, high: Tensor, generator: torch.Generator
) -> Tensor:
    """Whether a step from x to y has left the box, at its end or, by chance, on the way."""
    staying = torch.ones_like(x)
    for before, after in ((x - low, y - low), (high - x, high - y)):
        crossing = torch.exp(-2 * before * after.clamp(min=0) / variance)
        # A side that is open, or a coordinate without noise: only where the step ends counts.
        crossing = torch.where(torch.isfinite(before) & (variance > 0), crossing, 0.0)
        staying = staying * torch.where(after > 0, 1 - crossing, 0.0)
    chance = torch.rand(len(x), generator=generator).to(x)
    # A path that is no longer finite has left too.
    return ~(chance < staying.prod(-1))


def _starts(start: Tensor, paths: int) -> Tensor:
    if not isinstance(start, Tensor) or not start.is_floating_point() or start.ndim not in (1, 2):
        raise InputError(
            "start must be a floating-point tensor of shape (d,) or (n, d), but is "
            f"{tuple(start.shape) if isinstance(start, Tensor) else type(start).__name__}."
        )
    rows = start.reshape(-1, start.shape[-1])
    return rows.repeat(math.ceil(paths / len(rows)), 1)[:paths]
