"""The Ornstein-Uhlenbeck process dX = -X dt + 0.7 dW, started away from equilibrium."""

import torch
import torchsde
from torch import Tensor

import hollowpde as hp


class OrnsteinUhlenbeck(torchsde.SDEIto):
    def f(self, t: Tensor, y: Tensor) -> Tensor:
        return -y

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        return 0.7 * torch.ones_like(y)


def start(paths: int, generator: torch.Generator) -> Tensor:
    return 2.0 + 0.4 * torch.randn(paths, 1, generator=generator)


truth = OrnsteinUhlenbeck(noise_type="diagonal")

hp.register(
    hp.SDEProblem(
        name="ou_process",
        truth=truth,
        data=hp.Simulated(truth, start, times=torch.linspace(0, 2, 21), paths=4000),
    )
)
