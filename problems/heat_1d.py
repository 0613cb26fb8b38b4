"""The heat equation on a rod whose ends are kept at zero."""

import math

import torch
from torch import Tensor

import hollowpde as hp

KAPPA = 0.1


def heat(u: hp.Jet, t: Tensor, x: Tensor) -> Tensor:
    return u.dt - KAPPA * u.laplacian


def start(x: Tensor) -> Tensor:
    y = x[..., 0]
    return torch.sin(math.pi * y) + 0.5 * torch.sin(3 * math.pi * y)


def exact(t: Tensor, x: Tensor) -> Tensor:
    def mode(k: int) -> Tensor:
        return torch.exp(-KAPPA * (k * math.pi) ** 2 * t) * torch.sin(k * math.pi * x[..., 0])

    return mode(1) + 0.5 * mode(3)


hp.register(
    hp.PDEProblem(
        name="heat_1d",
        residual=heat,
        domain=hp.Box((0.0,), (1.0,)),
        time=(0.0, 1.0),
        conditions={"start": hp.Initial(start), "ends": hp.Dirichlet(0.0)},
        exact=exact,
        solve=hp.Solve(interior=400, gauss_newton=hp.GaussNewton(steps=60)),
    )
)
