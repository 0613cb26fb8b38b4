"""Vector fields that are linear in space, with coefficients that move in time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hollowpde.errors import InputError
from hollowpde.nets.structured.parts import check_dim
from hollowpde.nets.structured.specs import Spec
from hollowpde.nets.structured.sum import Sum
from hollowpde.operators.field import Field, as_time, check_dtype


class MovingLinearField(Field):
    r"""`f(t, x) = A(t) x + b(t)`, zero at the start: the score of a Gaussian, for one.

    $$ A(t) = A_0 + \sum_{r=1}^{R} \varphi_r(t) A_r, \quad
       b(t) = b_0 + \sum_{r=1}^{R} \varphi_r(t) b_r $$

    with trainable A_r and b_r, and phi a small network of t within (-1, 1): beyond the times it
    was fitted to the field levels off. Its dimension-wise derivative is the diagonal of A(t).

    Arguments:
        dim: d.
        terms: R.
        hidden: width of the hidden layer of phi.
        symmetric: A is symmetric, as that of a gradient is.

    Raises:
        InputError: dim, terms or hidden below 1, or x of the wrong shape.

    Example:
        >>> field = MovingLinearField(2, terms=3)
        >>> field(torch.rand(5), torch.ones(5, 2)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self, dim: int, terms: int = 3, hidden: int = 16, symmetric: bool = False
    ) -> None:
        super().__init__()
        if dim < 1 or terms < 1 or hidden < 1:
            raise InputError(
                "dim, terms and hidden must be at least 1, but they are "
                f"{dim}, {terms} and {hidden}."
            )
        self.dim, self.terms, self.symmetric = dim, terms, symmetric
        self.phi = nn.Sequential(
            nn.Linear(1, hidden), nn.Tanh(), nn.Linear(hidden, terms), nn.Tanh()
        )
        self.A = nn.Parameter(torch.zeros(1 + terms, dim, dim))
        self.b = nn.Parameter(torch.zeros(1 + terms, dim))

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        return self.parts(self.weights(t, x), x, order)

    def in_time(
        self, t: Tensor, x: Tensor, order: int
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        t = as_time(t, x)
        both = torch.func.jvp(lambda s: self.weights(s, x), (t,), (torch.ones_like(t),))
        return self.parts(both[0], x, order), self.parts(both[1], x, order)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, terms={self.terms}, symmetric={self.symmetric}"

    def weights(self, t: Tensor, x: Tensor) -> Tensor:
        """One and phi(t), `(..., 1 + R)`: the weights of the terms."""
        check_dim(x, self.dim, "MovingLinearField")
        check_dtype(x, self.A)
        t = t.unsqueeze(-1)
        return torch.cat([torch.ones_like(t), self.phi(t)], dim=-1)

    def parts(self, weights: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        """The value and derivatives at x `(..., d)`, given the weights of the terms."""
        A = (self.A + self.A.mT) / 2 if self.symmetric else self.A
        each = F.linear(x, A.flatten(0, 1), self.b.flatten()).unflatten(-1, self.b.shape)
        value = (weights.unsqueeze(-1) * each).sum(-2)
        if order == 0:
            return (value,)
        slope = weights @ self.A.diagonal(dim1=1, dim2=2)
        return value, slope, *(torch.zeros_like(x) for _ in range(order - 1))


@dataclass(frozen=True)
class MovingLinear:
    """A field `A(t) x + b(t)`, and what is added to it.

    Arguments:
        terms, hidden, symmetric: as in `MovingLinearField`.
        plus: a network that is added, such as `hp.Hollow()`.

    >>> MovingLinear().build(3)(0.5, torch.zeros(5, 3)).shape
    torch.Size([5, 3])
    """

    terms: int = 3
    hidden: int = 16
    symmetric: bool = False
    plus: Spec | None = None

    def build(self, dim: int) -> Field:
        field = MovingLinearField(dim, self.terms, self.hidden, self.symmetric)
        return field if self.plus is None else Sum(field, self.plus.build(dim))
