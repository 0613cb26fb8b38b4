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
from typing import cast

from torch import Tensor, nn

from hollowpde import taylor
from hollowpde.nets.activations import Activation


@dataclass(frozen=True)
class Curvature:
    """The Hessian `H = sum_l T_l diag(w_l) T_l^T` along r directions, kept as its factors.

    Each factor is T `(..., r, n)` and w `(..., n)`; None stands for the identity, r = n.
    """

    factors: list[tuple[Tensor | None, Tensor]]

    def matrix(self) -> Tensor:
        """H, `(..., r, r)`."""
        parts = (
            w.diag_embed() if tangents is None else (tangents * w.unsqueeze(-2)) @ tangents.mT
            for tangents, w in self.factors
        )
        return reduce(operator.add, parts)

    def diagonal(self) -> Tensor:
        """Its diagonal, `(..., r)`: the second derivative along each direction."""
        parts = (
            w if tangents is None else (tangents.square() @ w.unsqueeze(-1)).squeeze(-1)
            for tangents, w in self.factors
        )
        return reduce(operator.add, parts)

    def trace(self, metric: Tensor) -> Tensor:
        """`tr(H G)` with a symmetric G `(..., r, r)`, definite or not."""
        parts = (
            (w * (_diagonal(metric) if tangents is None else _squares(tangents, metric))).sum(-1)
            for tangents, w in self.factors
        )
        return reduce(operator.add, parts)


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
        factors = [(tangents, sensitivities[0] * at[0][2])]
        for layer, below, here, sensitivity in zip(
            self._layers, at, at[1:], sensitivities[1:], strict=False
        ):
            slope = below[1]
            if tangents is None:
                tangents = slope.unsqueeze(-1) * layer.weight.T
            else:
                tangents = (tangents * slope.unsqueeze(-2)) @ layer.weight.T
            factors.append((tangents, sensitivity * here[2]))
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


def _squares(tangents: Tensor, metric: Tensor) -> Tensor:
    """`t^T G t` of every column t of T, `(..., n)`."""
    return ((metric @ tangents) * tangents).sum(-2)


def _diagonal(metric: Tensor) -> Tensor:
    return metric.diagonal(dim1=-2, dim2=-1)
