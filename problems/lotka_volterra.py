"""Prey and predators, dX = X (2/3 - 4/3 Y) dt + 0.2 X dW1, dY = Y (X - 1) dt + 0.2 Y dW2."""

import torch
import torchsde
from torch import Tensor

import hollowpde as hp


class LotkaVolterra(torchsde.SDEIto):
    def f(self, t: Tensor, y: Tensor) -> Tensor:
        prey, predators = y.unbind(-1)
        return torch.stack([prey * (2 / 3 - 4 / 3 * predators), predators * (prey - 1)], dim=-1)

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        return 0.2 * y


def start(paths: int, generator: torch.Generator) -> Tensor:
    return torch.exp(0.3 * torch.randn(paths, 2, generator=generator))


truth = LotkaVolterra(noise_type="diagonal")

hp.register(
    hp.SDEProblem(
        name="lotka_volterra",
        truth=truth,
        data=hp.Simulated(truth, start, times=torch.linspace(0, 4, 21), paths=1000),
        support="positive",
    )
)
