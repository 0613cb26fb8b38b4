"""An Ornstein-Uhlenbeck process on a ring of 50 sites, each drawn towards its neighbours.

dX_i = (-X_i + (X_{i-1} + X_{i+1} - 2 X_i) / 2) dt + 0.7 dW_i
"""

import torch
import torchsde
from torch import Tensor

import hollowpde as hp


class Ring(torchsde.SDEIto):
    def f(self, t: Tensor, y: Tensor) -> Tensor:
        return -y + 0.5 * (y.roll(1, -1) + y.roll(-1, -1) - 2 * y)

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        return 0.7 * torch.ones_like(y)


def start(paths: int, generator: torch.Generator) -> Tensor:
    return 1 + 0.4 * torch.randn(paths, 50, generator=generator)


truth = Ring(noise_type="diagonal")

# In many dimensions the cheapest transformer, and batches instead of all pairs at once: the time
# of a step grows far less than the number of dimensions.
light = hp.Linear(plus=hp.Hollow(hp.MaskedMLP(hidden=(32, 32), features=6), hp.AffineGate()))

hp.register(
    hp.SDEProblem(
        name="ou_50d",
        truth=truth,
        drift=light,
        diffusion=(light, hp.Linear(), hp.Constant()),
        transition=hp.TransitionFit(whole_pairs=0),
        data=hp.Simulated(truth, start, times=torch.linspace(0, 2, 21), paths=1000),
    )
)
