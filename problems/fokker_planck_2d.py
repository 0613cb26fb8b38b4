"""The density of a particle in a double well in the plane, by its logarithm.

Along s = (x + y) / sqrt(2) it feels s - s^3, across it, along r = (x - y) / sqrt(2), a spring; in
x and y the two are coupled. The exact density is a product: of one in s, from the equation in s
alone by finite volumes, and of a Gaussian in r. The logarithm keeps the density positive, and the
equation is asked to hold where paths go: far out the drift blows errors of a density up.
The reference is cut off at a density of 1e-12: the error on the page means nothing beyond.
"""

import functools
import math

import numpy as np
import torch
import torchsde
from scipy.integrate import solve_ivp
from scipy.interpolate import RectBivariateSpline
from scipy.sparse import diags
from torch import Tensor

import hollowpde as hp

SQUARED, SPREAD, END = 0.49, 0.3, 1.0
ROOT = math.sqrt(2)


def drift(t: Tensor, y: Tensor) -> Tensor:
    s, r = (y[..., 0] + y[..., 1]) / ROOT, (y[..., 0] - y[..., 1]) / ROOT
    along, across = s - s**3, -r
    return torch.stack([along + across, along - across], -1) / ROOT


class Particle(torchsde.SDEIto):
    def f(self, t: Tensor, y: Tensor) -> Tensor:
        return drift(t, y)

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        return SQUARED**0.5 * torch.ones_like(y)


def states(paths: int, generator: torch.Generator) -> Tensor:
    return torch.tensor([-1 / ROOT, -1 / ROOT]) + SPREAD * torch.randn(
        paths, 2, generator=generator
    )


def gaussian(z: Tensor, variance: Tensor | float) -> Tensor:
    scale = torch.as_tensor(2 * math.pi * variance).sqrt()
    return torch.exp(-z.square() / (2 * variance)) / scale


def start(x: Tensor) -> Tensor:
    s, r = (x[..., 0] + x[..., 1]) / ROOT, (x[..., 0] - x[..., 1]) / ROOT
    squares = ((s + 1).square() + r.square()) / SPREAD**2
    return -0.5 * squares - math.log(2 * math.pi * SPREAD**2)


@functools.cache
def along() -> RectBivariateSpline:
    """p(s, t)."""
    s = np.linspace(-4, 4, 1601)
    h = s[1] - s[0]
    middle = (s[1:] + s[:-1]) / 2
    force = middle - middle**3

    def rate(t: float, p: np.ndarray) -> np.ndarray:
        flux = force * (p[1:] + p[:-1]) / 2 - SQUARED / 2 * np.diff(p) / h
        return -np.diff(flux, prepend=0, append=0) / h

    times = np.linspace(0, END, 101)
    near = diags([1.0, 1.0, 1.0], [-1, 0, 1], shape=(len(s), len(s)))
    p0 = gaussian(torch.as_tensor(s) + 1, SPREAD**2).numpy()
    solution = solve_ivp(rate, (0, END), p0, "BDF", times, rtol=1e-7, atol=1e-9, jac_sparsity=near)
    return RectBivariateSpline(s, times, solution.y)


def exact(t: Tensor, x: Tensor) -> Tensor:
    s, r = (x[..., 0] + x[..., 1]) / ROOT, (x[..., 0] - x[..., 1]) / ROOT
    past = torch.exp(-2 * t)
    variance = SPREAD**2 * past + SQUARED / 2 * (1 - past)
    p = torch.as_tensor(along().ev(s.numpy(), t.numpy())) * gaussian(r, variance)
    return p.clamp(min=1e-12).log()


PATHS = hp.Simulated(
    Particle(noise_type="diagonal"), states, times=torch.linspace(0, END, 21), paths=2000
)

hp.register(
    hp.PDEProblem(
        name="fokker_planck_2d",
        residual=hp.LogFokkerPlanck(drift, (SQUARED, SQUARED)),
        domain=hp.Space(2),
        time=(0.0, END),
        conditions={"start": hp.Initial(start)},
        field=hp.MovingQuadratic(plus=hp.Ridge(hidden=(24, 24))),
        sampler=hp.AlongPaths(PATHS),
        exact=exact,
        mass=torch.exp,
        solve=hp.Solve(interior=1200, gauss_newton=hp.GaussNewton(steps=80)),
    )
)
