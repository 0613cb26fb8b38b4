"""Drift and squared diffusion, in standardised units, and where they start from."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

from hollowpde.data import Pairs
from hollowpde.nets import ConstantField, FromFunction, LinearField
from hollowpde.nets.wrappers import Scaled
from hollowpde.operators.field import Field
from hollowpde.problem.sde.forms import Form, Place, has_constant
from hollowpde.problem.sde.observation import NoiseLevel, ObservationNoise

# Of the quadratic variation, the least that is not taken for noise of the observations.
_LEAST_REST = 0.1
# Of the variance of the data, the most that is taken for noise when a linear drift is started.
_MOST_CORRECTED = 0.5


class Coefficients(nn.Module):
    """Drift and squared diffusion, as fields of standardised units; `begun` once given a start.

    And the noise of the observations, if they are not exact.
    """

    begun: Tensor

    def __init__(
        self, place: Place, drift: Form, diffusion: Form, observation: ObservationNoise
    ) -> None:
        super().__init__()
        self.diffusion = diffusion.diffusion(place)
        self.drift = drift.drift(place, self.diffusion)
        self.noise = observation.build(place.dim)
        self.register_buffer("begun", torch.tensor(False))

    @torch.no_grad()
    def start_from(self, pairs: Pairs, scale: Tensor) -> None:
        """Scale the networks so that outputs of order one are a drift and diffusion of the data.

        The diffusion starts at the quadratic variation per unit of time, less that of the noise,
        the drift at the size of the best linear one, and at least of one that would balance that
        diffusion; a linear drift starts as the best one. `scale` is what the data were divided by.
        """
        increment = pairs.x_next - pairs.x
        variation = increment.square().mean(0)
        diffusion = variation / pairs.step.mean()
        if self.noise is not None:
            self.noise.start_from(pairs, scale)
            rest = (variation - 2 * self.noise.variance).clamp(min=_LEAST_REST * variation)
            diffusion = rest / pairs.step.mean()
        design = torch.cat([torch.ones_like(pairs.x[:, :1]), pairs.x], dim=1)
        weight = pairs.step.unsqueeze(1)
        # Normal equations, less what noise adds to them on average: to x^2, and to x times the
        # increment from x on.
        square = (design * weight).T @ (design * weight)
        product = (design * weight).T @ increment
        if self.noise is not None:
            variance = self.noise.variance.clamp(max=_MOST_CORRECTED).to(square).diag()
            square[1:, 1:] -= weight.square().sum() * variance
            product[1:] += weight.sum() * variance
        fitted = torch.linalg.lstsq(square, product).solution
        linear = (design @ fitted).square().mean(0).sqrt()
        self._start_linear(fitted, torch.maximum(linear, diffusion / 2))
        self._start_diffusion(diffusion)

    @torch.no_grad()
    def start_from_linear(self, fitted: Tensor, diffusion: Tensor) -> None:
        """Start from the drift `[1, x] @ fitted`, `(1 + d, d)`, and a constant diffusion `(d,)`.

        Networks start at outputs of order one: what is not linear may be far larger than the best
        line, and a ridge then means the same for all data.
        """
        self._start_linear(fitted, torch.ones_like(diffusion))
        self._start_diffusion(diffusion)

    def _start_linear(self, fitted: Tensor, size: Tensor) -> None:
        """Scale the drift to a size `(d,)`; what is linear in it starts as `[1, x] @ fitted`."""
        _scale(self.drift, size)
        for scaled in self.drift.modules():
            if not isinstance(scaled, Scaled):
                continue
            for part in scaled.modules():
                if isinstance(part, LinearField):
                    part.b.copy_(fitted[0] / scaled.scale)
                    part.A.copy_(fitted[1:].T / scaled.scale.unsqueeze(1))

    @torch.no_grad()
    def start_from_fit(self, other: Coefficients, pairs: Pairs) -> None:
        """Start from another candidate: its drift, and its mean diffusion over the data."""
        mean = other.diffusion(pairs.t, pairs.x).mean(0)
        self._start_diffusion(mean)
        own = self.drift.state_dict()
        given = other.drift.state_dict()
        # A known drift of positive data holds the diffusion, which differs.
        same = {k: v for k, v in given.items() if k in own and v.shape == own[k].shape}
        self.drift.load_state_dict(own | same)
        if self.noise is not None and other.noise is not None:
            self.noise.load_state_dict(other.noise.state_dict())

    def sped_up(self, factor: float) -> Coefficients:
        """Those of the same process run so many times as fast."""
        other = copy.deepcopy(self)
        for role in ("drift", "diffusion"):
            field = getattr(other, role)
            like = next(field.parameters(), torch.empty(0))
            setattr(other, role, Scaled(field, torch.full((1,), factor).to(like)))
        return other

    def _start_diffusion(self, mean: Tensor) -> None:
        """Start from a diffusion of this mean: constant, where a constant can hold it."""
        if not has_constant(self.diffusion):
            # softplus(0) = log 2 is where networks start.
            _scale(self.diffusion, mean / np.log(2))
            return
        _scale(self.diffusion, mean)
        for part in self.diffusion.modules():
            if isinstance(part, ConstantField):
                part.c.fill_(1.0)
            elif isinstance(part, LinearField):
                part.b.fill_(1.0)

    @property
    def size(self) -> int:
        """How many numbers are fitted."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    @property
    def weights(self) -> list[Tensor]:
        """What a ridge keeps small: the networks, not what is linear, constant or the user's."""
        free = {
            id(p)
            for part in self.modules()
            if isinstance(part, LinearField | ConstantField | FromFunction | NoiseLevel)
            for p in part.parameters()
        }
        return [p for p in self.parameters() if id(p) not in free]


def _scale(field: Field, scale: Tensor) -> None:
    for part in field.modules():
        if isinstance(part, Scaled):
            part.resize(scale)
