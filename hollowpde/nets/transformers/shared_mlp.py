"""The shared-MLP transformer: one small network for all dimensions, told which one it is at."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from hollowpde import taylor
from hollowpde.errors import InputError
from hollowpde.nets.activations import Activation, tanh
from hollowpde.nets.transformers.base import Transformer, TransformerSpec


@dataclass(frozen=True)
class SharedMLP(TransformerSpec):
    r"""`tau_i(x_i, h_i) = a_i x_i + b_i + MLP(x_i, h_i, t, e_i)`, the MLP shared over i.

    The learned embedding e_i of the dimension enters the first layer. All derivatives with
    respect to x_i come from one truncated Taylor pass.

    Arguments:
        hidden: widths of the hidden layers; the last ones set the cost at large d.
        activation: nonlinearity between the layers.

    Raises:
        InputError: no hidden layer, or a width below 1.

    Example:
        >>> hp.SharedMLP(hidden=(32, 32))
        SharedMLP(hidden=(32, 32), activation=Activation(tanh))
    """

    hidden: tuple[int, ...] = (32, 32)
    activation: Activation = tanh

    def __post_init__(self) -> None:
        if not self.hidden or min(self.hidden) < 1:
            raise InputError(
                f"hidden must hold at least one width, all positive, but is {self.hidden}."
            )

    def build(self, dim: int, features: int, covariates: int) -> Transformer:
        return SharedTransformer(self, dim, features, covariates)


class SharedTransformer(Transformer):
    """The module that `SharedMLP` describes."""

    def __init__(self, spec: SharedMLP, dim: int, features: int, covariates: int) -> None:
        super().__init__()
        self.activation = spec.activation
        first, *rest = spec.hidden
        self.embedding = nn.Parameter(torch.empty(dim, first).uniform_(-1, 1))
        self.from_x = nn.Parameter(torch.empty(first).uniform_(-1, 1) * math.sqrt(3))
        self.from_h = nn.Linear(features, first, bias=False) if features else None
        self.from_c = nn.Linear(covariates, first, bias=False)
        self.hidden = nn.ModuleList(
            nn.Linear(a, b) for a, b in zip(spec.hidden, rest, strict=False)
        )
        self.out = nn.Linear(spec.hidden[-1], 1, bias=False)
        self.slope = nn.Parameter(torch.zeros(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> Tensor:
        return self.dimwise(x, h, c, 0)[0]

    def dimwise(self, x: Tensor, h: Tensor, c: Tensor, order: int) -> tuple[Tensor, ...]:
        value = self.from_c(c).unsqueeze(-2) + self.embedding
        if self.from_h is not None:
            value = value + self.from_h(h)
        value = torch.addcmul(value, x.unsqueeze(-1), self.from_x)
        # Along x_i the first layer is a straight line of constant slope, so its series ends there.
        z: taylor.Series = [value, self.from_x, *([None] * (order - 1))][: order + 1]
        for layer in cast("Iterable[nn.Linear]", self.hidden):
            z = taylor.linear(self.activation.rule(z), layer.weight, layer.bias)
        y = taylor.linear(self.activation.rule(z), self.out.weight)
        y = [None if coefficient is None else coefficient.squeeze(-1) for coefficient in y]
        line: taylor.Series = [torch.addcmul(self.bias, x, self.slope), self.slope]
        return taylor.derivatives(taylor.add(y, [*line, *([None] * (order - 1))][: order + 1]))
