"""Brute force by forward mode: d directions at once, also within the transforms of torch.func."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hollowpde.operators.reference import FieldLike


def dimwise(field: FieldLike, t: Tensor, x: Tensor, *, order: int) -> tuple[Tensor, ...]:
    """The value and the dimension-wise derivatives 1..order of any differentiable `field(t, x)`.

    Each order doubles the work of the one before: for formulas of a few operations, to order 2.

    >>> x = torch.tensor([[1.0, 2.0]])
    >>> dimwise(lambda t, x: x.prod(-1) ** 2, torch.zeros(1), x, order=2)[2]
    tensor([[8., 2.]])
    """
    if order == 0:
        return (field(t, x),)

    # All directions as one more batch axis: a single pass, where vmap would cost more than it.
    d = x.shape[-1]
    eye = torch.eye(d, dtype=x.dtype, device=x.device)
    e = eye.reshape(d, *[1] * (x.ndim - 1), d).expand(d, *x.shape).contiguous()
    times, points = t.expand(d, *t.shape), x.expand(d, *x.shape).contiguous()

    def component(y: Tensor) -> tuple[Tensor, ...]:
        value = field(times, y)
        return ((value * e).sum(-1) if value.shape == y.shape else value,)

    series: Callable[[Tensor], tuple[Tensor, ...]] = component
    for _ in range(order):
        series = _with_next(series, e)
    return field(t, x), *(part.movedim(0, -1) for part in series(points)[1:])


def _with_next(
    series: Callable[[Tensor], tuple[Tensor, ...]], e: Tensor
) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """`(h, ..., h^(k))` along e, with `h^(k+1)` added."""

    def longer(y: Tensor) -> tuple[Tensor, ...]:
        both = torch.func.jvp(series, (y,), (e,))
        values, slopes = both[0], both[1]
        return *values, slopes[-1]

    return longer
