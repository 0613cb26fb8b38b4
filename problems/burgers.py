"""Burgers' equation: a wave that steepens to a layer of width 0.003.

u_t + u u_x = nu u_xx on [-1, 1], u(0, x) = -sin(pi x), nu = 0.01 / pi. By the transformation of
Cole and Hopf u is a ratio of two Gaussian integrals.

Source: Basdevant et al., Spectral and finite difference solutions of the Burgers equation (1986).
"""

import math

import torch
from scipy.special import roots_hermite
from torch import Tensor

import hollowpde as hp

NU = 0.01 / math.pi


def start(x: Tensor) -> Tensor:
    return -torch.sin(math.pi * x[..., 0])


def exact(t: Tensor, x: Tensor) -> Tensor:
    z, weight = (torch.as_tensor(a) for a in roots_hermite(100))
    y = x - 2 * (NU * t.unsqueeze(-1)).sqrt() * z
    exponent = -torch.cos(math.pi * y) / (2 * math.pi * NU)
    odds = weight * torch.exp(exponent - exponent.amax(-1, keepdim=True))
    return -(odds * torch.sin(math.pi * y)).sum(-1) / odds.sum(-1)


hp.register(
    hp.PDEProblem(
        name="burgers",
        residual=hp.Burgers(NU),
        domain=hp.Box((-1.0,), (1.0,)),
        time=(0.0, 1.0),
        conditions={"start": hp.Initial(start), "ends": hp.Dirichlet(0.0)},
        field=hp.Ridge(hidden=(24, 24, 24), activation=hp.nets.tanh, spread=3.0),
        sampler=hp.ResidualAdaptive(floor=0.5),
        exact=exact,
        solve=hp.Solve(interior=1500, refresh=20, gauss_newton=hp.GaussNewton(steps=250)),
    )
)
