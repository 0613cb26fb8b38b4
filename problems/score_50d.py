"""The score grad log p(t, x) of an Ornstein-Uhlenbeck process on a ring of 50 sites.

dX_i = (-X_i + (X_{i-1} + X_{i+1} - 2 X_i) / 2) dt + 0.7 dW_i; the true p is normal, and Fourier
modes are independent of each other.
"""

import math

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


def score(t: Tensor, x: Tensor) -> Tensor:
    rate = 2 - torch.cos(2 * math.pi * torch.arange(50, dtype=x.dtype) / 50)
    past = torch.exp(-2 * rate * t)
    variance = 0.4**2 * past + 0.7**2 / (2 * rate) * (1 - past)
    return -torch.fft.ifft(torch.fft.fft(x - torch.exp(-t)) / variance).real


hp.register(
    hp.ScoreProblem(
        name="score_50d",
        truth=score,
        # In many dimensions the cheapest transformer: a step takes little longer than at d = 5.
        score=hp.Hollow(hp.MaskedMLP(hidden=(32, 32), features=6), hp.AffineGate()),
        data=hp.Simulated(
            Ring(noise_type="diagonal"), start, times=torch.linspace(0, 2, 21), paths=1000
        ),
    )
)
