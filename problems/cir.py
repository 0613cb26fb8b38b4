"""The Cox-Ingersoll-Ross process, dX = 1.5 (1 - X) dt + 0.6 sqrt(X) dW, observed rarely."""

import torch
import torchsde
from torch import Tensor

import hollowpde as hp


class CoxIngersollRoss(torchsde.SDEIto):
    def f(self, t: Tensor, y: Tensor) -> Tensor:
        return 1.5 * (1 - y)

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        return 0.6 * y.clamp(min=0).sqrt()  # a step of the solver may end below zero


def start(paths: int, generator: torch.Generator) -> Tensor:
    return 2 * torch.exp(0.15 * torch.randn(paths, 1, generator=generator))


truth = CoxIngersollRoss(noise_type="diagonal")

hp.register(
    hp.SDEProblem(
        name="cir",
        truth=truth,
        data=hp.Simulated(truth, start, times=torch.linspace(0, 2, 5), paths=1000),
    )
)
