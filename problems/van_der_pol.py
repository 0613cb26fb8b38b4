"""A noisy Van der Pol oscillator, observed rarely.

dX1 = X2 dt + 0.3 dW1, dX2 = ((1 - X1^2) X2 - X1) dt + 0.5 dW2
"""

import torch
import torchsde
from torch import Tensor

import hollowpde as hp


class VanDerPol(torchsde.SDEIto):
    def f(self, t: Tensor, y: Tensor) -> Tensor:
        x1, x2 = y.unbind(-1)
        return torch.stack([x2, (1 - x1**2) * x2 - x1], dim=-1)

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        return torch.tensor([0.3, 0.5]).to(y).expand_as(y)


def start(paths: int, generator: torch.Generator) -> Tensor:
    return torch.tensor([1.0, 0.0]) + 0.5 * torch.randn(paths, 2, generator=generator)


truth = VanDerPol(noise_type="diagonal")

hp.register(
    hp.SDEProblem(
        name="van_der_pol",
        truth=truth,
        data=hp.Simulated(truth, start, times=torch.linspace(0, 2, 5), paths=1000),
    )
)

# The same process, of which no particle is seen twice.
hp.register(
    hp.SDEProblem(
        name="van_der_pol_unpaired",
        truth=truth,
        data=hp.Simulated(truth, start, times=torch.linspace(0, 3, 15), paths=5000, paired=False),
    )
)
