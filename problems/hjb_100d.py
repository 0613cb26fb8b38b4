"""A Hamilton-Jacobi-Bellman equation in 100 dimensions: steering a Brownian motion.

u_t + Lap u - |grad u|^2 = 0, u(1, x) = log((1 + |x|^2) / 2); u(0, 0) = 4.590162. By the
transformation of Cole and Hopf u = -log E 2 / (1 + |x + sqrt(2 (1 - t)) Z|^2), which is a double
integral: over the coordinate along x, and over the square of all others.

Source: E, Han and Jentzen, Deep learning-based numerical methods for high-dimensional parabolic
partial differential equations and backward stochastic differential equations (2017).
"""

import numpy as np
import torch
from scipy.special import roots_genlaguerre, roots_hermitenorm
from torch import Tensor

import hollowpde as hp

DIM = 100


def cost(x: Tensor) -> Tensor:
    return torch.log((1 + x.square().sum(-1)) / 2)


def exact(t: Tensor, x: Tensor) -> Tensor:
    z, by_z = roots_hermitenorm(40)
    y, by_y = roots_genlaguerre(40, (DIM - 1) / 2 - 1)  # half of a chi-square
    weights = torch.as_tensor(np.outer(by_z / by_z.sum(), by_y / by_y.sum()))
    spread = (2 * (1 - t)).sqrt()[:, None, None]
    along = x.norm(dim=-1)[:, None, None] + spread * torch.as_tensor(z)[:, None]
    others = spread.square() * 2 * torch.as_tensor(y)
    return -torch.log((weights * 2 / (1 + along.square() + others)).sum((1, 2)))


hp.register(
    hp.PDEProblem(
        name="hjb_100d",
        residual=hp.HamiltonJacobiBellman(),
        domain=hp.Space(DIM, width=1.0),
        time=(0.0, 1.0),
        # At t = 0 the motion is at one point, where the cost is far from what u is: not built in.
        conditions={"cost": hp.Terminal(cost, hard=False)},
        field=hp.Separable(features=8, inner=(16,), outer=(32, 32), shared=True),
        sampler=hp.BrownianLaw(),
        exact=exact,
        point=hp.Point(x=(0.0,), t=0.0, value=4.590162),
        solve=hp.Solve(interior=400, boundary=200, gauss_newton=hp.GaussNewton(steps=60)),
    )
)
