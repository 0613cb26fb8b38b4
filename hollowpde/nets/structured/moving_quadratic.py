"""Scalar fields that are quadratic in space, with coefficients that move in time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hollowpde.nets.structured.moving_linear import MovingLinearField
from hollowpde.nets.structured.specs import Spec
from hollowpde.nets.structured.sum import Sum
from hollowpde.operators.field import Field, as_time


class MovingQuadraticField(Field):
    r"""`u(t, x) = x'A(t)x / 2 + b(t)'x + c(t)`: the logarithm of a Gaussian, for one.

    A, b and c are sums of a few trainable ones, weighed by functions of time as in
    `MovingLinearField`, which is its gradient. It is zero at the start.

    Arguments:
        dim: d.
        terms: how many of each, beside one that does not move.
        hidden: width of the hidden layer of the functions of time.

    Raises:
        InputError: dim, terms or hidden below 1, or x of the wrong shape.

    Example:
        >>> field = hp.nets.MovingQuadraticField(3)
        >>> hp.laplacian(field, 0.5, torch.randn(5, 3)).shape
        torch.Size([5])
    """

    def __init__(self, dim: int, terms: int = 3, hidden: int = 16) -> None:
        super().__init__()
        self.slope = MovingLinearField(dim, terms, hidden, symmetric=True)
        self.c = nn.Parameter(torch.zeros(1 + terms))

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        return self._parts(self.slope.weights(t, x), x, order)

    def in_time(
        self, t: Tensor, x: Tensor, order: int
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        t = as_time(t, x)
        both = torch.func.jvp(lambda s: self.slope.weights(s, x), (t,), (torch.ones_like(t),))
        return self._parts(both[0], x, order), self._parts(both[1], x, order)

    def _parts(self, weights: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        slopes = self.slope.parts(weights, x, max(0, order - 1))
        b = weights @ self.slope.b
        value = 0.5 * (x * (slopes[0] + b)).sum(-1) + weights @ self.c
        return value, *slopes[:order]


@dataclass(frozen=True)
class MovingQuadratic:
    """A field `x'A(t)x / 2 + b(t)'x + c(t)`, and what is added to it.

    Arguments:
        terms, hidden: as in `MovingQuadraticField`.
        plus: a scalar network that is added, such as `hp.Ridge()`.

    >>> MovingQuadratic().build(3)(0.5, torch.zeros(5, 3)).shape
    torch.Size([5])
    """

    terms: int = 3
    hidden: int = 16
    plus: Spec | None = None

    def build(self, dim: int) -> Field:
        field = MovingQuadraticField(dim, self.terms, self.hidden)
        return field if self.plus is None else Sum(field, self.plus.build(dim))
