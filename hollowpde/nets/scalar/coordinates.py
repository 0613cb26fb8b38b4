"""Many small networks of one coordinate each, phi_j(t, x_j), with their series along it."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Iterator
from functools import reduce

import torch
from torch import Tensor, nn

from hollowpde import taylor
from hollowpde.nets.activations import Activation

# Rows (samples x coordinates) of one block of coordinates, whose activations stay in the cache.
_BLOCK_ROWS = 8192


class Coordinates(nn.Module):
    """`phi_j(t, x_j)`, R -> R^m, for all j at once: an MLP of its own for each coordinate.

    The last layer has no bias, and a factor 1 / sqrt(d) which keeps the sum over j of order one.
    A series along x_j is a list of its coefficients, of the shape `(..., d, m)`.
    """

    def __init__(
        self, dim: int, features: int, hidden: tuple[int, ...], activation: Activation
    ) -> None:
        super().__init__()
        self.dim, self.activation = dim, activation
        self.slope = nn.Parameter(_uniform(dim, hidden[0]) * math.sqrt(3))
        self.drift = nn.Parameter(_uniform(dim, hidden[0]))
        self.bias = nn.Parameter(_uniform(dim, hidden[0]))
        widths = (*hidden, features)
        self.weights = nn.ParameterList(
            _uniform(dim, a, b) * math.sqrt(3 / a) for a, b in itertools.pairwise(widths)
        )
        self.biases = nn.ParameterList(_uniform(dim, b) for b in hidden[1:])

    def each(self, t: Tensor, x: Tensor, order: int) -> list[Tensor]:
        """The coefficients 0..k of each phi_j."""
        parts = [_times(self._hidden(t, x, order, j), self._last(j)) for j in self._blocks(x)]
        return [torch.cat(c, dim=-2) for c in zip(*parts, strict=True)]

    def around(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, list[Tensor]]:
        """`sum_j phi_j` `(..., m)`, and the coefficients 1..k of each phi_j."""
        total, slopes = [], []
        for j in self._blocks(x):
            value, *rest = self._hidden(t, x, order, j)
            total.append(_sum_of_products(value, self._last(j)))
            slopes.append(_times(rest, self._last(j)))
        joined = [torch.cat(c, dim=-2) for c in zip(*slopes, strict=True)]
        return reduce(operator.add, total), joined

    def collapsed(
        self, t: Tensor, x: Tensor, a: Tensor | None
    ) -> tuple[Tensor, list[Tensor], Tensor, Tensor]:
        """What a Laplacian with weights a `(..., d)` needs of a sum over j.

        Returns:
            `sum_j phi_j` `(..., m)`; the phi_j' `(..., j, m)` in blocks;
            `G = sum_j a_j phi_j' phi_j'^T` `(..., m, m)`; `sum_j a_j phi_j''` `(..., m)`.
        """
        total, slopes, metric, bend = [], [], [], []
        for j in self._blocks(x):
            value, first, second = self._hidden(t, x, 2, j)
            (slope,) = _times([first], self._last(j))
            weighted = slope
            if a is not None:
                weight = a[..., j].unsqueeze(-1)
                weighted, second = weight * slope, weight * second
            total.append(_sum_of_products(value, self._last(j)))
            slopes.append(slope)
            metric.append(weighted.mT @ slope)
            bend.append(_sum_of_products(second, self._last(j)))
        add = operator.add
        return reduce(add, total), slopes, reduce(add, metric), 2.0 * reduce(add, bend)

    def _hidden(self, t: Tensor, x: Tensor, order: int, j: slice) -> list[Tensor]:
        """The coefficients 0..k of the last hidden layer, `(..., j, h)`."""
        slope = self.slope[j]
        start = torch.addcmul(self.bias[j], t[..., None, None], self.drift[j])
        value = torch.addcmul(start, x[..., j].unsqueeze(-1), slope)
        # Along x_j the first layer is a straight line, so its series ends there.
        y = self._activate([value, slope, *([None] * (order - 1))][: order + 1])
        for weight, bias in zip(self.weights, self.biases, strict=False):
            value, *rest = _times(y, weight[j])
            y = self._activate([value + bias[j], *rest])
        return y

    def _activate(self, z: taylor.Series) -> list[Tensor]:
        value, *rest = self.activation.rule(z)
        if value is None:
            raise ValueError("an activation's rule must return a value.")
        zero = value.new_zeros(())
        return [value, *((zero if c is None else c).expand_as(value) for c in rest)]

    def _last(self, j: slice) -> Tensor:
        return self.weights[-1][j] / math.sqrt(self.dim)

    def _blocks(self, x: Tensor) -> Iterator[slice]:
        width = max(1, _BLOCK_ROWS * self.dim // max(x.numel(), 1))
        return (slice(j, j + width) for j in range(0, self.dim, width))


def _times(y: list[Tensor], weight: Tensor) -> list[Tensor]:
    """`y_j W_j`, `(..., j, b)`, of every coefficient."""
    return [torch.einsum("...ja,jab->...jb", c, weight) for c in y]


def _sum_of_products(y: Tensor, weight: Tensor) -> Tensor:
    """`sum_j y_j W_j`, `(..., b)`, as one product."""
    return y.flatten(-2) @ weight.flatten(0, 1)


def _uniform(*shape: int) -> Tensor:
    return torch.empty(shape).uniform_(-1, 1)
