"""Vector fields that depend on neither time nor space."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hollowpde.errors import InputError
from hollowpde.nets.structured.parts import check_dim
from hollowpde.operators.field import Field, check_dtype


class ConstantField(Field):
    """`f(t, x) = c`: one trainable number for each dimension, zero at the start.

    `Positive(ConstantField(d))` is a constant squared diffusion.

    Arguments:
        dim: d.

    Raises:
        InputError: dim below 1, or x of the wrong shape.

    Example:
        >>> field = hp.nets.ConstantField(2)
        >>> field(0.0, torch.ones(3, 2)).shape
        torch.Size([3, 2])
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        if dim < 1:
            raise InputError(f"dim must be at least 1, but is {dim}.")
        self.dim = dim
        self.c = nn.Parameter(torch.zeros(dim))

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        check_dim(x, self.dim, "ConstantField")
        check_dtype(x, self.c)
        # A batch of their own: what follows may write into values, or take them by forward mode.
        return self.c.expand_as(x).contiguous(), *(torch.zeros_like(x) for _ in range(order))

    def in_time(
        self, t: Tensor, x: Tensor, order: int
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        values = self.dimwise(t, x, order)
        return values, tuple(torch.zeros_like(y) for y in values)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"
