"""An underdamped particle in a double well: dX = V dt, dV = (X - X^3 - V) dt + 0.7 dW."""

import torch
import torchsde
from torch import Tensor

import hollowpde as hp


class Langevin(torchsde.SDEIto):
    def f(self, t: Tensor, y: Tensor) -> Tensor:
        x, v = y.unbind(-1)
        return torch.stack([v, x - x**3 - v], dim=-1)

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        return torch.tensor([0.0, 0.7]).to(y).expand_as(y)


def start(paths: int, generator: torch.Generator) -> Tensor:
    return torch.tensor([0.2, 0.0]) + 0.5 * torch.randn(paths, 2, generator=generator)


truth = Langevin(noise_type="diagonal")

hp.register(
    hp.SDEProblem(
        name="langevin",
        truth=truth,
        data=hp.Simulated(truth, start, times=torch.linspace(0, 3, 31), paths=1000),
        noiseless=("x1",),
    )
)
