"""Forecasts: where paths of a fitted SDE will be, by simulation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hollowpde.data.simulate import SDE, simulate
from hollowpde.errors import InputError
from hollowpde.problem.panel import Array


@dataclass(frozen=True, eq=False)
class Forecast:
    """Simulated states `(T, paths, d)` at times `(T,)`, the first of which is now."""

    times: Tensor
    states: Tensor

    def quantiles(self, levels: Sequence[float] = (0.05, 0.25, 0.5, 0.75, 0.95)) -> Array:
        """Quantiles of each coordinate, `(levels, T, d)`."""
        return np.asarray(np.quantile(self.states.double().numpy(), levels, axis=1))

    @property
    def mean(self) -> Tensor:
        """The mean of each coordinate, `(T, d)`."""
        return self.states.mean(1)


def forecast(
    sde: SDE,
    x_now: Tensor,
    times: Tensor | Sequence[float],
    *,
    paths: int = 2000,
    seed: int = 0,
    step: float | None = None,
) -> Forecast:
    """The distribution of an SDE at later times, by simulation from what is known of it now.

    Beyond the times of the data an SDE that does not depend on time goes on as it is; one that
    does is extrapolated in time, of which the data say nothing.

    Arguments:
        sde: in the torchsde protocol, such as `run.sde`.
        x_now: the state now, `(d,)`; or states `(n, d)`, each used in turn, such as the last ones
            of many paths or `run.density.sample(t, n)`.
        times: increasing, `(T,)`; the first is now.
        paths: how many to simulate.
        seed: of the noise.
        step: the longest internal step; a tenth of the shortest interval of `times` by default.

    Raises:
        InputError: arguments of the wrong shape, or paths that do not stay finite.

    Example:
        >>> class OU(torchsde.SDEIto):
        ...     def f(self, t, y):
        ...         return -y
        ...     def g(self, t, y):
        ...         return 0.1 * torch.ones_like(y)
        >>> fan = forecast(OU("diagonal"), torch.tensor([2.0]), [0.0, 0.5, 1.0], paths=500)
        >>> fan.quantiles([0.05, 0.95]).shape
        (2, 3, 1)
        >>> abs(fan.mean[-1].item() - 2 / 2.71828) < 0.02
        True
    """
    if not isinstance(x_now, Tensor) or x_now.ndim not in (1, 2) or not x_now.numel():
        raise InputError(
            "x_now must be a tensor of shape (d,) or (n, d), but is "
            f"{tuple(x_now.shape) if isinstance(x_now, Tensor) else type(x_now).__name__}."
        )
    at = torch.as_tensor(times, dtype=torch.float64)
    rows = x_now.reshape(-1, x_now.shape[-1])
    starts = rows.repeat(math.ceil(paths / len(rows)), 1)[:paths]
    future = simulate(sde, starts, at, paths, seed, step)
    return Forecast(at, future.x.reshape(paths, len(at), -1).transpose(0, 1))
