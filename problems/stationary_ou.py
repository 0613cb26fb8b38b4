"""Snapshots of a steady state: dX = -X dt + 0.7 dW, started in equilibrium.

A process that runs twice as fast looks the same, so drift and diffusion are refused, and the ratio
of the two is given.
"""

import torch
import torchsde
from torch import Tensor

import hollowpde as hp


class OU(torchsde.SDEIto):
    def f(self, t: Tensor, y: Tensor) -> Tensor:
        return -y

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        return 0.7 * torch.ones_like(y)


def start(paths: int, generator: torch.Generator) -> Tensor:
    return 0.245**0.5 * torch.randn(paths, 1, generator=generator)


truth = OU(noise_type="diagonal")

hp.register(
    hp.SDEProblem(
        name="stationary_ou",
        truth=truth,
        data=hp.Simulated(truth, start, times=torch.linspace(0, 2, 15), paths=5000, paired=False),
    )
)
