"""Scalar fields that are sums of products of functions of one coordinate each."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hollowpde import taylor
from hollowpde.errors import InputError
from hollowpde.nets.activations import Activation, silu
from hollowpde.nets.scalar.coordinates import Coordinates, Period
from hollowpde.nets.scalar.separable import check_columns
from hollowpde.nets.transformers.base import check_widths
from hollowpde.operators.field import Field


class ProductNet(Field):
    r"""A scalar field of any sign whose derivatives of every order cost one pass.

    $$ u(t, x) = b + \sum_r w_r \prod_j \phi_{rj}, \quad
       \phi_{rj} = 1 + d^{-1/2} g_{rj}(t, x_j), \quad
       \partial_j^k u = \sum_r w_r \, \partial_j^k \phi_{rj} \prod_{i \ne j} \phi_{ri} $$

    Each `g_j: R -> R^rank` is a small MLP of its own. The products over the other coordinates come
    from a binary tree of products, with nothing divided out, so that factors may vanish.

    It represents a low-rank tensor (canonical) decomposition: separable initial data, heat
    kernels, polynomials. The factors start near one, where a product of d of them is of order
    one; `|u|` grows as `exp(sum_j g_rj / sqrt(d))`, which leaves float32 when, at d = 1000, all
    the g_rj of a product pass 3 together.

    Arguments:
        dim: d, the dimension of x.
        rank: the number of products.
        inner: widths of the hidden layers of each g_j.
        activation: nonlinearity between the layers.
        shared, period: as in `SeparableNet`.

    Raises:
        InputError: dim or rank below 1, no hidden layer, a width below 1, a period that is not
            positive or a tuple of them that is not of length d, or x of the wrong shape.

    Source:
        Beylkin and Mohlenkamp, Algorithms for Numerical Analysis in High Dimensions (2005).

    Example:
        >>> net = hp.ProductNet(3, rank=4)
        >>> [y.shape for y in hp.dimwise(net, 0.0, torch.randn(5, 3), order=2)]
        [torch.Size([5]), torch.Size([5, 3]), torch.Size([5, 3])]
    """

    def __init__(
        self,
        dim: int,
        rank: int = 16,
        inner: tuple[int, ...] = (16,),
        activation: Activation = silu,
        shared: bool = False,
        period: Period = None,
    ) -> None:
        super().__init__()
        if dim < 1 or rank < 1:
            raise InputError(f"dim and rank must be at least 1, but they are {dim} and {rank}.")
        check_widths(inner)
        self.dim, self.rank = dim, rank
        self.inner = Coordinates(dim, rank, inner, activation, shared, period)
        self.out = nn.Linear(rank, 1)

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        check_columns(x, self.dim)
        g, *slopes = self.inner.each(t, x, order)
        factors = 1.0 + g
        value = self.out(_product(factors)).squeeze(-1)
        if order == 0:
            return (value,)
        others = self.out.weight.squeeze(0) * _product_of_others(factors)
        along = [(others * c).sum(-1) for c in slopes]
        return value, *taylor.derivatives([x, *along])[1:]

    def extra_repr(self) -> str:
        return f"dim={self.dim}, rank={self.rank}"


def _product(factors: Tensor) -> Tensor:
    """Over the d coordinates, `(..., d, r)` to `(..., r)`; unlike `prod`, by halves."""
    while factors.shape[-2] > 1:
        factors = _halved(factors)
    return factors.squeeze(-2)


def _product_of_others(factors: Tensor) -> Tensor:
    """For each coordinate the product over all others: what its pair lacks, times its partner."""
    d = factors.shape[-2]
    if d == 1:
        return torch.ones_like(factors)
    left, right, _ = factors.split([d // 2, d // 2, d % 2], dim=-2)
    pairs, single = _product_of_others(_halved(factors)).split([d // 2, d % 2], dim=-2)
    return torch.cat([pairs * right, pairs * left, single], dim=-2)


def _halved(factors: Tensor) -> Tensor:
    """The first half of the coordinates times the second; an odd one stays as it is."""
    d = factors.shape[-2]
    left, right, single = factors.split([d // 2, d // 2, d % 2], dim=-2)
    return torch.cat([left * right, single], dim=-2)
