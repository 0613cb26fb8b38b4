r"""The outer network F of a scalar field, with its first and second derivatives.

$$ F(z_1) = w^\top f(z_L) + b, \quad z_{l+1} = V_l f(z_l) + b_l, $$

from its first pre-activation z_1 on, so that the fields differ in the map to z_1 alone. With the
tangents `T_l = dz_l / ds` along r directions, and `w_l = (dF / df(z_l)) f''(z_l)` from the reverse
sweep, the second derivatives are `sum_l T_l diag(w_l) T_l^T`: r + 2 passes, all of them linear
algebra that autograd differentiates further like any other.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from hollowpde import taylor
from hollowpde.nets.activations import Activation

# Rows of a symmetric matrix that are taken at once.
_BLOCK = 8


class Tangents(Protocol):
    """Tangents T `(..., r, n)` along r directions."""

    def along(self, w: Tensor) -> Tensor:
        """`T diag(w) T^T`, `(..., r, r)`."""
        ...

    def each(self, w: Tensor) -> Tensor:
        """Its diagonal, `(..., r)`."""
        ...

    def squares(self, metric: Tensor) -> Tensor:
        """`t^T G t` of every column t of T with a symmetric G `(..., r, r)`, `(..., n)`."""
        ...

    def through(self, slope: Tensor, layer: nn.Linear) -> Tangents:
        """Those of the next layer, `T diag(f') V^T`."""
        ...


class Unit:
    """The identity: the n unit directions."""

    def along(self, w: Tensor) -> Tensor:
        return w.diag_embed()

    def each(self, w: Tensor) -> Tensor:
        return w

    def squares(self, metric: Tensor) -> Tensor:
        return metric.diagonal(dim1=-2, dim2=-1)

    def through(self, slope: Tensor, layer: nn.Linear) -> Tangents:
        return Scaled(slope, layer.weight)


@dataclass(frozen=True)
class Dense:
    """A matrix of each sample's own."""

    T: Tensor

    def along(self, w: Tensor) -> Tensor:
        return (self.T * w.unsqueeze(-2)) @ self.T.mT

    def each(self, w: Tensor) -> Tensor:
        return (self.T.square() @ w.unsqueeze(-1)).squeeze(-1)

    def squares(self, metric: Tensor) -> Tensor:
        return ((metric @ self.T) * self.T).sum(-2)

    def through(self, slope: Tensor, layer: nn.Linear) -> Tangents:
        return Dense((self.T * slope.unsqueeze(-2)) @ layer.weight.T)


@dataclass(frozen=True)
class Scaled:
    r"""`diag(s) V^T`, with V `(n, r)` the same for all samples: what unit directions become.

    $$ t_k^\top G t_k = \sum_{i \le j} (2 - \delta_{ij}) \, V_{ki} G_{ij} V_{kj} \, s_i s_j, $$

    half the products of a matrix for each sample, and all of them in a few large ones.
    """

    s: Tensor
    V: Tensor

    def along(self, w: Tensor) -> Tensor:
        return self._dense.along(w)

    def each(self, w: Tensor) -> Tensor:
        return self._dense.each(w)

    def squares(self, metric: Tensor) -> Tensor:
        if metric.ndim > 2:
            return self._dense.squares(metric)
        s, V, out = self.s, self.V, []
        for begin in range(0, s.shape[-1], _BLOCK):
            # Rows i of a block, columns j from there on: those beyond it count twice.
            end = min(begin + _BLOCK, s.shape[-1])
            twice = torch.cat([metric[begin:end, begin:end], 2 * metric[begin:end, end:]], -1)
            fixed = V[:, begin:end, None] * twice * V[:, None, begin:]
            pairs = s[..., begin:end, None] * s[..., None, begin:]
            out.append(pairs.flatten(-2) @ fixed.flatten(-2).T)
        return reduce(operator.add, out)

    def through(self, slope: Tensor, layer: nn.Linear) -> Tangents:
        return self._dense.through(slope, layer)

    @property
    def _dense(self) -> Dense:
        return Dense(self.s.unsqueeze(-1) * self.V.T)


@dataclass(frozen=True)
class Curvature:
    """The Hessian `H = sum_l T_l diag(w_l) T_l^T` along r directions, kept as its factors.

    Each factor is T `(..., r, n)` and w `(..., n)`.
    """

    factors: list[tuple[Tangents, Tensor]]

    def matrix(self) -> Tensor:
        """H, `(..., r, r)`."""
        return reduce(operator.add, (T.along(w) for T, w in self.factors))

    def diagonal(self) -> Tensor:
        """Its diagonal, `(..., r)`: the second derivative along each direction."""
        return reduce(operator.add, (T.each(w) for T, w in self.factors))

    def trace(self, metric: Tensor) -> Tensor:
        """`tr(H G)` with a symmetric G `(..., r, r)`, definite or not."""
        return reduce(operator.add, ((w * T.squares(metric)).sum(-1) for T, w in self.factors))


class Outer(nn.Module):
    """The layers of F after the first linear map."""

    def __init__(self, hidden: tuple[int, ...], activation: Activation) -> None:
        super().__init__()
        self.activation = activation
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(hidden))
        self.out = nn.Linear(hidden[-1], 1)

    def forward(self, z: Tensor) -> Tensor:
        """F `(...)` at z `(..., n)`."""
        return self._at(z, 0)[0]

    def series(self, z: taylor.Series) -> taylor.Series:
        """The Taylor rule of F."""
        for layer in (*self._layers, self.out):
            z = taylor.linear(self.activation.rule(z), layer.weight, layer.bias)
        return [None if c is None else c.squeeze(-1) for c in z]

    def first(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """F `(...)` and dF/dz `(..., n)`."""
        value, at = self._at(z, 1)
        return value, self._sensitivities(at)[0] * at[0][1]

    def second(self, z: Tensor, tangents: Tensor | None) -> tuple[Tensor, Tensor, Curvature]:
        """F, dF/dz, and the second derivatives of F along tangents of z, `(..., r, n)`.

        None stands for the n unit directions of z.
        """
        value, at = self._at(z, 2)
        sensitivities = self._sensitivities(at)
        T: Tangents = Unit() if tangents is None else Dense(tangents)
        factors = [(T, sensitivities[0] * at[0][2])]
        for layer, below, here, sensitivity in zip(
            self._layers, at, at[1:], sensitivities[1:], strict=False
        ):
            T = T.through(below[1], layer)
            factors.append((T, sensitivity * here[2]))
        return value, sensitivities[0] * at[0][1], Curvature(factors)

    @property
    def _layers(self) -> list[nn.Linear]:
        return list(cast("Iterable[nn.Linear]", self.hidden))

    def _at(self, z: Tensor, order: int) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
        """F, and f, f', ..., f^(order) at every z_l."""
        at = []
        for layer in (*self._layers, self.out):
            at.append(taylor.derivatives([*self.activation.rule.about(z, order)]))
            z = layer(at[-1][0])
        return z.squeeze(-1), at

    def _sensitivities(self, at: list[tuple[Tensor, ...]]) -> list[Tensor]:
        """dF / df(z_l) of every layer: the reverse sweep."""
        sweep = [self.out.weight.squeeze(0)]
        for layer, (_, slope, *_) in zip(self._layers[::-1], at[:0:-1], strict=True):
            sweep.append((sweep[-1] * slope) @ layer.weight)
        return sweep[::-1]
