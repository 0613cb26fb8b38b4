"""Fields made from fields: frozen in time, made positive, scaled to other units."""

from __future__ import annotations

import torch
from torch import Tensor

from hollowpde import taylor
from hollowpde.operators.field import Field


class Autonomous(Field):
    """A field that does not depend on time: the inner one at t = 0.

    >>> field = hp.Autonomous(hp.HollowNet(2))
    >>> x = torch.randn(4, 2)
    >>> bool((field(0.0, x) == field(5.0, x)).all())
    True
    """

    def __init__(self, field: Field) -> None:
        super().__init__()
        self.field = field

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        return self.field.dimwise(torch.zeros_like(t), x, order)

    def in_time(
        self, t: Tensor, x: Tensor, order: int
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        values = self.dimwise(t, x, order)
        return values, tuple(torch.zeros_like(y) for y in values)


class Positive(Field):
    r"""`softplus(b field) / b + floor`, positive everywhere, with its exact derivatives.

    Arguments:
        field: vector or scalar.
        floor: what is added.
        sharpness: b; where `b field` is large the field itself comes out.
    """

    def __init__(self, field: Field, floor: float = 1e-4, sharpness: float = 1.0) -> None:
        super().__init__()
        self.field, self.floor, self.sharpness = field, floor, sharpness

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        value, *rest = (self.sharpness * y for y in self.field.dimwise(t, x, order))
        scalar = value.ndim < x.ndim  # one value for all dimensions, along each of them
        inner = (value.unsqueeze(-1).expand_as(x) if scalar and rest else value, *rest)
        parts = taylor.derivatives(taylor.softplus(taylor.coefficients(inner)))
        value, *rest = (y / self.sharpness for y in parts)
        return (value[..., 0] if scalar and rest else value) + self.floor, *rest

    def extra_repr(self) -> str:
        return f"floor={self.floor}, sharpness={self.sharpness}"


class Scaled(Field):
    """`scale * field`, one constant factor per dimension; the factors are a buffer."""

    scale: Tensor

    def __init__(self, field: Field, scale: Tensor) -> None:
        super().__init__()
        self.field = field
        self.register_buffer("scale", scale)

    def resize(self, size: Tensor) -> None:
        """Take factors `(d,)` by which outputs of order one become those of that size."""
        self.scale.copy_(size)

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        return tuple(self.scale * y for y in self.field.dimwise(t, x, order))

    def in_time(
        self, t: Tensor, x: Tensor, order: int
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        values, slopes = self.field.in_time(t, x, order)
        return tuple(self.scale * y for y in values), tuple(self.scale * y for y in slopes)
