"""The shared-MLP transformer: one small network for all dimensions, told which one it is at."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hollowpde import taylor
from hollowpde.nets.activations import Activation, silu
from hollowpde.nets.transformers.base import Transformer, TransformerSpec, check_widths


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
        SharedMLP(hidden=(32, 32), activation=Activation(silu))
    """

    hidden: tuple[int, ...] = (32, 32)
    activation: Activation = silu

    def __post_init__(self) -> None:
        check_widths(self.hidden)

    def build(self, dim: int, features: int, covariates: int) -> Transformer:
        return SharedTransformer(self, dim, features, covariates)


class SharedTransformer(Transformer):
    """The module that `SharedMLP` describes."""

    def __init__(self, spec: SharedMLP, dim: int, features: int, covariates: int) -> None:
        super().__init__()
        self.activation, self.width = spec.activation, max(spec.hidden)
        first, *rest = spec.hidden
        self.embedding = nn.Parameter(torch.empty(dim, first).uniform_(-1, 1))
        self.from_x = nn.Parameter(torch.empty(first).uniform_(-1, 1) * math.sqrt(3))
        self.from_h = nn.Linear(features, first, bias=False) if features else None
        bound = covariates**-0.5
        self.from_c = nn.Parameter(torch.empty(covariates, first).uniform_(-bound, bound))
        self.hidden = nn.ModuleList(
            nn.Linear(a, b) for a, b in zip(spec.hidden, rest, strict=False)
        )
        last = spec.hidden[-1]
        self.out = nn.Parameter((2 * torch.rand(last) - 1) * last**-0.5)
        self.slope = nn.Parameter(torch.zeros(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> Tensor:
        return self.dimwise(x, h, c, 0)[0]

    def dimwise(self, x: Tensor, h: Tensor, c: Tensor, order: int) -> tuple[Tensor, ...]:
        if c.shape[-1] == 1:  # time alone, and no product of matrices
            value = torch.addcmul(self.embedding, c.unsqueeze(-1), self.from_c)
        else:
            value = self.embedding + (c @ self.from_c).unsqueeze(-2)
        from_x, from_h = self.from_x, self.from_h
        value = torch.addcmul(value, x.unsqueeze(-1), from_x)
        if from_h is not None:
            rows = torch.addmm(value.flatten(0, -2), h.flatten(0, -2), from_h.weight.t())
            value = rows.view_as(value)
        # Along x_i the first layer is a straight line of slope w: what its units give has the
        # coefficients f_k w^k, of which w^k goes into the weights of the next layer.
        f = self.activation.rule.about(value, order)
        hidden = cast("Iterable[nn.Linear]", self.hidden)
        layers: list[tuple[Tensor, Tensor | None]] = [(k.weight, k.bias) for k in hidden]
        (weight, bias), *rest = [*layers, (self.out, None)]
        weights = itertools.accumulate([weight, *[from_x] * order], torch.mul)
        biases = [bias, *[None] * order]
        y: taylor.Series = [F.linear(*parts) for parts in zip(f, weights, biases, strict=True)]
        for weight, bias in rest:
            y = taylor.linear(self.activation.rule(y), weight, bias)
        line: taylor.Series = [torch.addcmul(self.bias, x, self.slope), self.slope]
        return taylor.derivatives(taylor.add(y, [*line, *([None] * (order - 1))][: order + 1]))
