"""Forms: what is known of a drift or a squared diffusion before it is fitted."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from hollowpde.data import Standardisation
from hollowpde.errors import InputError
from hollowpde.nets import (
    Autonomous,
    ConstantField,
    FromLogDiffusion,
    Gradient,
    LinearField,
    Masked,
    Positive,
    Sum,
    SymmetricField,
    ToLogDiffusion,
    ToLogDrift,
    as_field,
)
from hollowpde.nets.wrappers import Scaled
from hollowpde.operators.field import Field
from hollowpde.operators.reference import FieldLike
from hollowpde.problem.sde.units import InUnits, PhysicalField

_SHARPNESS = 8.0


class NetworkSpec(Protocol):
    """The sizes of a network, built when the dimension is known: `Hollow`, `Linear`, ..."""

    def build(self, dim: int) -> Field: ...


@dataclass(frozen=True)
class Place:
    """Where a form stands: what it must know to become a field of standardised units.

    Arguments:
        units: the change of units, from the user's or, where data are positive, their logarithms.
        autonomous: networks do not depend on time.
        noisy: which dimensions have noise of their own.
        positive: of which dimensions the logarithm is taken.
    """

    units: Standardisation
    autonomous: bool
    noisy: tuple[bool, ...]
    positive: tuple[bool, ...]

    @property
    def dim(self) -> int:
        return len(self.noisy)

    def network(self, spec: NetworkSpec) -> Field:
        net = spec.build(self.dim)
        return Autonomous(net) if self.autonomous else net


def has_constant(field: Field) -> bool:
    """Whether a field has a constant part of its own."""
    return any(isinstance(part, ConstantField | LinearField) for part in field.modules())


class Form(ABC):
    """A drift or squared diffusion of which something is known."""

    @abstractmethod
    def drift(self, place: Place, diffusion: Field) -> Field:
        """A drift in standardised units; `diffusion` is the squared one, in these units too."""

    @abstractmethod
    def diffusion(self, place: Place) -> Field:
        """A squared diffusion in standardised units."""


@dataclass(frozen=True)
class Network(Form):
    """A network and nothing more; as a squared diffusion through a softplus."""

    spec: NetworkSpec

    def drift(self, place: Place, diffusion: Field) -> Field:
        return Scaled(place.network(self.spec), torch.ones(place.dim))

    def diffusion(self, place: Place) -> Field:
        net = place.network(self.spec)
        # Where a constant can hold the mean, D is what is inside of the softplus, but for values
        # far below the mean; elsewhere networks start at softplus(0).
        sharpness = _SHARPNESS if has_constant(net) else 1.0
        field = Scaled(Positive(net, sharpness=sharpness), torch.ones(place.dim))
        return field if all(place.noisy) else Masked(field, place.noisy)


@dataclass(frozen=True)
class Downhill(Network):
    """A drift that is a gradient in the user's units, or those of the logarithms taken.

    A quadratic form is added to the potential: where data say little the fit falls back to it, and
    it can start as the best one.
    """

    spec: Gradient

    def drift(self, place: Place, diffusion: Field) -> Field:
        field = Sum(SymmetricField(place.dim), place.network(self.spec))
        return DownhillField(field, place.units)


class DownhillField(Scaled):
    r"""`-grad U` by x as a drift of z, `z_i = (x_i - shift_i) / scale_i`.

    $$ f_i = - a \, scale_i^{-2} \, \partial_{z_i} U $$

    The factors of a gradient are not free: but for one number a they follow from the units.
    """

    def __init__(self, field: Field, units: Standardisation) -> None:
        super().__init__(field, torch.ones(len(units.scale)))
        self.units = units

    def resize(self, size: Tensor) -> None:
        factors = self.units.scale.to(self.scale) ** -2
        # A mean that a coordinate at rest in all paths does not take to nothing.
        self.scale.copy_(factors * (size / factors).mean())


def downhill_part(drift: Field) -> DownhillField | None:
    """The gradient that is all there is to be fitted of a drift, if there is such a one."""
    parts = list(drift.fields) if isinstance(drift, Sum) else [drift]
    free = [part for part in parts if any(p.requires_grad for p in part.parameters())]
    match free:
        case [DownhillField() as part]:
            return part
    return None


@dataclass(frozen=True, eq=False)
class Parametric(Form):
    """A drift or squared diffusion of the user's own, in the user's units, to be fitted.

    Called as `module(t, y)`, y `(n, d)` and t `(n, 1)`; returns `(n, d)`: the drift f, or the
    squared diffusion D = g^2 > 0. Its parameters are fitted and reported under their names; they
    start from the values that the module has, which are left as they are. Parameters should be
    of order one, or entered as logarithms: they are all moved at one learning rate.

    Example:
        >>> class MeanReversion(torch.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.level, self.speed = (torch.nn.Parameter(torch.ones(1)) for _ in "ab")
        ...     def forward(self, t, y):
        ...         return self.speed * (self.level - y)
        >>> data = hp.Trajectories.from_dense(torch.arange(3.0), torch.randn(10, 3, 1))
        >>> problem = hp.SDEProblem(name="x", data=data, drift=hp.Parametric(MeanReversion()))
    """

    module: nn.Module

    def __post_init__(self) -> None:
        if not isinstance(self.module, nn.Module):
            raise InputError(
                f"module must be a torch.nn.Module, but is a {type(self.module).__name__}: use "
                "hp.Known(...) for a function without parameters to be fitted."
            )

    def drift(self, place: Place, diffusion: Field) -> Field:
        return _user_drift(copy.deepcopy(self.module), place, diffusion)

    def diffusion(self, place: Place) -> Field:
        return _user_diffusion(copy.deepcopy(self.module), place)


@dataclass(frozen=True, eq=False)
class Known(Form):
    """A known drift or squared diffusion, in the user's units, and what is to be added to it.

    Arguments:
        function: called as `function(t, y)`, y `(n, d)` and t `(n, 1)`; returns `(n, d)`. Nothing
            of it is fitted.
        plus: a network that is added to a known drift and fitted, such as `hp.Hollow()`.

    Example:
        >>> drift = hp.Known(lambda t, y: -y, plus=hp.Hollow())
    """

    function: FieldLike | nn.Module
    plus: NetworkSpec | None = None

    def drift(self, place: Place, diffusion: Field) -> Field:
        known = _user_drift(self._fixed(), place, diffusion)
        if self.plus is None:
            return known
        return Sum(known, as_form(self.plus).drift(place, diffusion))

    def diffusion(self, place: Place) -> Field:
        if self.plus is not None:
            raise InputError(
                "plus: a known diffusion takes no addition, which might make it negative: leave "
                "it out, or use hp.Parametric(...)."
            )
        return _user_diffusion(self._fixed(), place)

    def _fixed(self) -> FieldLike | nn.Module:
        if not isinstance(self.function, nn.Module):
            return self.function
        return copy.deepcopy(self.function).requires_grad_(False)


def as_form(given: Form | NetworkSpec) -> Form:
    """The form itself, or the form of a network.

    Raises:
        InputError: it is neither.
    """
    if isinstance(given, Form):
        return given
    if not callable(getattr(given, "build", None)):
        raise InputError(
            f"a drift or diffusion must be hp.Hollow(...), hp.Linear(), hp.Constant(), "
            f"hp.Known(...), hp.Parametric(...) or the like, but is a {type(given).__name__}."
        )
    return Downhill(given) if isinstance(given, Gradient) else Network(given)


def _user_drift(function: FieldLike | nn.Module, place: Place, diffusion: Field) -> Field:
    field = as_field(function)
    if any(place.positive):
        logarithmic = PhysicalField(diffusion, place.units, power=2)
        field = ToLogDrift(field, FromLogDiffusion(logarithmic, place.positive), place.positive)
    return InUnits(field, place.units, power=1)


def _user_diffusion(function: FieldLike | nn.Module, place: Place) -> Field:
    field = as_field(function)
    if any(place.positive):
        field = ToLogDiffusion(field, place.positive)
    return InUnits(field, place.units, power=2)
