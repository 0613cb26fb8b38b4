"""An ensemble of fits, and the bands that it makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from scipy import stats
from torch import Tensor

from hollowpde.errors import InputError
from hollowpde.operators.field import Field

if TYPE_CHECKING:
    from hollowpde.problem.sde.learned import FittedSDE


class Ensemble:
    r"""Members of a bootstrap around a fit, and the bands that they make.

    A band is `fit +- t s`, s the standard deviation over the members and t the quantile of
    Student's distribution; of the diffusion, on the scale of its logarithm.

    Arguments:
        centre: the fit.
        members: fitted to resampled paths.
        parameters: named ones, of the fit and of each member.
    """

    def __init__(
        self,
        centre: FittedSDE,
        members: Sequence[FittedSDE],
        parameters: tuple[Mapping[str, Tensor], Sequence[Mapping[str, Tensor]]],
    ) -> None:
        self.centre, self.members, self.parameters = centre, members, parameters

    def __len__(self) -> int:
        return len(self.members)

    def drift(self, t: Tensor | float, x: Tensor, level: float = 0.9) -> tuple[Tensor, Tensor]:
        """The band of the drift at points x `(..., d)`: its lower and upper end."""
        return self._band([m.drift for m in self.members], self.centre.drift, t, x, level)

    def diffusion(self, t: Tensor | float, x: Tensor, level: float = 0.9) -> tuple[Tensor, Tensor]:
        """The band of the squared diffusion at points x `(..., d)`; positive throughout."""
        values = torch.stack([m.diffusion(t, x) for m in self.members])
        centre = self.centre.diffusion(t, x)
        tiny = torch.finfo(x.dtype).tiny
        spread = values.clamp(min=tiny).log().std(0) * self._quantile(level)
        return centre * (-spread).exp(), centre * spread.exp()

    def intervals(self, level: float = 0.9) -> dict[str, tuple[Tensor, Tensor]]:
        """The interval of each named parameter."""
        centre, members = self.parameters
        out = {}
        for name, value in centre.items():
            if not all(name in m for m in members):  # of a diffusion that some do not have
                continue
            spread = torch.stack([m[name] for m in members]).std(0) * self._quantile(level)
            out[name] = (value - spread, value + spread)
        return out

    def _band(
        self, fields: Sequence[Field], centre: Field, t: Tensor | float, x: Tensor, level: float
    ) -> tuple[Tensor, Tensor]:
        spread = torch.stack([field(t, x) for field in fields]).std(0) * self._quantile(level)
        middle = centre(t, x)
        return middle - spread, middle + spread

    def _quantile(self, level: float) -> float:
        if not 0 < level < 1:
            raise InputError(f"level must lie between 0 and 1, but is {level}.")
        return float(stats.t.ppf((1 + level) / 2, len(self.members) - 1))
