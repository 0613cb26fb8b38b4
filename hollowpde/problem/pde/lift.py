"""Conditions that the form of a solution meets exactly, whatever its network is."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hollowpde.errors import InputError
from hollowpde.nets import ExponentialField, KnownFunction, Lifted
from hollowpde.operators.field import Field
from hollowpde.problem.pde.conditions import AtTime, Condition, Dirichlet, Place, Spatial, spatial
from hollowpde.problem.pde.samplers import sobol

# Points at which initial values are compared with those on the boundary, and how near they must
# come, relative to their size.
_POINTS = 256
_NEAR = 1e-6


@dataclass(frozen=True)
class Lift:
    """How the conditions on a field are met.

    Arguments:
        instant: the condition at a time that is built in, if any.
        walls: the conditions on the boundary that are built in, by name.
    """

    instant: tuple[str, AtTime] | None
    walls: Mapping[str, Dirichlet]

    @property
    def names(self) -> list[str]:
        """The conditions that are met exactly."""
        first = [] if self.instant is None else [self.instant[0]]
        return [*first, *self.walls]

    def __call__(self, network: Field, place: Place) -> Field:
        """The field that meets them."""
        if not self.names:
            return network
        given = next(iter(self.walls.values())) if self.instant is None else self.instant[1]
        return Lifted(_base(given.value), _Factor(self, place), network)


def _base(value: object) -> Field:
    """A: the given values, as a field that is not trained."""
    if isinstance(value, Field):
        return copy.deepcopy(value).requires_grad_(False)
    if callable(value):
        return KnownFunction(_Base(value))
    return _Constant(float(value))  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Base:
    """A: the given values, as a function of (t, x)."""

    value: object

    def __call__(self, t: Tensor, x: Tensor) -> Tensor:
        return spatial(self.value, x)  # type: ignore[arg-type]


class _Constant(Field):
    """A where it is one number."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        return torch.full_like(t, self.value), *[torch.zeros_like(x)] * order


class _Factor(Field):
    """B: the time since the instant, times a distance from the walls; of each what is built in."""

    def __init__(self, lift: Lift, place: Place) -> None:
        super().__init__()
        self.instant: float | None = None
        if lift.instant is not None:
            start, end = place.interval
            self.instant, self.span = lift.instant[1].instant(place.interval), end - start
        self.domain, self.sides = place.domain, [wall.side for wall in lift.walls.values()]

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        if self.sides:
            value, *derivatives = self.domain.distance(x, self.sides, order)
        else:
            value, derivatives = torch.ones_like(t), [torch.zeros_like(x)] * order
        if self.instant is None:
            return value, *derivatives
        since = (t - self.instant) / self.span
        return since * value, *(since.unsqueeze(-1) * part for part in derivatives)


def lift_of(conditions: Mapping[str, Condition], place: Place) -> Lift:
    """Which of the conditions on one field its form can meet: values at one time, walls at zero.

    The values on all walls must be one number, and those at the time must agree with it.
    """
    instant = next(
        ((n, c) for n, c in conditions.items() if isinstance(c, AtTime) and c.hard), None
    )
    walls = {
        name: c
        for name, c in conditions.items()
        if isinstance(c, Dirichlet) and c.hard and not callable(c.value)
    }
    levels = {float(c.value) for c in walls.values()}  # type: ignore[arg-type]
    if len(levels) > 1 or (instant and walls and not _agree(instant[1], walls, place)):
        walls = {}
    return Lift(instant, walls)


def of_exponent(conditions: Mapping[str, Condition], place: Place) -> dict[str, Condition]:
    """What the exponent v of a field exp(v) must meet, for the values that a form can meet.

    Raises:
        InputError: values that are not positive.
    """
    generator = torch.Generator().manual_seed(0)
    logarithms: dict[str, Condition] = {}
    for name, c in conditions.items():
        if isinstance(c, AtTime) and c.hard:
            _, x, *_ = c.draw(place, _POINTS, generator)
            _check_positive(name, float(spatial(c.value, x).min()))
            logarithms[name] = replace(c, value=_logarithm(c.value))
        elif isinstance(c, Dirichlet) and c.hard and not callable(c.value):
            _check_positive(name, c.value)
            logarithms[name] = replace(c, value=math.log(c.value))
    return logarithms


def _check_positive(name: str, lowest: float) -> None:
    if not lowest > 0:
        raise InputError(
            f"condition {name!r}: the field is an exponential, and thus positive, but the "
            f"condition asks for {lowest:.3g}: take another field, such as hp.Ridge()."
        )


def _logarithm(value: Spatial | Field | float) -> Spatial | Field:
    return value.exponent if isinstance(value, ExponentialField) else _Log(value)


@dataclass(frozen=True)
class _Log:
    """The logarithm of given values."""

    value: Spatial | Field | float

    def __call__(self, x: Tensor) -> Tensor:
        return spatial(self.value, x).log()


def _agree(instant: AtTime, walls: Mapping[str, Dirichlet], place: Place) -> bool:
    """Whether the values at a time have on the walls what is asked there."""
    generator = torch.Generator().manual_seed(0)
    for wall in walls.values():
        unit = sobol(_POINTS, place.domain.numbers, generator)
        on_wall, _ = place.domain.boundary(unit, wall.side)
        found = spatial(instant.value, on_wall)
        size = float(spatial(instant.value, place.domain.points(unit)).abs().max())
        gap = (found - float(wall.value)).abs()  # type: ignore[arg-type]
        if float(gap.max()) > _NEAR * max(size, 1e-12):
            return False
    return True
