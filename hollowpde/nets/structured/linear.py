"""Vector fields that are linear in space."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hollowpde.errors import InputError
from hollowpde.nets.structured.parts import check_dim
from hollowpde.operators.field import Field, check_dtype


class LinearField(Field):
    r"""`f(t, x) = A x + b` with trainable A and b, zero at the start.

    Its dimension-wise derivative is the diagonal of A, and zero beyond the first order.

    Arguments:
        dim: d.

    Raises:
        InputError: dim below 1, or x of the wrong shape.

    Example:
        >>> field = hp.nets.LinearField(2)
        >>> field.A.shape, field.b.shape
        (torch.Size([2, 2]), torch.Size([2]))
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        if dim < 1:
            raise InputError(f"dim must be at least 1, but is {dim}.")
        self.dim = dim
        self.A = nn.Parameter(torch.zeros(dim, dim))
        self.b = nn.Parameter(torch.zeros(dim))

    def matrix(self) -> Tensor:
        """A, `(d, d)`."""
        return self.A

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        check_dim(x, self.dim, type(self).__name__)
        check_dtype(x, self.A)
        A = self.matrix()
        value = F.linear(x, A, self.b)
        if order == 0:
            return (value,)
        slope = A.diagonal().expand_as(x).contiguous()
        return value, slope, *(torch.zeros_like(x) for _ in range(order - 1))

    def in_time(
        self, t: Tensor, x: Tensor, order: int
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        values = self.dimwise(t, x, order)
        return values, tuple(torch.zeros_like(y) for y in values)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class SymmetricField(LinearField):
    r"""`f(t, x) = A x + b` with a symmetric A: the gradient of a quadratic form.

    Trained is a matrix of which the symmetric part is taken. Arguments and errors are those of
    `LinearField`.

    Example:
        >>> field = hp.nets.SymmetricField(2)
        >>> with torch.no_grad():
        ...     _ = field.A.copy_(torch.tensor([[0.0, 2.0], [0.0, 1.0]]))
        >>> field(0.0, torch.tensor([1.0, 0.0])).tolist()
        [0.0, 1.0]
    """

    def matrix(self) -> Tensor:
        return (self.A + self.A.T) / 2
