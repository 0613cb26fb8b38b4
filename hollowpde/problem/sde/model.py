"""The model of an SDE problem, in standardised units, and what it says in the user's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from hollowpde.data import Logarithms, Pairs, Standardisation
from hollowpde.densities import Density, FromLogDensity, GaussianMixture
from hollowpde.nets import ConstantField, FromFunction, FromLogDiffusion, FromLogDrift, LinearField
from hollowpde.nets.wrappers import Scaled
from hollowpde.operators.field import Field, as_time
from hollowpde.problem.sde.ensemble import Ensemble
from hollowpde.problem.sde.forms import Form, Place, has_constant
from hollowpde.problem.sde.observation import NoiseLevel, Observation, ObservationNoise
from hollowpde.problem.sde.units import PhysicalField

# Of the quadratic variation, the least that is not taken for noise of the observations.
_LEAST_REST = 0.1


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
        fitted = torch.linalg.lstsq(design * weight, increment).solution
        linear = (design @ fitted).square().mean(0).sqrt()
        size = torch.maximum(linear, diffusion / 2)
        _scale(self.drift, size)
        for part in self.drift.modules():
            if isinstance(part, LinearField):
                part.b.copy_(fitted[0] / size)
                part.A.copy_(fitted[1:].T / size.unsqueeze(1))
        self._start_diffusion(diffusion)

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
        return [p for p in self.parameters() if p.requires_grad and id(p) not in free]


def _scale(field: Field, scale: Tensor) -> None:
    for part in field.modules():
        if isinstance(part, Scaled):
            part.scale.copy_(scale)


class SDEModel(nn.Module):
    """Candidates of drift and squared diffusion, and of the density, and what was chosen.

    Of each diffusion there are as many pairs of coefficients as ridges to fit with. `chosen` is
    which pair was chosen, `likelihood` which transition likelihood, both counted from 0 and -1
    before the choice; `kinds` which diffusion each member has, -1 before it has begun;
    `components` is the size of the density, 0 before the choice.
    """

    chosen: Tensor
    likelihood: Tensor
    components: Tensor
    kinds: Tensor
    noisy: Tensor

    def __init__(
        self,
        place: Place,
        drift: Form,
        diffusions: Sequence[Form],
        candidates: tuple[int, ...],
        ridges: int,
        members: int,
        observation: ObservationNoise,
    ) -> None:
        super().__init__()
        self.place = place
        self.standardisation = place.units
        self.ridges = ridges

        self.coefficients = nn.ModuleList(
            Coefficients(place, drift, D, observation) for D in diffusions for _ in range(ridges)
        )
        self.densities = nn.ModuleDict({str(k): GaussianMixture(place.dim, k) for k in candidates})
        # Each with a diffusion of its own choice: the choice is uncertain too.
        self.members = nn.ModuleList(
            nn.ModuleList(Coefficients(place, drift, D, observation) for D in diffusions)
            for _ in range(members)
        )
        self.register_buffer("kinds", torch.full((members,), -1, dtype=torch.long))
        none = torch.full((), -1, dtype=torch.long)
        self.register_buffer("chosen", none.clone())
        self.register_buffer("likelihood", none.clone())
        self.register_buffer("components", torch.zeros((), dtype=torch.long))
        # By name in the declaration; kept, so that a model is restored without the data.
        self.register_buffer("noisy", torch.tensor(place.noisy))

    def pair(self, k: int) -> Coefficients:
        """A candidate of drift and diffusion."""
        return _coefficients(self.coefficients, k)

    @property
    def best(self) -> Coefficients:
        """The drift and diffusion that were chosen, or else the first."""
        return self.pair(max(0, int(self.chosen)))

    def member(self, k: int) -> Coefficients:
        """A member of the ensemble, with the diffusion that it has chosen."""
        return _coefficients(self.members[k], int(self.kinds[k]))

    @property
    def begun(self) -> int:
        """How many members have been given a start."""
        return int((self.kinds >= 0).sum())

    @property
    def drift(self) -> Field:
        return self.best.drift

    @property
    def diffusion(self) -> Field:
        return self.best.diffusion

    @property
    def noise(self) -> NoiseLevel | None:
        """The noise of the observations, if they are not exact."""
        return self.best.noise

    @property
    def density(self) -> GaussianMixture:
        """The density that was chosen."""
        return self.candidate(int(self.components))

    def candidate(self, components: int) -> GaussianMixture:
        density = self.densities[str(components)]
        if not isinstance(density, GaussianMixture):
            raise TypeError("candidates are mixtures")
        return density


def _coefficients(kinds: nn.Module, k: int) -> Coefficients:
    pair = kinds[k] if isinstance(kinds, nn.ModuleList) else None
    if not isinstance(pair, Coefficients):
        raise TypeError("candidates are coefficients")
    return pair


class PhysicalDensity(Density):
    """A density of standardised units in the user's, normalised there; inputs as arrays too."""

    def __init__(self, density: GaussianMixture, units: Standardisation) -> None:
        super().__init__()
        self.density, self.units = density, units

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        value, *rest = self._scaled(self.density.dimwise(*self._standard(t, x), order))
        value = value - self.units.scale.log().sum()
        return value.to(x), *(v.to(x) for v in rest)

    def in_time(
        self, t: Tensor, x: Tensor, order: int
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        values, slopes = self.density.in_time(*self._standard(as_time(t, x), x), order)
        value, *rest = self._scaled(values)
        value = value - self.units.scale.log().sum()
        rates = (v / self.units.t_scale for v in self._scaled(slopes))
        return (value.to(x), *(v.to(x) for v in rest)), tuple(v.to(x) for v in rates)

    def _scaled(self, values: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The value, and derivatives with respect to x in the user's units."""
        value, *rest = values
        return value, *(v / self.units.scale**k for k, v in enumerate(rest, start=1))

    def log_prob(self, t: Tensor | float | np.ndarray, x: Tensor | np.ndarray) -> Tensor:
        return super().log_prob(*_tensors(t, x))

    def score(self, t: Tensor | float | np.ndarray, x: Tensor | np.ndarray) -> Tensor:
        return super().score(*_tensors(t, x))

    def marginal_log_prob(self, t: Tensor | float, x: Tensor) -> Tensor:
        """log p_j(t, x_j) of each coordinate alone, `(..., d)`."""
        inner = self.density.marginal_log_prob(*self._standard(as_time(t, x), x))
        return (inner - self.units.scale.log()).to(x)

    @property
    def interval(self) -> tuple[float, float]:
        """The first and the last time of the data that it was fitted to."""
        centre, half = float(self.units.t_shift), float(self.units.t_scale)
        return centre - half, centre + half

    def sample(
        self, t: Tensor | float, n: int, generator: torch.Generator | None = None
    ) -> Tensor:
        dtype = self._dtype
        tau = self.units.time(torch.as_tensor(t, dtype=torch.float64), dtype)
        z = self.density.sample(tau, n, generator)
        return (z.to(self.units.scale) * self.units.scale + self.units.shift).to(dtype)

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.density.parameters()).dtype

    def _standard(self, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        dtype = self._dtype
        return self.units.time(t, dtype), self.units.state(x, dtype)


class PositiveDensity(FromLogDensity):
    """A density of which some coordinates are positive, from that of their logarithms."""

    density: PhysicalDensity

    def __init__(self, density: PhysicalDensity, positive: Sequence[bool]) -> None:
        super().__init__(density, positive)

    def log_prob(self, t: Tensor | float | np.ndarray, x: Tensor | np.ndarray) -> Tensor:
        return super().log_prob(*_tensors(t, x))

    def score(self, t: Tensor | float | np.ndarray, x: Tensor | np.ndarray) -> Tensor:
        return super().score(*_tensors(t, x))

    def marginal_log_prob(self, t: Tensor | float, x: Tensor) -> Tensor:
        """log p_j(t, x_j) of each coordinate alone, `(..., d)`; -inf outside of its support."""
        inside = ~self.positive | (x > 0)
        log = torch.where(self.positive & inside, x, torch.ones_like(x)).log()
        inner = self.density.marginal_log_prob(t, torch.where(self.positive, log, x)) - log
        return torch.where(inside, inner, torch.full_like(inner, -torch.inf))

    @property
    def interval(self) -> tuple[float, float]:
        """The first and the last time of the data that it was fitted to."""
        return self.density.interval


class FittedSDE(nn.Module):
    """The fitted SDE `dX = f dt + g dW` in the torchsde protocol; t a scalar or batched.

    `drift` and `diffusion` (D = g^2) are fields, with exact derivatives. Where data are positive,
    `logarithms` is what to simulate, so that paths stay positive.
    """

    noise_type = "diagonal"
    sde_type = "ito"

    def __init__(
        self, drift: Field, diffusion: Field, logarithms: Logarithms | None = None
    ) -> None:
        super().__init__()
        self.drift, self.diffusion, self.logarithms = drift, diffusion, logarithms

    def f(self, t: Tensor | float, y: Tensor) -> Tensor:
        """The drift, in the shape of y `(..., d)`."""
        return self.drift(t, y)

    def g(self, t: Tensor | float, y: Tensor) -> Tensor:
        """The diffusion, in the shape of y `(..., d)`."""
        return self.diffusion(t, y).sqrt()


class LearnedSDE:
    """What an SDE fit has learned, in the user's units.

    `sde` and `density`; `parameters`, by name, of the user's own modules; `observation`, the noise
    of the observations, if there is any; `ensemble`, if one was fitted.
    """

    density: PhysicalDensity | PositiveDensity

    def __init__(self, model: SDEModel) -> None:
        place = model.place
        density = PhysicalDensity(model.density, place.units)
        self.density = PositiveDensity(density, place.positive) if any(place.positive) else density
        self.sde = _fitted(model.best, place)
        self.parameters = named_parameters(model.best, place)
        self.observation = (
            None
            if model.noise is None
            else Observation(
                (model.noise.sd * place.units.scale).detach(), torch.tensor(place.positive)
            )
        )
        members = [model.member(k) for k in range(model.begun)]
        self.ensemble = (
            Ensemble(
                self.sde,
                [_fitted(pair, place) for pair in members],
                (self.parameters, [named_parameters(pair, place) for pair in members]),
            )
            if members
            else None
        )


def _fitted(pair: Coefficients, place: Place) -> FittedSDE:
    drift: Field = PhysicalField(pair.drift, place.units, power=1)
    diffusion: Field = PhysicalField(pair.diffusion, place.units, power=2)
    if not any(place.positive):
        return FittedSDE(drift, diffusion)
    logarithms = Logarithms(FittedSDE(drift, diffusion), torch.tensor(place.positive))
    drift = FromLogDrift(drift, diffusion, place.positive)
    diffusion = FromLogDiffusion(diffusion, place.positive)
    return FittedSDE(drift, diffusion, logarithms)


def named_parameters(pair: Coefficients, place: Place) -> dict[str, Tensor]:
    """The parameters of the user's own modules, as `drift.name` or `diffusion.name`.

    And `observation.sd`, in the user's units, where it was fitted.
    """
    named: dict[str, Tensor] = {}
    for role, field in (("drift", pair.drift), ("diffusion", pair.diffusion)):
        for module in field.modules():
            if isinstance(module, FromFunction) and isinstance(module.function, nn.Module):
                for name, parameter in module.function.named_parameters():
                    if parameter.requires_grad:
                        named[f"{role}.{name}"] = parameter
    if pair.noise is not None and pair.noise.given is None:
        named["observation.sd"] = (pair.noise.sd * place.units.scale).detach()
    return named


def _tensors(
    t: Tensor | float | np.ndarray, x: Tensor | np.ndarray
) -> tuple[Tensor | float, Tensor]:
    points = x if isinstance(x, Tensor) else torch.as_tensor(np.ascontiguousarray(x))
    if not points.is_floating_point():
        points = points.to(torch.get_default_dtype())
    return (t if isinstance(t, float | int) else torch.as_tensor(t)), points
