"""Domains: where a differential equation holds, and their boundaries."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from scipy.stats import norm
from torch import Tensor

from hollowpde.errors import InputError

# Relative to the size of the domain: a point so near to it counts as inside.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Side:
    """A side of a box: where coordinate `axis` is at its lower or upper end.

    >>> Side(0, upper=True)
    Side(axis=0, upper=True)
    """

    axis: int
    upper: bool


class Domain(ABC):
    """Where an equation holds: points are drawn in it, from numbers in the unit cube."""

    dim: int

    @property
    def numbers(self) -> int:
        """How many numbers in [0, 1] a point is made of."""
        return self.dim

    @property
    @abstractmethod
    def centre(self) -> Tensor:
        """A point in the middle, `(d,)`."""

    @property
    @abstractmethod
    def scale(self) -> Tensor:
        """Half the width along each coordinate, `(d,)`."""

    @abstractmethod
    def points(self, unit: Tensor) -> Tensor:
        """Evenly distributed points `(n, d)` from evenly distributed numbers `(n, numbers)`."""

    @abstractmethod
    def contains(self, x: Tensor) -> Tensor:
        """Which points `(n, d)` lie in it, boundary included: `(n,)`."""

    def boundary(self, unit: Tensor, side: Side | None) -> tuple[Tensor, Tensor]:
        """Points of the boundary and the outer normals there, `(n, d)` each.

        Raises:
            InputError: there is no boundary, or not that side.
        """
        raise InputError(f"{self!r} has no boundary: leave conditions on it out.")

    def distance(self, x: Tensor, sides: Sequence[Side | None], order: int) -> tuple[Tensor, ...]:
        """A smooth function, positive inside, that vanishes on sides (None: all).

        Its value `(...)` and its dimension-wise derivatives 1..order, `(..., d)` each.
        """
        raise InputError(f"{self!r} has no boundary: leave conditions on it out.")


@dataclass(frozen=True)
class Box(Domain):
    """A box, `low_i <= x_i <= high_i`.

    Arguments:
        low, high: the corners; their length is the dimension.

    Raises:
        InputError: corners of different lengths, or without volume.

    >>> Box((0.0, 0.0), (1.0, 2.0)).dim
    2
    """

    low: Sequence[float]
    high: Sequence[float]
    dim: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            corner = torch.as_tensor(getattr(self, name), dtype=torch.float64)
            if corner.ndim != 1 or not len(corner) or not corner.isfinite().all():
                raise InputError(
                    f"{name} must hold one finite number for each dimension, such as (0.0, 0.0), "
                    f"but is {getattr(self, name)!r}."
                )
            object.__setattr__(self, name, tuple(corner.tolist()))
        if len(self.low) != len(self.high):
            raise InputError(
                f"low and high must be of one length, but have {len(self.low)} and "
                f"{len(self.high)} numbers."
            )
        for i, (a, b) in enumerate(zip(self.low, self.high, strict=True)):
            if not a < b:
                raise InputError(
                    f"low must lie below high in every dimension, but in dimension {i} they are "
                    f"{a:g} and {b:g}."
                )
        object.__setattr__(self, "dim", len(self.low))

    @property
    def corners(self) -> tuple[Tensor, Tensor]:
        low, high = (torch.tensor(c, dtype=torch.float64) for c in (self.low, self.high))
        return low, high

    @property
    def centre(self) -> Tensor:
        low, high = self.corners
        return (low + high) / 2

    @property
    def scale(self) -> Tensor:
        low, high = self.corners
        return (high - low) / 2

    def points(self, unit: Tensor) -> Tensor:
        low, high = (c.to(unit) for c in self.corners)
        return low + unit * (high - low)

    def contains(self, x: Tensor) -> Tensor:
        low, high = (c.to(x) for c in self.corners)
        slack = _ROUNDING * (high - low)
        return ((x >= low - slack) & (x <= high + slack)).all(-1)

    def boundary(self, unit: Tensor, side: Side | None) -> tuple[Tensor, Tensor]:
        low, high = (c.to(unit) for c in self.corners)
        x, rows = self.points(unit), torch.arange(len(unit))
        if side is None:
            # The number of the coordinate that is pinned chooses the side and is free for it.
            areas = (1 / (high - low)).repeat_interleave(2)
            edges = torch.cumsum(areas / areas.sum(), 0)
            which = torch.linspace(0, 1, len(unit) + 1, dtype=unit.dtype)[:-1] + 0.5 / len(unit)
            face = torch.searchsorted(edges, which).clamp(max=2 * self.dim - 1)
            axis, upper = face // 2, face % 2 == 1
        else:
            self.check_side(side)
            axis = torch.full((len(unit),), side.axis)
            upper = torch.full((len(unit),), side.upper)
        x[rows, axis] = torch.where(upper, high[axis], low[axis])
        normal = torch.zeros_like(x)
        normal[rows, axis] = torch.where(upper, 1.0, -1.0).to(x)
        return x, normal

    def distance(self, x: Tensor, sides: Sequence[Side | None], order: int) -> tuple[Tensor, ...]:
        r"""A product of one factor for each coordinate, whose derivatives are exact.

        $$ B = \prod_i g_i(x_i), \quad \partial_i^k B = g_i^{(k)} \prod_{j \ne i} g_j $$
        """
        low, high = (c.to(x) for c in self.corners)
        width, whole = high - low, None in sides
        on = {side for side in sides if side is not None}
        # Which of the two ends of each coordinate the factor vanishes at, each of them once: where
        # it vanished twice, the slope would be fixed too.
        lower, upper = (
            torch.tensor(
                [whole or Side(i, upper=end) in on for i in range(self.dim)], device=x.device
            )
            for end in (False, True)
        )
        below = torch.where(lower, (x - low) / width, 1.0)
        above = torch.where(upper, (high - x) / width, 1.0)
        rise, fall = lower / width, -(upper / width)
        scale = 4.0 if whole else 1.0
        g = scale * below * above
        if order == 0:
            return (g.prod(-1),)
        others = _products_of_others(g)
        slopes = [scale * (rise * above + below * fall), (2 * scale * rise * fall).expand_as(x)]
        higher = [torch.zeros_like(x)] * (order - 2)
        return g.prod(-1), *(others * slope for slope in slopes[:order]), *higher

    def check_side(self, side: Side) -> None:
        if not 0 <= side.axis < self.dim:
            raise InputError(
                f"side: there is no axis {side.axis} in {self.dim} dimensions: axes are counted "
                "from 0."
            )


@dataclass(frozen=True)
class Ball(Domain):
    """A ball, `|x - centre| <= radius`.

    Arguments:
        middle: its centre; the length is the dimension.
        radius: positive.

    >>> Ball((0.0, 0.0, 0.0), 2.0).dim
    3
    """

    middle: Sequence[float]
    radius: float
    dim: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        middle = torch.as_tensor(self.middle, dtype=torch.float64)
        if middle.ndim != 1 or not len(middle) or not middle.isfinite().all():
            raise InputError(
                "middle must hold one finite number for each dimension, such as (0.0, 0.0), but "
                f"is {self.middle!r}."
            )
        if not (self.radius > 0 and math.isfinite(self.radius)):
            raise InputError(f"radius must be positive, but is {self.radius}.")
        object.__setattr__(self, "middle", tuple(middle.tolist()))
        object.__setattr__(self, "dim", len(self.middle))

    @property
    def numbers(self) -> int:
        return self.dim + 1

    @property
    def centre(self) -> Tensor:
        return torch.tensor(self.middle, dtype=torch.float64)

    @property
    def scale(self) -> Tensor:
        return torch.full((self.dim,), self.radius, dtype=torch.float64)

    def points(self, unit: Tensor) -> Tensor:
        share = unit[:, :1] ** (1 / self.dim)
        return self.centre.to(unit) + self.radius * share * _directions(unit[:, 1:])

    def contains(self, x: Tensor) -> Tensor:
        return (x - self.centre.to(x)).norm(dim=-1) <= self.radius * (1 + _ROUNDING)

    def boundary(self, unit: Tensor, side: Side | None) -> tuple[Tensor, Tensor]:
        if side is not None:
            raise InputError("side: a ball has no sides; leave it out for the whole sphere.")
        normal = _directions(unit[:, 1:])
        return self.centre.to(unit) + self.radius * normal, normal

    def distance(self, x: Tensor, sides: Sequence[Side | None], order: int) -> tuple[Tensor, ...]:
        r"""`1 - |x - c|^2 / R^2`."""
        y, curvature = x - self.centre.to(x), -2 / self.radius**2
        derivatives = [curvature * y, torch.full_like(y, curvature)]
        higher = [torch.zeros_like(y)] * (order - 2)
        return 1 + curvature / 2 * y.square().sum(-1), *derivatives[:order], *higher


@dataclass(frozen=True)
class Space(Domain):
    """The whole space R^d, with the scale on which a solution varies.

    Points are drawn in it by a law, such as that of a Brownian motion; a sampler without one
    draws them from a normal distribution of this scale.

    Arguments:
        dim: d.
        width: the scale, one number for all coordinates.

    >>> Space(100, width=1.5).dim
    100
    """

    dim: int
    width: float = 1.0

    def __post_init__(self) -> None:
        if self.dim < 1:
            raise InputError(f"dim must be at least 1, but is {self.dim}.")
        if not (self.width > 0 and math.isfinite(self.width)):
            raise InputError(f"width must be positive, but is {self.width}.")

    @property
    def centre(self) -> Tensor:
        return torch.zeros(self.dim, dtype=torch.float64)

    @property
    def scale(self) -> Tensor:
        return torch.full((self.dim,), self.width, dtype=torch.float64)

    def points(self, unit: Tensor) -> Tensor:
        return self.width * gaussian(unit)

    def contains(self, x: Tensor) -> Tensor:
        return x.isfinite().all(-1)


def gaussian(unit: Tensor) -> Tensor:
    """Standard normal numbers from evenly distributed ones."""
    inside = unit.double().clamp(1e-12, 1 - 1e-12)
    return torch.as_tensor(norm.ppf(inside.cpu().numpy())).to(unit)


def _products_of_others(g: Tensor) -> Tensor:
    """For each entry along the last axis, the product of all others: exact where one is zero."""
    one = torch.ones_like(g[..., :1])
    before = torch.cat([one, g[..., :-1]], -1).cumprod(-1)
    after = torch.cat([one, g.flip(-1)[..., :-1]], -1).cumprod(-1).flip(-1)
    return before * after


def _directions(unit: Tensor) -> Tensor:
    z = gaussian(unit)
    return z / z.norm(dim=-1, keepdim=True).clamp(min=1e-12)
