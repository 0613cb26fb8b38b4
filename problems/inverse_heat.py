"""How well does a rod conduct? Its conductivity from noisy temperatures, with an interval."""

import math

import torch
from torch import Tensor

import hollowpde as hp

KAPPA, NOISE = 0.1, 0.02


def heat(u: hp.Jet, t: Tensor, x: Tensor, kappa: Tensor) -> Tensor:
    return u.dt - kappa * u.laplacian


def start(x: Tensor) -> Tensor:
    y = x[..., 0]
    return torch.sin(math.pi * y) + 0.5 * torch.sin(3 * math.pi * y)


def exact(t: Tensor, x: Tensor) -> Tensor:
    def mode(k: int) -> Tensor:
        return torch.exp(-KAPPA * (k * math.pi) ** 2 * t) * torch.sin(k * math.pi * x[..., 0])

    return mode(1) + 0.5 * mode(3)


def observations(seed: int) -> hp.Observed:
    """Ten thermometers, read twenty times."""
    times = torch.linspace(0.05, 1, 20, dtype=torch.float64)
    places = torch.linspace(0.05, 0.95, 10, dtype=torch.float64)
    t, x = (a.flatten() for a in torch.meshgrid(times, places, indexing="ij"))
    generator = torch.Generator().manual_seed(seed)
    noise = NOISE * torch.randn(len(t), generator=generator, dtype=torch.float64)
    return hp.Observed(t, x, exact(t, x.unsqueeze(-1)) + noise)


def declared(seed: int) -> hp.PDEProblem:
    return hp.PDEProblem(
        name="inverse_heat",
        residual=heat,
        domain=hp.Box((0.0,), (1.0,)),
        time=(0.0, 1.0),
        conditions={
            "start": hp.Initial(start),
            "ends": hp.Dirichlet(0.0),
            "thermometers": observations(seed),
        },
        unknowns={"kappa": hp.Unknown(0.5, truth=KAPPA)},
        field=hp.Ridge(hidden=(24, 24)),
        exact=exact,
        solve=hp.Solve(interior=400, gauss_newton=hp.GaussNewton(steps=60)),
    )


hp.register(declared(seed=0))
