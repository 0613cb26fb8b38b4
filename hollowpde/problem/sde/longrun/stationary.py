"""The stationary density of a one-dimensional SDE, and the potentials that go with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.integrate import cumulative_simpson, simpson

from hollowpde.data.simulate import SDE
from hollowpde.errors import InputError
from hollowpde.problem.panel import Array
from hollowpde.problem.sde.longrun.line import Line, on_line

# The share of the whole that may lie beyond the ends of the grid.
_BEYOND = 0.01


@dataclass(frozen=True, eq=False)
class StationaryDensity:
    """A stationary density p on a grid; all arrays `(n,)`.

    Arguments:
        x: equidistant points.
        density: p, of integral one over the grid.
        potential: the effective potential -log p; with noise that varies in x its wells need not
            lie at the zeros of the drift.
        drift_potential: U with f = -U', zero at its lowest point; 2 U / D is the effective
            potential, up to a constant, where D is constant.
        below, above: estimates of the mass beyond the lower and the upper end, as a share of that
            within; infinite where p rises towards the end.
    """

    x: Array
    density: Array
    potential: Array
    drift_potential: Array
    below: float
    above: float

    @property
    def mean(self) -> float:
        """The mean of the density."""
        return float(simpson(self.x * self.density, x=self.x))

    @property
    def variance(self) -> float:
        """The variance of the density."""
        return float(simpson((self.x - self.mean) ** 2 * self.density, x=self.x))


def stationary_density(
    sde: SDE,
    low: float,
    high: float,
    *,
    t: float | None = None,
    n: int = 2001,
    walls: bool = False,
) -> StationaryDensity:
    r"""The stationary density of a one-dimensional SDE `dX = f dt + g dW`, D = g^2.

    $$ p(x) \propto \frac{1}{D(x)} \exp \int^x \frac{2 f(y)}{D(y)} \, dy $$

    By Simpson's rule on a grid. That the process settles down is checked by the ends of the grid:
    p must fall towards both of them and leave less than 1 % beyond, as extrapolated by an
    exponential.

    Arguments:
        sde: in the torchsde protocol, such as `run.sde`.
        low, high: the interval of the grid, to hold nearly all of p.
        t: the time at which the coefficients of an SDE that depends on time are held.
        n: grid points.
        walls: take the ends as reflecting walls; then there is always a stationary density, and
            nothing is checked.

    Raises:
        InputError: p is not normalisable within the range; the SDE has more dimensions, depends
            on time, or has no noise somewhere.

    Source:
        Gardiner, Handbook of Stochastic Methods (1985), section 5.2.

    Example:
        >>> class OU(torchsde.SDEIto):
        ...     def f(self, t, y):
        ...         return -y
        ...     def g(self, t, y):
        ...         return torch.ones_like(y)
        >>> p = stationary_density(OU("diagonal"), -5.0, 5.0)
        >>> round(p.variance, 6)
        0.5
    """
    line = on_line(sde, low, high, n, t)
    still = line.diffusion <= 0
    if still.any():
        raise InputError(
            f"sde.g must not vanish from low to high, but does at x = {line.x[still][0]:.6g}: "
            "the stationary density has no such formula there; move the end inwards."
        )
    log_p = cumulative_simpson(2 * line.drift / line.diffusion, x=line.x, initial=0)
    log_p = log_p - np.log(line.diffusion)
    log_p = log_p - log_p.max()
    log_p = log_p - np.log(simpson(np.exp(log_p), x=line.x))
    below, above = _beyond(line, log_p)
    if not walls:
        _check_normalisable("low", low, below)
        _check_normalisable("high", high, above)
    U = -cumulative_simpson(line.drift, x=line.x, initial=0)
    return StationaryDensity(line.x, np.exp(log_p), -log_p, U - U.min(), below, above)


def _beyond(line: Line, log_p: Array) -> tuple[float, float]:
    """The mass beyond each end, where p goes on falling at the rate that it has there."""
    slope = (2 * line.drift - np.gradient(line.diffusion, line.x)) / line.diffusion
    return _tail(log_p[0], slope[0]), _tail(log_p[-1], -slope[-1])


def _tail(log_p: float, rate: float) -> float:
    """The mass of an exponential tail from where the density is p."""
    return float(np.exp(log_p) / rate) if rate > 0 else float("inf")


def _check_normalisable(name: str, end: float, beyond: float) -> None:
    if beyond <= _BEYOND:
        return
    what = (
        f"p rises towards {name}"
        if np.isinf(beyond)
        else f"{beyond:.1%} as much as within lies beyond {name}"
    )
    raise InputError(
        f"the stationary density is not normalisable within the range: {what} = {end:g}. Give a "
        "wider interval; if that does not help the process does not settle down, or gathers at a "
        "boundary. walls=True takes the ends as reflecting."
    )
