"""Conditions that the form of a solution meets exactly, whatever its network is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hollowpde.nets import KnownFunction, Lifted
from hollowpde.operators.field import Field
from hollowpde.problem.pde.conditions import AtTime, Condition, Dirichlet, Place, spatial
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
        base, factor = KnownFunction(_Base(given.value)), KnownFunction(_Factor(self, place))
        return Lifted(base, factor, network)


@dataclass(frozen=True)
class _Base:
    """A: the given values, as a function of (t, x)."""

    value: object

    def __call__(self, t: Tensor, x: Tensor) -> Tensor:
        return spatial(self.value, x)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Factor:
    """B: what vanishes at the instant and on the walls."""

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
