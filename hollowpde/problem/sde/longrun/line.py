"""A one-dimensional SDE on a grid: its coefficients, and the random walk that stands for it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import exprel

from hollowpde.data.simulate import SDE, check_sde
from hollowpde.errors import InputError
from hollowpde.problem.panel import Array

# Offsets at which an SDE is asked again whether it depends on time: of every size, since the unit
# of time is unknown, and of no round number, since periods are round.
_OFFSETS = tuple(0.381966 * 10.0**k for k in range(-3, 10, 2))
# Squared diffusion below this share of what matters on the grid is none.
_NOISELESS = 1e-12
_SIMULATE = "in more dimensions simulate it, as hp.forecast and hp.simulate_exit_time do."


@dataclass(frozen=True, eq=False)
class Line:
    """Equidistant points x and the coefficients there at one time, all `(n,)`."""

    x: Array
    drift: Array
    diffusion: Array  # D = g^2

    @property
    def spacing(self) -> float:
        return float(self.x[1] - self.x[0])

    def rates(self) -> tuple[Array, Array]:
        """Rates of the jumps to the next point up and down: `jump_rates`."""
        return jump_rates(self.drift, self.diffusion, self.spacing)


def jump_rates(drift: Array, diffusion: Array, h: float) -> tuple[Array, Array]:
    r"""Rates of the jumps along one axis to the next point up and down, which stand for the SDE.

    $$ \frac{D}{2 h^2} B(\mp z), \quad z = 2 f h / D, \quad B(z) = z / (e^z - 1) $$

    The generator `f u' + D/2 u''` to second order in the spacing h, exact where f and D are
    constant, and never negative, however strong the drift.

    Arguments:
        drift, diffusion: f and D along the axis at the points of a grid, of any shape.
        h: the spacing along the axis.

    Source:
        Scharfetter and Gummel, Large-signal analysis of a silicon Read diode oscillator (1969).
    """
    reach = float(diffusion.max() + np.abs(drift).max() * h)
    noise = np.maximum(diffusion, _NOISELESS * reach)
    if reach == 0:
        return noise, noise
    z = 2 * drift * h / noise
    size = noise / (2 * h**2)
    return size / exprel(-z), size / exprel(z)


def on_line(sde: SDE, low: float, high: float, n: int, t: float | None) -> Line:
    """The coefficients of a 1-D SDE at n points from low to high.

    Arguments:
        sde: in the torchsde protocol, one-dimensional.
        low, high: the interval.
        n: how many points.
        t: the time at which the coefficients are held; None for an SDE that does not depend on it.

    Raises:
        InputError: no interval, an SDE of more dimensions or that depends on time, or
            coefficients that are not finite.
        UnsupportedError: an SDE that is not Ito with diagonal noise.
    """
    x = grid(low, high, n)
    check_dimension(sde, 0.0 if t is None else t, x[:2, None], _SIMULATE)
    line = coefficients(sde, x, 0.0 if t is None else t)
    if t is None and depends_on_time(sde, x):
        raise InputError(
            "sde depends on time: give t, the time at which its drift and diffusion are held."
        )
    return line


def grid(low: float, high: float, n: int) -> Array:
    """n equidistant points from low to high."""
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(f"low must be below high, both finite, but they are {low} and {high}.")
    if n < 3:
        raise InputError(f"n, the number of grid points, must be at least 3, but is {n}.")
    return np.linspace(low, high, n)


def check_dimension(sde: SDE, t: float, points: Array, otherwise: str) -> None:
    """Refuse what is no Ito SDE of the dimension of two points `(2, d)`, d at most 2.

    Arguments:
        sde: in the torchsde protocol.
        t: the time at which it is asked.
        points: states.
        otherwise: what to do with an SDE of another dimension, the end of the error.
    """
    y = torch.as_tensor(points)
    d = y.shape[1]
    refusal = (
        f"sde must be {('one', 'two')[d - 1]}-dimensional, taking and giving states of shape "
        f"(n, {d}), but {{}}: {otherwise}"
    )
    try:
        with torch.no_grad():
            shapes = [tuple(part(_time(t), y).shape) for part in (sde.f, sde.g)]
    except (IndexError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(refusal.format(f"raises {type(error).__name__}: {reason}")) from error
    if shapes != [(2, d)] * 2:
        raise InputError(refusal.format(f"returns {shapes[0]} and {shapes[1]} for (2, {d})"))
    check_sde(sde, _time(t), y)


def depends_on_time(sde: SDE, x: Array) -> bool:
    """Whether f or g at some of the points x `(n,)` or `(n, d)` changes with time."""
    few = x[:: 1 + len(x) // 20]
    points = torch.as_tensor(few).reshape(len(few), -1)
    with torch.no_grad():
        for part in (sde.f, sde.g):
            now = part(_time(0.0), points)
            later = (part(_time(t), points) for t in _OFFSETS)
            if not all(torch.allclose(now, then, 1e-6, 0, equal_nan=True) for then in later):
                return True
    return False


def coefficients(sde: SDE, x: Array, t: float) -> Line:
    """The coefficients at points x `(n,)` and time t."""
    drift, diffusion = values(sde, x[:, None], t)
    return Line(x, drift[:, 0], diffusion[:, 0])


@torch.no_grad()
def values(sde: SDE, points: Array, t: float) -> tuple[Array, Array]:
    """f and D = g^2 at points `(n, d)` and time t, `(n, d)` each and finite."""
    y = torch.as_tensor(points)
    drift = sde.f(_time(t), y).double().numpy()
    diffusion = sde.g(_time(t), y).double().square().numpy()
    for name, value in (("f", drift), ("g", diffusion)):
        bad = ~np.isfinite(value).all(1)
        if bad.any():
            at = ", ".join(f"{x:.6g}" for x in points[bad][0])
            raise InputError(
                f"sde.{name} must be finite from low to high, but is not at x = {at}: give an "
                "interval within which the process lives."
            )
    return drift, diffusion


def _time(t: float) -> torch.Tensor:
    return torch.tensor(t, dtype=torch.float64)
