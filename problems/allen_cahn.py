"""The Allen-Cahn equation on a ring: phases that part with walls between them.

u_t = 0.001 u_xx + 5 (u - u^3) on [-1, 1], u(0, x) = x^2 cos(pi x). The reference is a Fourier
pseudo-spectral solution.
"""

import functools
import math

import numpy as np
import torch
from scipy.integrate import solve_ivp
from scipy.interpolate import RectBivariateSpline
from torch import Tensor

import hollowpde as hp

DIFFUSIVITY, RATE, END = 1e-3, 5.0, 1.0


def start(x: Tensor) -> Tensor:
    y = x[..., 0]
    return y.square() * torch.cos(math.pi * y)


@functools.cache
def reference() -> RectBivariateSpline:
    """u(x, t)."""
    n = 512
    x = np.linspace(-1, 1, n, endpoint=False)
    waves = np.pi * np.fft.rfftfreq(n, 1 / n)

    def rate(t: float, u: np.ndarray) -> np.ndarray:
        spread = np.fft.irfft(-(waves**2) * np.fft.rfft(u), n)
        return DIFFUSIVITY * spread + RATE * (u - u**3)

    times = np.linspace(0, END, 101)
    u0 = start(torch.as_tensor(x).unsqueeze(-1)).numpy()
    solution = solve_ivp(rate, (0, END), u0, "RK45", times, rtol=1e-8, atol=1e-10)
    return RectBivariateSpline(np.append(x, 1), times, np.vstack([solution.y, solution.y[:1]]))


def exact(t: Tensor, x: Tensor) -> Tensor:
    return torch.as_tensor(reference().ev(x[..., 0].numpy(), t.numpy()))


hp.register(
    hp.PDEProblem(
        name="allen_cahn",
        residual=hp.AllenCahn(DIFFUSIVITY, RATE),
        domain=hp.Box((-1.0,), (1.0,)),
        time=(0.0, END),
        conditions={"start": hp.Initial(start), "ring": hp.Periodic()},
        field=hp.Separable(features=16, inner=(24,), outer=(24, 24)),
        sampler=hp.ResidualAdaptive(),
        exact=exact,
        solve=hp.Solve(interior=1500, gauss_newton=hp.GaussNewton(steps=120)),
    )
)
