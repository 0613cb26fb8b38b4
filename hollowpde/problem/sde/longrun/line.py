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
        r"""Rates of the jumps to the next point up and down, which stand for the SDE.

        $$ \frac{D}{2 h^2} B(\mp z), \quad z = 2 f h / D, \quad B(z) = z / (e^z - 1) $$

        The generator `f u' + D/2 u''` to second order in the spacing h, exact where f and D are
        constant, and never negative, however strong the drift.

        Source:
            Scharfetter and Gummel, Large-signal analysis of a silicon Read diode oscillator
            (1969).
        """
        h = self.spacing
        reach = float(self.diffusion.max() + np.abs(self.drift).max() * h)
        noise = np.maximum(self.diffusion, _NOISELESS * reach)
        if reach == 0:
            return noise, noise
        z = 2 * self.drift * h / noise
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
    check_one_dimensional(sde, 0.0 if t is None else t, x)
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


def check_one_dimensional(sde: SDE, t: float, x: Array) -> None:
    """Refuse an SDE that is not a one-dimensional Ito SDE."""
    y = torch.as_tensor(x[:2, None])
    refusal = (
        "sde must be one-dimensional, taking and giving states of shape (n, 1), but {}: in more "
        "dimensions simulate it, as hp.forecast and hp.simulate_exit_time do."
    )
    try:
        with torch.no_grad():
            shapes = [tuple(part(_time(t), y).shape) for part in (sde.f, sde.g)]
    except (IndexError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(refusal.format(f"raises {type(error).__name__}: {reason}")) from error
    if shapes != [(2, 1)] * 2:
        raise InputError(refusal.format(f"returns {shapes[0]} and {shapes[1]} for (2, 1)"))
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


@torch.no_grad()
def coefficients(sde: SDE, x: Array, t: float) -> Line:
    """The coefficients at points x `(n,)` and time t."""
    y = torch.as_tensor(x[:, None])
    drift = sde.f(_time(t), y)[:, 0].double().numpy()
    diffusion = sde.g(_time(t), y)[:, 0].double().square().numpy()
    for name, values in (("f", drift), ("g", diffusion)):
        bad = ~np.isfinite(values)
        if bad.any():
            raise InputError(
                f"sde.{name} must be finite from low to high, but is not at x = "
                f"{x[bad][0]:.6g}: give an interval within which the process lives."
            )
    return Line(x, drift, diffusion)


def _time(t: float) -> torch.Tensor:
    return torch.tensor(t, dtype=torch.float64)
