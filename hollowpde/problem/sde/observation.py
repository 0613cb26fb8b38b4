"""Observation noise: what is seen is the state and something more."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hollowpde.data import Pairs
from hollowpde.densities import Density
from hollowpde.errors import InputError

# Of the variance of increments, the least that noise starts with.
_LEAST_SHARE = 0.02
# Of which one is drawn, when a state is drawn given what is seen of it.
_CANDIDATES = 64


@dataclass(frozen=True)
class ObservationNoise:
    r"""Independent normal noise of the observations, `y = x + N(0, sd^2)`.

    Where data are positive, the noise is that of their logarithms.

    Arguments:
        sd: its standard deviation, in the user's units, one number or one for each coordinate; 0
            if observations are exact, None if it is to be fitted.
        window: how many transitions of a path are filtered at a time.
        lead: how many before them are filtered too, to forget how the window starts.

    Example:
        >>> data = hp.Trajectories.from_dense(torch.arange(9.0), torch.randn(20, 9, 1))
        >>> problem = hp.SDEProblem(
        ...     name="seen", data=data, observation=hp.ObservationNoise(sd=0.1)
        ... )
    """

    sd: float | tuple[float, ...] | None = 0.0
    window: int = 6
    lead: int = 2

    def __post_init__(self) -> None:
        if not (self._given and all(map(_is_size, self._given))):
            raise InputError(
                "sd must be a number, a tuple of numbers or None, none negative, all finite, but "
                f"is {self.sd!r}."
            )
        if 0 in self._given and any(self._given):
            raise InputError(
                f"sd must be positive in every coordinate or zero in every one, but is {self.sd}: "
                "give coordinates that are exact a small noise."
            )
        if self.window < 1 or self.lead < 0:
            raise InputError(
                "window must be at least 1 and lead not negative, but they are "
                f"{self.window} and {self.lead}."
            )

    def __bool__(self) -> bool:
        return self.sd is None or any(self._given)

    def build(self, dim: int) -> NoiseLevel | None:
        """The noise as a part of a model, or none."""
        if not self:
            return None
        if self.sd is not None and len(self._given) not in (1, dim):
            raise InputError(
                f"sd must be one number, or one for each of {dim} coordinates, but is {self.sd}."
            )
        return NoiseLevel(dim, None if self.sd is None else self._given)

    @property
    def _given(self) -> tuple[float, ...]:
        if isinstance(self.sd, tuple):
            return self.sd
        return (0.0 if self.sd is None else self.sd,)


def _is_size(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value >= 0


class NoiseLevel(nn.Module):
    """The standard deviation of the noise, in standardised units, given or to be fitted."""

    def __init__(self, dim: int, given: tuple[float, ...] | None) -> None:
        super().__init__()
        self.given = given
        self.log_sd = nn.Parameter(torch.zeros(dim), requires_grad=given is None)

    @property
    def sd(self) -> Tensor:
        return self.log_sd.exp()

    @property
    def variance(self) -> Tensor:
        return (2 * self.log_sd).exp()

    @torch.no_grad()
    def start_from(self, pairs: Pairs, scale: Tensor) -> None:
        """What is given, or else what increments show that take each other back.

        Noise of one observation is in the increment before it and, with the other sign, in that
        after it: their covariance is `-sd^2`.
        """
        if self.given is not None:
            self.log_sd.copy_((torch.tensor(self.given).to(scale) / scale).log())
            return
        increment = pairs.x_next - pairs.x
        adjacent = pairs.path[1:] == pairs.path[:-1]
        products = (increment[1:] * increment[:-1])[adjacent]
        taken_back = -products.mean(0) if len(products) else torch.zeros_like(increment[0])
        least = _LEAST_SHARE * increment.square().mean(0)
        self.log_sd.copy_(torch.maximum(taken_back, least).log() / 2)


@dataclass(frozen=True)
class Observation:
    """The noise that was given or fitted, in the user's units.

    Arguments:
        sd: standard deviations `(d,)`; of the logarithms of positive coordinates.
        positive: which coordinates are positive, `(d,)`.
    """

    sd: Tensor
    positive: Tensor

    def seen(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """States `(..., d)` as they are observed."""
        noise = self.sd * torch.randn(x.shape, dtype=self.sd.dtype, generator=generator)
        return torch.where(self.positive, x * noise.exp(), x + noise).to(x)

    def state(self, density: Density, t: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """States drawn given what is observed of them, y `(n, d)` at t `(n,)`, and their density.

        By resampling: one of several that may have been seen so, by its prior probability.

        Source:
            Rubin, Using the SIR algorithm to simulate posterior distributions (1988).
        """
        x = self.seen(y.expand(_CANDIDATES, *y.shape), generator)
        log_prior = density.log_prob(t.expand(x.shape[:-1]), x)
        # Candidates of positive coordinates have a density of 1 / x with respect to x.
        log_prior = log_prior + torch.where(self.positive, x.log(), 0.0).sum(-1)
        weight = log_prior.softmax(0).T  # (n, candidates)
        chosen = torch.multinomial(weight, 1, generator=generator).T
        return x.gather(0, chosen.unsqueeze(-1).expand(1, *y.shape))[0]
