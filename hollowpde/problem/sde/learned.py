"""What a fit has learned, in the user's units."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hollowpde.data import Logarithms
from hollowpde.errors import UnsupportedError
from hollowpde.nets import FromFunction, FromLogDiffusion, FromLogDrift
from hollowpde.operators.field import Field
from hollowpde.problem.sde.coefficients import Coefficients
from hollowpde.problem.sde.ensemble import Ensemble
from hollowpde.problem.sde.forms import Place
from hollowpde.problem.sde.model import SDEModel
from hollowpde.problem.sde.observation import Observation
from hollowpde.problem.sde.physical_density import PhysicalDensity, PositiveDensity
from hollowpde.problem.sde.units import PhysicalField


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
        self._sde = None if model.refused else _fitted(model.best, place)
        self.parameters = {} if model.refused else named_parameters(model.best, place)
        self.observation = (
            None
            if model.noise is None
            else Observation(
                (model.noise.sd * place.units.scale).detach().cpu(), torch.tensor(place.positive)
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

    @property
    def sde(self) -> FittedSDE:
        """The fitted SDE.

        Raises:
            UnsupportedError: the data do not tell what it is.
        """
        if self._sde is None:
            raise UnsupportedError(
                "drift and diffusion are not identified: the snapshots do not change through "
                "time. Only their ratio is known, run.drift_over_diffusion(t, x)."
            )
        return self._sde

    def drift_over_diffusion(self, t: Tensor | float, x: Tensor) -> Tensor:
        """What a steady state tells of an SDE of constant D: f / D = 1/2 grad log p, `(..., d)`.

        Of a process that is reversible, which on a line every one is.
        """
        return 0.5 * self.density.score(t, x)


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
