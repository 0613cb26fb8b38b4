"""The VIX, 2014 to 2019, as mean reversion of its logarithm: dX = speed (level - X) dt + s dW.

X is the logarithm of the closing value, one long path; time is in years of 252 trading days.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

import hollowpde as hp


@dataclass(frozen=True)
class LogVIX:
    """Logarithms of the closing values that the package `arch` brings, without holidays."""

    days: int = 252  # in a year

    def load(self) -> hp.Trajectories:
        try:
            from arch.data import vix
        except ImportError as error:
            raise hp.InputError(
                "data: the VIX comes with the package arch: pip install 'hollowpde[data]'."
            ) from error
        x = torch.tensor(vix.load()["vix"].dropna().to_numpy()).log()
        t = torch.arange(len(x), dtype=torch.float64) / self.days
        return hp.Trajectories(
            t, x.unsqueeze(1), torch.zeros(len(x), dtype=torch.long), ("log_vix",)
        )


class Reversion(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.tensor(3.0))  # a VIX of 20
        self.speed = nn.Parameter(torch.tensor(10.0))  # per year

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return self.speed * (self.level - x)


class Volatility(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.volatility = nn.Parameter(torch.tensor(1.0))  # s, per square root of a year

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return self.volatility**2 * torch.ones_like(x)


hp.register(
    hp.SDEProblem(
        name="vix",
        data=LogVIX(),
        drift=hp.Parametric(Reversion()),
        diffusion=hp.Parametric(Volatility()),
        uncertainty=hp.Bootstrap(members=32),
    )
)
