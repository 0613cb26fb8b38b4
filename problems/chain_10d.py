"""A ring of ten coupled double wells, whose noise is strongest between the wells.

dX_i = (X_i - X_i^3 + (X_{i-1} + X_{i+1} - 2 X_i) / 2) dt + sqrt(0.2 + 0.3 / (1 + X_i^2)) dW_i
"""

import torch
import torchsde
from torch import Tensor

import hollowpde as hp


class Chain(torchsde.SDEIto):
    def f(self, t: Tensor, y: Tensor) -> Tensor:
        return y - y**3 + 0.5 * (y.roll(1, -1) + y.roll(-1, -1) - 2 * y)

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        return torch.sqrt(0.2 + 0.3 / (1 + y**2))


def start(paths: int, generator: torch.Generator) -> Tensor:
    return 0.8 + 0.4 * torch.randn(paths, 10, generator=generator)


truth = Chain(noise_type="diagonal")

hp.register(
    hp.SDEProblem(
        name="chain_10d",
        truth=truth,
        data=hp.Simulated(truth, start, times=torch.linspace(0, 2, 41), paths=1000),
    )
)
