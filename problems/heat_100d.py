"""The heat equation in 100 dimensions, from a Gaussian that couples neighbours.

u(0, x) = exp(-x'Ax / 2) with a tridiagonal A stays Gaussian: with M = (I + 2 kappa t A)^-1,
u(t, x) = det(M)^(1/2) exp(-x'AMx / 2). The solution ranges over six orders of magnitude: the
network is for its logarithm, and the residual is relative to it.
"""

import torch
from torch import Tensor

import hollowpde as hp

DIM, KAPPA = 100, 1.0
NEXT = torch.diag(torch.ones(DIM - 1, dtype=torch.float64), 1)
A = 0.05 * (torch.eye(DIM, dtype=torch.float64) + 0.45 * (NEXT + NEXT.T))
RATES, MODES = torch.linalg.eigh(A)


class Exponent(hp.Field):
    """-x'Ax / 2, whose derivatives need no differentiation."""

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        slope = -(x @ A.to(x))
        bend = -A.diagonal().to(x).expand_as(x)
        zero = [torch.zeros_like(x)] * (order - 2)
        return (0.5 * (x * slope).sum(-1), slope, bend, *zero)[: order + 1]


def exact(t: Tensor, x: Tensor) -> Tensor:
    spread = 1 + 2 * KAPPA * t.unsqueeze(-1) * RATES.to(x)
    exponent = RATES.to(x) / spread * (x @ MODES.to(x)).square() + spread.log()
    return torch.exp(-0.5 * exponent.sum(-1))


def residual(u: hp.Jet, t: Tensor, x: Tensor) -> Tensor:
    return (u.dt - KAPPA * u.laplacian) / u.value


def somewhere(n: int, generator: torch.Generator) -> Tensor:
    """From the middle of the Gaussian to its flanks."""
    z = torch.randn(n, DIM, generator=generator, dtype=torch.float64)
    return 1.5 * torch.rand(n, 1, generator=generator, dtype=torch.float64) * z


hp.register(
    hp.PDEProblem(
        name="heat_100d",
        residual=residual,
        domain=hp.Space(DIM, width=1.0),
        time=(0.0, 1.0),
        conditions={"start": hp.Initial(hp.nets.ExponentialField(Exponent()))},
        field=hp.Exponential(hp.Ridge(hidden=(128,))),
        sampler=hp.BrownianLaw(start=somewhere, diffusivity=KAPPA, backward=True),
        exact=exact,
        solve=hp.Solve(
            interior=500,
            refresh=2,
            adam=hp.Adam(steps=6000, lr=0.005),
            gauss_newton=hp.GaussNewton(steps=0),
        ),
    )
)
