"""Reversion to a mean that follows the seasons, dX = 4 (2 + cos(2 pi t) - X) dt + 0.5 dW."""

import math

import torch
import torchsde
from torch import Tensor

import hollowpde as hp


class Seasonal(torchsde.SDEIto):
    def f(self, t: Tensor, y: Tensor) -> Tensor:
        return 4 * (2 + torch.cos(2 * math.pi * t) - y)

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        return 0.5 * torch.ones_like(y)


def start(paths: int, generator: torch.Generator) -> Tensor:
    return 2 + 0.4 * torch.randn(paths, 1, generator=generator)


truth = Seasonal(noise_type="diagonal")

hp.register(
    hp.SDEProblem(
        name="seasonal_ou",
        truth=truth,
        data=hp.Simulated(truth, start, times=torch.linspace(0, 2, 41), paths=1000),
        autonomous=False,
    )
)
