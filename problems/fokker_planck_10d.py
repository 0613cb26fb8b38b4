"""The density of an Ornstein-Uhlenbeck process on a ring of 10 sites, by its logarithm.

dX_i = (-X_i + (X_{i-1} + X_{i+1} - 2 X_i) / 2) dt + 0.7 dW_i from a Gaussian about 1; it stays
Gaussian, its covariance is constant along diagonals, and Fourier modes are independent.
"""

import math

import torch
import torchsde
from torch import Tensor

import hollowpde as hp

DIM, NOISE, SPREAD = 10, 0.7, 0.4


def drift(t: Tensor, y: Tensor) -> Tensor:
    return -y + 0.5 * (y.roll(1, -1) + y.roll(-1, -1) - 2 * y)


class Ring(torchsde.SDEIto):
    def f(self, t: Tensor, y: Tensor) -> Tensor:
        return drift(t, y)

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        return NOISE * torch.ones_like(y)


def exact(t: Tensor, x: Tensor) -> Tensor:
    rate = 2 - torch.cos(2 * math.pi * torch.arange(DIM, dtype=x.dtype) / DIM)
    past = torch.exp(-2 * rate * t.unsqueeze(-1))
    variance = SPREAD**2 * past + NOISE**2 / (2 * rate) * (1 - past)
    modes = torch.fft.fft(x - torch.exp(-t).unsqueeze(-1)).abs().square() / DIM
    return -0.5 * (modes / variance + torch.log(2 * math.pi * variance)).sum(-1)


def start(x: Tensor) -> Tensor:
    z = (x - 1) / SPREAD
    return -0.5 * z.square().sum(-1) - DIM * math.log(SPREAD * math.sqrt(2 * math.pi))


def states(paths: int, generator: torch.Generator) -> Tensor:
    return 1 + SPREAD * torch.randn(paths, DIM, generator=generator)


PATHS = hp.Simulated(
    Ring(noise_type="diagonal"), states, times=torch.linspace(0, 1, 21), paths=1000
)

hp.register(
    hp.PDEProblem(
        name="fokker_planck_10d",
        residual=hp.LogFokkerPlanck(drift, (NOISE**2,) * DIM),
        domain=hp.Space(DIM),
        time=(0.0, 1.0),
        conditions={"start": hp.Initial(start)},
        field=hp.MovingQuadratic(plus=hp.Ridge(hidden=(16, 16))),
        sampler=hp.AlongPaths(PATHS),
        exact=exact,
        mass=torch.exp,
        solve=hp.Solve(interior=1000, gauss_newton=hp.GaussNewton(steps=60)),
    )
)
