"""A population in a double well of the plane, seen at 15 times; no particle is seen twice.

dX1 = (X1 - X1^3 - X2 / 2) dt + 0.7 dW1, dX2 = -(X2 + X1 / 2) dt + 0.6 dW2
"""

import torch
import torchsde
from torch import Tensor

import hollowpde as hp


class DoubleWell(torchsde.SDEIto):
    def f(self, t: Tensor, y: Tensor) -> Tensor:
        x1, x2 = y.unbind(-1)
        return torch.stack([x1 - x1**3 - x2 / 2, -x2 - x1 / 2], dim=-1)

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        return torch.tensor([0.7, 0.6]).to(y).expand_as(y)


def start(paths: int, generator: torch.Generator) -> Tensor:
    return torch.tensor([0.0, 1.0]) + 0.3 * torch.randn(paths, 2, generator=generator)


truth = DoubleWell(noise_type="diagonal")

hp.register(
    hp.SDEProblem(
        name="double_well_2d",
        truth=truth,
        data=hp.Simulated(truth, start, times=torch.linspace(0, 3, 15), paths=5000, paired=False),
    )
)
