"""Many small networks of one coordinate each, phi_j(t, x_j), with their series along it."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Iterable, Iterator
from functools import reduce

import torch
from torch import Tensor, nn

from hollowpde import taylor
from hollowpde.errors import InputError
from hollowpde.nets.activations import Activation

# Rows (samples x coordinates) of one block of coordinates, whose activations stay in the cache.
_BLOCK_ROWS = 16384

# One number for all coordinates, or one for each; None where there is no period.
Period = float | tuple[float | None, ...] | None


class Coordinates(nn.Module):
    r"""`phi_j(t, x_j)`, R -> R^m, for all j at once: an MLP for each coordinate, or one for all.

    Where x_j has a period, the first layer takes its first harmonic in the place of x_j, so that
    phi_j is exactly periodic:

    $$ z_j = A_j \sin \omega_j x_j + B_j \cos \omega_j x_j + t c_j + b_j $$

    The last layer has no bias, and a factor 1 / sqrt(d) which keeps the sum over j of order one;
    so that this also holds of a shared phi, it starts with a mean of zero.
    A series along x_j is a list of its coefficients, of the shape `(..., d, m)`.
    """

    def __init__(
        self,
        dim: int,
        features: int,
        hidden: tuple[int, ...],
        activation: Activation,
        shared: bool = False,
        period: Period = None,
    ) -> None:
        super().__init__()
        self.dim, self.activation = dim, activation
        n = 1 if shared else dim
        self.slope = nn.Parameter(_uniform(n, hidden[0]) * math.sqrt(3))
        self.drift = nn.Parameter(_uniform(n, hidden[0]))
        self.bias = nn.Parameter(_uniform(n, hidden[0]))
        widths = (*hidden, features)
        self.weights = nn.ParameterList(
            _uniform(n, a, b) * math.sqrt(3 / a) for a, b in itertools.pairwise(widths)
        )
        self.biases = nn.ParameterList(_uniform(n, b) for b in hidden[1:])
        # Not a buffer, which `float` would round: phi would lose its period in float64.
        self.omega = _frequencies(period, dim)
        if self.omega is not None:
            self.cosine = nn.Parameter(_uniform(n, hidden[0]) * math.sqrt(3))
        if shared:
            self._centre()

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
        y = self._activate(self._first(t, x, order, j))
        for weight, bias in zip(self.weights, self.biases, strict=False):
            value, *rest = _times(y, _of(weight, j))
            y = self._activate([value + _of(bias, j), *rest])
        return y

    def _first(self, t: Tensor, x: Tensor, order: int, j: slice) -> taylor.Series:
        """The coefficients 0..k of the first pre-activation."""
        x, slope = x[..., j].unsqueeze(-1), _of(self.slope, j)
        start = torch.addcmul(_of(self.bias, j), t[..., None, None], _of(self.drift, j))
        if self.omega is None:
            # Along x_j the first layer is a straight line, so its series ends there.
            line = [torch.addcmul(start, x, slope), slope, *([None] * (order - 1))]
            return line[: order + 1]
        omega, cosine = self.omega[j].to(x).unsqueeze(-1), _of(self.cosine, j)
        s, c = (omega * x).sin(), (omega * x).cos()
        # Where there is no period omega is 0, and x_j and 0 take the places of sine and cosine.
        straight = (omega == 0).to(x)
        wave = [torch.addcmul(slope * (s + straight * x), cosine, c - straight)]
        if order:
            rise = slope * (omega * c + straight)
            wave.append(torch.addcmul(rise, cosine, omega * s, value=-1.0))
        for k in range(2, order + 1):  # y'' = -omega^2 y
            wave.append(wave[k - 2] * (omega.square() / (-k * (k - 1))))
        return [start + wave[0], *wave[1:]]

    @torch.no_grad()
    def _centre(self) -> None:
        """Take the mean of phi at t = 0 and t = 1 out of the last layer, for x_j of order one.

        The means of d networks cancel in the sum over j. That of a single one would add up to
        sqrt(d) times itself, and in a product of d factors to the exponential of that.
        """
        x = torch.randn(64, self.dim)
        times = (torch.zeros(64), torch.ones(64))
        hidden = [
            [self._hidden(t, x, 0, j)[0].sum((0, 1)) for j in self._blocks(x)] for t in times
        ]
        means = torch.stack([reduce(operator.add, sums) for sums in hidden], dim=-1)
        basis, last = torch.linalg.qr(means).Q, self.weights[-1]
        last -= basis @ (basis.T @ last)

    def _activate(self, z: taylor.Series) -> list[Tensor]:
        value, *rest = self.activation.rule(z)
        if value is None:
            raise ValueError("an activation's rule must return a value.")
        zero = value.new_zeros(())
        return [value, *((zero if c is None else c).expand_as(value) for c in rest)]

    def _last(self, j: slice) -> Tensor:
        return _of(self.weights[-1], j) / math.sqrt(self.dim)

    def _blocks(self, x: Tensor) -> Iterator[slice]:
        width = max(1, _BLOCK_ROWS * self.dim // max(x.numel(), 1))
        return (slice(j, j + width) for j in range(0, self.dim, width))


def _of(parameter: Tensor, j: slice) -> Tensor:
    """That of the coordinates j; a shared one has a single row, which broadcasts."""
    return parameter if len(parameter) == 1 else parameter[j]


def _times(y: list[Tensor], weight: Tensor) -> list[Tensor]:
    """`y_j W_j`, `(..., j, b)`, of every coefficient."""
    return [torch.einsum("...ja,jab->...jb", c, weight) for c in y]


def _sum_of_products(y: Tensor, weight: Tensor) -> Tensor:
    """`sum_j y_j W_j`, `(..., b)`, as one product."""
    if len(weight) == 1:
        return y.sum(-2) @ weight.squeeze(0)
    return y.flatten(-2) @ weight.flatten(0, 1)


def _uniform(*shape: int) -> Tensor:
    return torch.empty(shape).uniform_(-1, 1)


def _frequencies(period: Period, dim: int) -> Tensor | None:
    """`omega_j = 2 pi / period_j` `(d,)`, 0 where there is none; None if there is none at all."""
    periods = tuple(period) if isinstance(period, Iterable) else (period,) * dim
    if len(periods) != dim:
        raise InputError(
            f"period must be one number, or a tuple of {dim}, one for each coordinate, "
            f"but is {period}."
        )
    if not all(p is None or 0 < p < math.inf for p in periods):
        raise InputError(
            f"period must be positive and finite, or None where there is none, but is {period}."
        )
    omega = [2 * math.pi / p if p else 0.0 for p in periods]
    return torch.tensor(omega, dtype=torch.float64) if any(omega) else None
