"""Geometric Brownian motion, dX = 0.3 X dt + 0.4 X dW: positive, with noise in proportion."""

import torch
import torchsde
from torch import Tensor

import hollowpde as hp


class GeometricBrownianMotion(torchsde.SDEIto):
    def f(self, t: Tensor, y: Tensor) -> Tensor:
        return 0.3 * y

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        return 0.4 * y


def start(paths: int, generator: torch.Generator) -> Tensor:
    return torch.exp(0.2 * torch.randn(paths, 1, generator=generator))


truth = GeometricBrownianMotion(noise_type="diagonal")

hp.register(
    hp.SDEProblem(
        name="gbm",
        truth=truth,
        data=hp.Simulated(truth, start, times=torch.linspace(0, 2, 11), paths=1000),
        support="positive",
    )
)
