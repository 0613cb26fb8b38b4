"""Sums of fields."""

from __future__ import annotations

import operator
from functools import reduce

from torch import Tensor, nn

from hollowpde.errors import InputError
from hollowpde.nets.structured.parts import fields_of
from hollowpde.operators.field import Field


class Sum(Field):
    """`f_1 + f_2 + ...` of fields of one kind, such as a known part and a hollow correction.

    Arguments:
        fields: at least one; all of them vector fields or all of them scalar ones.

    Raises:
        InputError: no fields, or their values differ in shape.

    Example:
        >>> field = hp.nets.Sum(hp.nets.LinearField(2), hp.HollowNet(2))
        >>> field(0.0, torch.ones(3, 2)).shape
        torch.Size([3, 2])
    """

    def __init__(self, *fields: Field) -> None:
        super().__init__()
        if not fields:
            raise InputError("Sum needs at least one field.")
        self.fields = nn.ModuleList(fields)

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        return _total([f.dimwise(t, x, order) for f in fields_of(self.fields)])

    def in_time(
        self, t: Tensor, x: Tensor, order: int
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        both = [f.in_time(t, x, order) for f in fields_of(self.fields)]
        return _total([b[0] for b in both]), _total([b[1] for b in both])

    def with_laplacian(
        self, t: Tensor, x: Tensor, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        parts = [f.with_laplacian(t, x, weights) for f in fields_of(self.fields)]
        value, d1, laplacian = _total([*parts])
        return value, d1, laplacian


def _total(terms: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    shapes = {tuple(term[0].shape) for term in terms}
    if len(shapes) > 1:  # would broadcast
        raise InputError(
            "the fields of a Sum must all be vector fields or all be scalar ones, but their "
            f"values have the shapes {', '.join(map(str, sorted(shapes)))}."
        )
    return tuple(reduce(operator.add, parts) for parts in zip(*terms, strict=True))
