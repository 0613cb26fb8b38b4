"""Conditions: what a solution must be at a time, on the boundary, or where it was measured."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from hollowpde.errors import InputError
from hollowpde.operators.field import Field
from hollowpde.operators.jets import Jet
from hollowpde.problem.pde.domain import Box, Domain, Side, Space
from hollowpde.problem.pde.samplers import Interval, Sampler, sobol

Function = Callable[[Tensor, Tensor], Tensor]
Spatial = Callable[[Tensor], Tensor]
# The points of a condition, first axis over points: t, x, and what else it needs of each.
Batch = tuple[Tensor, ...]


@dataclass(frozen=True)
class Place:
    """Where a problem lives: what conditions are checked against, and draw their points from."""

    domain: Domain
    time: Interval | None
    sampler: Sampler

    @property
    def interval(self) -> Interval:
        """The time interval.

        Raises:
            InputError: the problem is steady.
        """
        if self.time is None:
            raise InputError("a steady problem has no time interval: give time=(t0, t1).")
        return self.time

    @property
    def box(self) -> Box:
        """The domain, where it has opposite sides.

        Raises:
            InputError: it has none.
        """
        if not isinstance(self.domain, Box):
            raise InputError(
                "a Periodic condition needs opposite sides, but the domain is a "
                f"{type(self.domain).__name__}: take hp.Box."
            )
        return self.domain


@dataclass(frozen=True, kw_only=True)
class Condition(ABC):
    """What one field must be somewhere; met by the form of the solution, or a term of the loss.

    Arguments:
        field: the name of the field, the first one by default.
        hard: whether to build it into the form of the solution where that is possible.
        weight: a factor on its share of the loss, beside the balance of all terms.
    """

    field: str | None = None
    hard: bool = True
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise InputError(f"weight must be positive, but is {self.weight}.")

    @abstractmethod
    def check(self, place: Place) -> None:
        """Refuse a condition that makes no sense there.

        Raises:
            InputError: it lies outside of the domain or of the time interval.
        """

    @abstractmethod
    def draw(self, place: Place, n: int, generator: torch.Generator) -> Batch:
        """Points at which to ask for it."""

    @abstractmethod
    def residual(self, u: Jet, t: Tensor, x: Tensor, *others: Tensor) -> Tensor:
        """What must vanish, `(...)` or `(..., m)`, of the field's jet at such points."""


@dataclass(frozen=True)
class AtTime(Condition):
    """The values of a field at one time.

    Arguments:
        value: a number; a function `value(x)` of x `(..., d)` that returns `(...)`; or a scalar
            `Field` without regard to its time, whose derivatives need not be taken by brute force.
    """

    value: Spatial | Field | float

    def check(self, place: Place) -> None:
        if place.time is None:
            raise InputError(
                f"an {type(self).__name__} condition needs a time interval: give "
                "time=(t0, t1), or use hp.Dirichlet for a steady equation."
            )

    def draw(self, place: Place, n: int, generator: torch.Generator) -> Batch:
        t = torch.full((n,), self.instant(place.interval), dtype=torch.float64)
        return t, place.sampler.at(place.domain, place.interval, t, generator)

    def residual(self, u: Jet, t: Tensor, x: Tensor, *others: Tensor) -> Tensor:
        return u.value - spatial(self.value, x)

    @abstractmethod
    def instant(self, time: Interval) -> float:
        """When."""


@dataclass(frozen=True)
class Initial(AtTime):
    """The values at the beginning: `u(t_0, x) = value(x)`.

    >>> Initial(lambda x: x.square().sum(-1)).weight
    1.0
    """

    def instant(self, time: Interval) -> float:
        return time[0]


@dataclass(frozen=True)
class Terminal(AtTime):
    """The values at the end, of an equation that runs backward: `u(t_1, x) = value(x)`."""

    def instant(self, time: Interval) -> float:
        return time[1]


@dataclass(frozen=True)
class OnBoundary(Condition):
    """A condition on the boundary, or on one side of a box.

    Arguments:
        value: a number, or a function `value(t, x)` that returns `(...)`.
        side: which side; the whole boundary by default.
    """

    value: Function | float = 0.0
    side: Side | None = None

    def check(self, place: Place) -> None:
        domain = place.domain
        if isinstance(domain, Space):
            raise InputError(
                f"a {type(self).__name__} condition lies outside of the domain: the whole space "
                "has no boundary. Leave it out, or take hp.Box or hp.Ball."
            )
        if self.side is not None:
            domain.boundary(torch.full((1, domain.numbers), 0.5, dtype=torch.float64), self.side)

    def draw(self, place: Place, n: int, generator: torch.Generator) -> Batch:
        unit = sobol(n, place.domain.numbers + 1, generator)
        x, normal = place.domain.boundary(unit[:, 1:], self.side)
        time = place.time or (0.0, 0.0)
        return time[0] + (time[1] - time[0]) * unit[:, 0], x, normal


@dataclass(frozen=True)
class Dirichlet(OnBoundary):
    """The values on the boundary: `u = value`.

    >>> Dirichlet(0.0, side=hp.Side(0, upper=True)).side.axis
    0
    """

    def residual(self, u: Jet, t: Tensor, x: Tensor, *others: Tensor) -> Tensor:
        return u.value - at(self.value, t, x)


@dataclass(frozen=True)
class Neumann(OnBoundary):
    """The slope along the outer normal on the boundary: `n . grad u = value`."""

    def residual(self, u: Jet, t: Tensor, x: Tensor, *others: Tensor) -> Tensor:
        (normal,) = others
        return (u.gradient * normal).sum(-1) - at(self.value, t, x)


@dataclass(frozen=True)
class Periodic(Condition):
    """Opposite sides of a box are one: values and slopes agree.

    A network with a period of its own (`hp.Separable`, `hp.Product`) meets it exactly.

    Arguments:
        axis: along which coordinate; all of them by default.
    """

    axis: int | None = None

    def check(self, place: Place) -> None:
        for axis in self.axes(place.box):
            place.box.check_side(Side(axis, upper=True))

    def axes(self, box: Box) -> list[int]:
        return list(range(box.dim)) if self.axis is None else [self.axis]

    def draw(self, place: Place, n: int, generator: torch.Generator) -> Batch:
        box = place.box
        axes = torch.tensor(self.axes(box))[torch.arange(n) % len(self.axes(box))]
        unit = sobol(n, box.numbers + 1, generator)
        low, high = box.corners
        below = box.points(unit[:, 1:])
        rows = torch.arange(n)
        along = torch.zeros_like(below)
        along[rows, axes] = 1.0
        below[rows, axes] = low[axes]
        time = place.time or (0.0, 0.0)
        t = time[0] + (time[1] - time[0]) * unit[:, 0]
        return t, below, along, (along * (high - low)).contiguous()

    def residual(self, u: Jet, t: Tensor, x: Tensor, *others: Tensor) -> Tensor:
        along, width = others
        opposite = Jet(u.field, t, x + width)
        size = width.sum(-1)
        slopes = ((opposite.gradient - u.gradient) * along).sum(-1)
        return torch.stack([opposite.value - u.value, slopes * size], -1)


@dataclass(frozen=True, eq=False)
class Observed(Condition):
    """Measured values, at any times and points; they may be noisy.

    Equations hold and data are noisy: the weight is small by default, so that the solution bends
    to the data by its unknown coefficients and not against the equation.

    Arguments:
        t: times `(n,)`; None for a steady equation.
        x: points `(n, d)`, or `(n,)` in one dimension.
        value: what was measured, `(n,)`.

    Raises:
        InputError: their lengths differ, or they hold values that are not finite.

    Example:
        >>> Observed(torch.zeros(3), torch.rand(3, 1), torch.ones(3)).x.shape
        torch.Size([3, 1])
    """

    t: Tensor | np.ndarray | None
    x: Tensor | np.ndarray
    value: Tensor | np.ndarray
    weight: float = field(default=1e-3, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        x = torch.as_tensor(self.x, dtype=torch.float64)
        x = x.unsqueeze(-1) if x.ndim == 1 else x
        t = x.new_zeros(x.shape[:1]) if self.t is None else self.t
        found = {"t": t, "x": x, "value": self.value}
        for name, given in found.items():
            tensor = torch.as_tensor(given, dtype=torch.float64)
            if not tensor.isfinite().all():
                raise InputError(f"{name} of Observed holds values that are not finite.")
            if tensor.ndim != (2 if name == "x" else 1) or tensor.shape[:1] != x.shape[:1]:
                raise InputError(
                    f"{name} of Observed must hold one row for each point, x of shape "
                    f"{tuple(x.shape)}, but has the shape {tuple(tensor.shape)}."
                )
            object.__setattr__(self, name, tensor)

    def __len__(self) -> int:
        return len(self.value)

    def check(self, place: Place) -> None:
        t, x = torch.as_tensor(self.t), torch.as_tensor(self.x)
        if x.shape[-1] != place.domain.dim:
            raise InputError(
                f"x of Observed has {x.shape[-1]} columns, but the domain {place.domain.dim} "
                "dimensions."
            )
        outside = ~place.domain.contains(x)
        if place.time is not None:
            slack = 1e-9 * (place.time[1] - place.time[0])
            outside |= (t < place.time[0] - slack) | (t > place.time[1] + slack)
        if outside.any():
            i = int(outside.nonzero()[0])
            raise InputError(
                f"{int(outside.sum())} points of Observed lie outside of the domain or the time "
                f"interval, the first at t = {float(t[i]):g}, x = {x[i].tolist()}."
            )

    def draw(self, place: Place, n: int, generator: torch.Generator) -> Batch:
        # All of them, always: they are what there is to learn from.
        return torch.as_tensor(self.t), torch.as_tensor(self.x), torch.as_tensor(self.value)

    def residual(self, u: Jet, t: Tensor, x: Tensor, *others: Tensor) -> Tensor:
        (value,) = others
        return u.value - value


def at(value: Function | float, t: Tensor, x: Tensor) -> Tensor:
    """A given function of (t, x), or a number, `(...)`."""
    if callable(value):
        return _checked(value(t, x), x, "value(t, x)")
    return x.new_full(x.shape[:-1], float(value))


def spatial(value: Spatial | Field | float, x: Tensor) -> Tensor:
    """A given function of x, a field, or a number, `(...)`."""
    if isinstance(value, Field):
        return _checked(value(0.0, x), x, "the field")
    if callable(value):
        return _checked(value(x), x, "value(x)")
    return x.new_full(x.shape[:-1], float(value))


def _checked(found: object, x: Tensor, what: str) -> Tensor:
    if not isinstance(found, Tensor) or found.shape != x.shape[:-1]:
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise InputError(
            f"{what} of a condition must return the shape {tuple(x.shape[:-1])} for x of shape "
            f"{tuple(x.shape)}, but returned {shape}: reduce over the last axis of x, as in "
            "x.square().sum(-1) or x[..., 0]."
        )
    return found
