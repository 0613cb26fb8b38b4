"""A rotating Ornstein-Uhlenbeck process in the plane, dX = A X dt + g dW, observed rarely."""

import torch
import torchsde
from torch import Tensor

import hollowpde as hp

A = torch.tensor([[-1.0, 0.8], [-0.8, -1.2]])


class Rotation(torchsde.SDEIto):
    def f(self, t: Tensor, y: Tensor) -> Tensor:
        return y @ A.to(y).T

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        return torch.tensor([0.5, 1.0]).to(y).expand_as(y)


def start(paths: int, generator: torch.Generator) -> Tensor:
    return torch.tensor([2.0, -1.0]) + 0.4 * torch.randn(paths, 2, generator=generator)


truth = Rotation(noise_type="diagonal")

hp.register(
    hp.SDEProblem(
        name="ou_2d",
        truth=truth,
        data=hp.Simulated(truth, start, times=torch.linspace(0, 2, 5), paths=1000),
    )
)

# The same process, of which no particle is seen twice.
hp.register(
    hp.SDEProblem(
        name="ou_2d_unpaired",
        truth=truth,
        data=hp.Simulated(truth, start, times=torch.linspace(0, 2, 15), paths=5000, paired=False),
        drift=hp.Linear(),
    )
)
