"""The Allen-Cahn equation in 100 dimensions.

u_t = Lap u + u - u^3, u(0, x) = 1 / (2 + 0.4 |x|^2); u(0.3, 0) = 0.0527814, from the equation in
r = |x| alone: u_t = u_rr + 99 u_r / r + u - u^3.

Source: E, Han and Jentzen, Deep learning-based numerical methods for high-dimensional parabolic
partial differential equations and backward stochastic differential equations (2017).
"""

import functools

import numpy as np
import torch
from scipy.integrate import solve_ivp
from scipy.interpolate import RectBivariateSpline
from scipy.sparse import diags
from torch import Tensor

import hollowpde as hp

DIM, END = 100, 0.3


def start(x: Tensor) -> Tensor:
    return 1 / (2 + 0.4 * x.square().sum(-1))


@functools.cache
def radial() -> RectBivariateSpline:
    """u(r, t), by finite differences in r."""
    r = np.linspace(0, 20, 2001)
    h = r[1]

    def rate(t: float, u: np.ndarray) -> np.ndarray:
        # Even at the centre, straight on at the end.
        wide = np.concatenate([[u[1]], u, [2 * u[-1] - u[-2]]])
        second = (wide[2:] - 2 * u + wide[:-2]) / h**2
        slope = (wide[2:] - wide[:-2]) / (2 * h)
        spread = np.append(DIM * second[:1], second[1:] + (DIM - 1) * slope[1:] / r[1:])
        return spread + u - u**3

    times = np.linspace(0, END, 61)
    near = diags([1.0, 1.0, 1.0], [-1, 0, 1], shape=(len(r), len(r)))
    start = 1 / (2 + 0.4 * r**2)
    solution = solve_ivp(
        rate, (0, END), start, "BDF", times, rtol=1e-7, atol=1e-9, jac_sparsity=near
    )
    return RectBivariateSpline(r, times, solution.y)


def exact(t: Tensor, x: Tensor) -> Tensor:
    return torch.as_tensor(radial().ev(x.norm(dim=-1).numpy(), t.numpy()))


hp.register(
    hp.PDEProblem(
        name="allen_cahn_100d",
        residual=hp.AllenCahn(),
        domain=hp.Space(DIM, width=0.5),
        time=(0.0, END),
        conditions={"start": hp.Initial(start, hard=False)},
        field=hp.Separable(features=8, inner=(16,), outer=(32, 32), shared=True),
        sampler=hp.BrownianLaw(backward=True),
        exact=exact,
        point=hp.Point(x=(0.0,), t=END, value=0.0527814),
        solve=hp.Solve(interior=400, boundary=200, gauss_newton=hp.GaussNewton(steps=60)),
    )
)
