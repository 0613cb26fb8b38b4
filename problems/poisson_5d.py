"""Poisson's equation in a cube of 5 dimensions, zero on its faces.

The source is that of u = cos(x_1 + ... + x_5) prod_i sin(pi x_i).
"""

import math

import torch
from torch import Tensor

import hollowpde as hp

DIM = 5


def parts(x: Tensor) -> tuple[Tensor, Tensor]:
    return torch.sin(math.pi * x).prod(-1), x.sum(-1)


def exact(t: Tensor, x: Tensor) -> Tensor:
    bump, s = parts(x)
    return bump * torch.cos(s)


def source(x: Tensor) -> Tensor:
    bump, s = parts(x)
    wave = torch.sin(math.pi * x)
    # The derivative of the product along each coordinate.
    slopes = [
        math.pi
        * torch.cos(math.pi * x[..., i])
        * wave[..., [j for j in range(DIM) if j != i]].prod(-1)
        for i in range(DIM)
    ]
    return DIM * (math.pi**2 + 1) * bump * torch.cos(s) + 2 * torch.sin(s) * sum(slopes)


hp.register(
    hp.PDEProblem(
        name="poisson_5d",
        residual=hp.Poisson(source),
        domain=hp.Box((0.0,) * DIM, (1.0,) * DIM),
        conditions={"walls": hp.Dirichlet(0.0)},
        field=hp.Ridge(hidden=(32, 32)),
        exact=exact,
        solve=hp.Solve(interior=1500, gauss_newton=hp.GaussNewton(steps=80)),
    )
)
