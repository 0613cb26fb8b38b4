"""A particle in a double well, dX = (X - X^3) dt + 0.7 dW, observed rarely."""

import torch
import torchsde
from torch import Tensor

import hollowpde as hp


class DoubleWell(torchsde.SDEIto):
    def f(self, t: Tensor, y: Tensor) -> Tensor:
        return y - y**3

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        return 0.7 * torch.ones_like(y)


def start(paths: int, generator: torch.Generator) -> Tensor:
    return 0.2 + 0.3 * torch.randn(paths, 1, generator=generator)


truth = DoubleWell(noise_type="diagonal")

hp.register(
    hp.SDEProblem(
        name="double_well",
        truth=truth,
        data=hp.Simulated(truth, start, times=torch.linspace(0, 2, 11), paths=1000),
    )
)

# The same process, of which no particle is seen twice.
hp.register(
    hp.SDEProblem(
        name="double_well_unpaired",
        truth=truth,
        data=hp.Simulated(truth, start, times=torch.linspace(0, 3, 15), paths=5000, paired=False),
    )
)
