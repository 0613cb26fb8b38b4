"""A rotation that no snapshot shows: dX = A X dt + g dW, started round about the origin.

The marginals are round at all times, whether the plane turns or not: the fit warns of it.
"""

import torch
import torchsde
from torch import Tensor

import hollowpde as hp

A = torch.tensor([[-1.0, 1.5], [-1.5, -1.0]])


class Rotation(torchsde.SDEIto):
    def f(self, t: Tensor, y: Tensor) -> Tensor:
        return y @ A.to(y).T

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        return 0.5**0.5 * torch.ones_like(y)


def start(paths: int, generator: torch.Generator) -> Tensor:
    return 1.2 * torch.randn(paths, 2, generator=generator)


truth = Rotation(noise_type="diagonal")

hp.register(
    hp.SDEProblem(
        name="rotating_ou",
        truth=truth,
        data=hp.Simulated(truth, start, times=torch.linspace(0, 2, 15), paths=5000, paired=False),
    )
)
