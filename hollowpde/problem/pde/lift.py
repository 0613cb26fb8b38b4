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
from hollowpde.problem.pde.samplers import Interval, sobol

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
        return Lifted(_base(given.value), self._factor(place), network)

    def _factor(self, place: Place) -> Field:
        """B: what vanishes at the instant and on the walls."""
        if self.walls or self.instant is None:
            return KnownFunction(_Factor(self, place))
        return _Ramp(place.interval, self.instant[1].instant(place.interval))


def _base(value: object) -> Field:
    """A: the given values, as a field that is not trained."""
    if isinstance(value, Field):
        return copy.deepcopy(value).requires_grad_(False)
    return KnownFunction(_Base(value))


@dataclass(frozen=True)
class _Base:
    """A: the given values, as a function of (t, x)."""

    value: object

    def __call__(self, t: Tensor, x: Tensor) -> Tensor:
        return spatial(self.value, x)  # type: ignore[arg-type]


class _Ramp(Field):
    """B where it is a function of time alone, `(t - t_i) / T`: it has no derivatives in space."""

    def __init__(self, interval: Interval, instant: float) -> None:
        super().__init__()
        self.instant, self.span = instant, interval[1] - interval[0]

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        return ((t - self.instant) / self.span, *[torch.zeros_like(x)] * order)


@dataclass(frozen=True)
class _Factor:
    """B where there are walls, as a function of (t, x)."""

    lift: Lift
    place: Place

    def __call__(self, t: Tensor, x: Tensor) -> Tensor:
        out = torch.ones_like(x[..., 0])
        if self.lift.instant is not None:
            start, end = interval = self.place.interval
            out = out * (t - self.lift.instant[1].instant(interval)) / (end - start)
        if self.lift.walls:
            sides = [wall.side for wall in self.lift.walls.values()]
            out = out * self.place.domain.distance(x, sides)
        return out


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
