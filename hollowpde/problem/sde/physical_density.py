"""The fitted density in the user's units; arrays and single times are taken too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hollowpde.data import Standardisation
from hollowpde.densities import Density, DensityModel, FromLogDensity
from hollowpde.operators.field import as_time


class PhysicalDensity(Density):
    """A density of standardised units in the user's, normalised there; inputs as arrays too."""

    def __init__(self, density: DensityModel, units: Standardisation) -> None:
        super().__init__()
        self.density, self.units = density, units

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        value, *rest = self._scaled(self.density.dimwise(*self._standard(t, x), order))
        value = value - self.units.scale.log().sum()
        return value.to(x), *(v.to(x) for v in rest)

    def in_time(
        self, t: Tensor, x: Tensor, order: int
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        values, slopes = self.density.in_time(*self._standard(as_time(t, x), x), order)
        value, *rest = self._scaled(values)
        value = value - self.units.scale.log().sum()
        rates = (v / self.units.t_scale for v in self._scaled(slopes))
        return (value.to(x), *(v.to(x) for v in rest)), tuple(v.to(x) for v in rates)

    def _scaled(self, values: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The value, and derivatives with respect to x in the user's units."""
        value, *rest = values
        return value, *(v / self.units.scale**k for k, v in enumerate(rest, start=1))

    def log_prob(self, t: Tensor | float | np.ndarray, x: Tensor | np.ndarray) -> Tensor:
        return super().log_prob(*_tensors(t, x))

    def score(self, t: Tensor | float | np.ndarray, x: Tensor | np.ndarray) -> Tensor:
        return super().score(*_tensors(t, x))

    def marginal_log_prob(self, t: Tensor | float, x: Tensor) -> Tensor:
        """log p_j(t, x_j) of each coordinate alone, `(..., d)`."""
        inner = self.density.marginal_log_prob(*self._standard(as_time(t, x), x))
        return (inner - self.units.scale.log()).to(x)

    @property
    def interval(self) -> tuple[float, float]:
        """The first and the last time of the data that it was fitted to."""
        centre, half = float(self.units.t_shift), float(self.units.t_scale)
        return centre - half, centre + half

    def sample(
        self, t: Tensor | float, n: int, generator: torch.Generator | None = None
    ) -> Tensor:
        dtype = self._dtype
        tau = self.units.time(torch.as_tensor(t, dtype=torch.float64), dtype)
        z = self.density.sample(tau, n, generator)
        return (z.to(self.units.scale) * self.units.scale + self.units.shift).to(dtype)

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.density.parameters()).dtype

    def _standard(self, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        dtype = self._dtype
        return self.units.time(t, dtype), self.units.state(x, dtype)


class PositiveDensity(FromLogDensity):
    """A density of which some coordinates are positive, from that of their logarithms."""

    density: PhysicalDensity

    def __init__(self, density: PhysicalDensity, positive: Sequence[bool]) -> None:
        super().__init__(density, positive)

    def log_prob(self, t: Tensor | float | np.ndarray, x: Tensor | np.ndarray) -> Tensor:
        return super().log_prob(*_tensors(t, x))

    def score(self, t: Tensor | float | np.ndarray, x: Tensor | np.ndarray) -> Tensor:
        return super().score(*_tensors(t, x))

    def marginal_log_prob(self, t: Tensor | float, x: Tensor) -> Tensor:
        """log p_j(t, x_j) of each coordinate alone, `(..., d)`; -inf outside of its support."""
        inside = ~self.positive | (x > 0)
        log = torch.where(self.positive & inside, x, torch.ones_like(x)).log()
        inner = self.density.marginal_log_prob(t, torch.where(self.positive, log, x)) - log
        return torch.where(inside, inner, torch.full_like(inner, -torch.inf))

    @property
    def interval(self) -> tuple[float, float]:
        """The first and the last time of the data that it was fitted to."""
        return self.density.interval


def _tensors(
    t: Tensor | float | np.ndarray, x: Tensor | np.ndarray
) -> tuple[Tensor | float, Tensor]:
    points = x if isinstance(x, Tensor) else torch.as_tensor(np.ascontiguousarray(x))
    if not points.is_floating_point():
        points = points.to(torch.get_default_dtype())
    return (t if isinstance(t, float | int) else torch.as_tensor(t)), points
