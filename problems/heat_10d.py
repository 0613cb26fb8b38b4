"""The heat equation in 10 dimensions, periodic, from a start that couples neighbours.

u(0, x) = sum_i sin(x_i) sin(x_{i+1}) on a ring, an eigenfunction: u = exp(-2 kappa t) u(0, x).
"""

import math

import torch
from torch import Tensor

import hollowpde as hp

DIM, KAPPA = 10, 0.5


def start(x: Tensor) -> Tensor:
    wave = torch.sin(x)
    return (wave * wave.roll(1, -1)).sum(-1)


def exact(t: Tensor, x: Tensor) -> Tensor:
    return torch.exp(-2 * KAPPA * t) * start(x)


hp.register(
    hp.PDEProblem(
        name="heat_10d",
        residual=hp.Heat(KAPPA),
        domain=hp.Box((0.0,) * DIM, (2 * math.pi,) * DIM),
        time=(0.0, 1.0),
        conditions={"start": hp.Initial(start), "ring": hp.Periodic()},
        field=hp.Product(rank=20, inner=(4,)),
        exact=exact,
        solve=hp.Solve(interior=1500, gauss_newton=hp.GaussNewton(steps=90)),
    )
)
