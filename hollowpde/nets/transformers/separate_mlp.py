"""The separate-MLP transformer: a small network of its own for every dimension."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hollowpde import taylor
from hollowpde.nets.activations import Activation, silu
from hollowpde.nets.transformers.base import Transformer, TransformerSpec, check_widths


@dataclass(frozen=True)
class SeparateMLP(TransformerSpec):
    r"""`tau_i(x_i, h_i) = a_i x_i + b_i + MLP_i(x_i, h_i, t)`, one MLP for each i.

    Nothing is shared between dimensions, so that they may differ in kind, at d times as many
    parameters. Every layer is a batched product of matrices; with few samples in a batch the
    reading of the weights dominates. `SharedMLP` is cheaper where dimensions are alike.

    Arguments:
        hidden: widths of the hidden layers of each MLP.
        activation: nonlinearity between the layers.

    Raises:
        InputError: no hidden layer, or a width below 1.

    Example:
        >>> net = hp.HollowNet(3, transformer=hp.SeparateMLP(hidden=(16, 16)))
        >>> net(0.0, torch.zeros(5, 3)).shape
        torch.Size([5, 3])
    """

    hidden: tuple[int, ...] = (32, 32)
    activation: Activation = silu

    def __post_init__(self) -> None:
        check_widths(self.hidden)

    def build(self, dim: int, features: int, covariates: int) -> Transformer:
        return SeparateTransformer(self, dim, features, covariates)


class SeparateTransformer(Transformer):
    """The module that `SeparateMLP` describes; inside, the dimension is the first axis."""

    def __init__(self, spec: SeparateMLP, dim: int, features: int, covariates: int) -> None:
        super().__init__()
        self.activation = spec.activation
        first, *rest = spec.hidden
        self.from_x = nn.Parameter((2 * torch.rand(dim, 1, first) - 1) * 3**0.5)
        self.from_h = _weight(dim, features, first) if features else None
        self.from_c = _weight(dim, covariates, first)
        self.shift = nn.Parameter(2 * torch.rand(dim, 1, first) - 1)
        widths = list(zip(spec.hidden, rest, strict=False))
        self.weights = nn.ParameterList(_weight(dim, a, b) for a, b in widths)
        self.biases = nn.ParameterList(_bias(dim, a, b) for a, b in widths)
        self.out = _weight(dim, spec.hidden[-1], 1)
        self.slope = nn.Parameter(torch.zeros(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> Tensor:
        return self.dimwise(x, h, c, 0)[0]

    def dimwise(self, x: Tensor, h: Tensor, c: Tensor, order: int) -> tuple[Tensor, ...]:
        d = x.shape[-1]
        by_dim = x.reshape(-1, d).t().unsqueeze(-1)  # (d, samples, 1)
        covariates = c.reshape(-1, c.shape[-1]).expand(d, -1, -1)
        value = torch.addcmul(self.shift, by_dim, self.from_x) + covariates @ self.from_c
        if self.from_h is not None:
            features = h.reshape(-1, *h.shape[-2:]).transpose(0, 1)
            value = value + features @ self.from_h
        # Along x_i the first layer is a straight line of constant slope, so its series ends there.
        z: taylor.Series = [value, self.from_x, *([None] * (order - 1))][: order + 1]
        for weight, bias in zip(self.weights, self.biases, strict=True):
            z = _linear(self.activation.rule(z), weight, bias)
        y = _linear(self.activation.rule(z), self.out)
        y = [None if a is None else a.squeeze(-1).t().reshape(x.shape) for a in y]
        line: taylor.Series = [torch.addcmul(self.bias, x, self.slope), self.slope]
        return taylor.derivatives(taylor.add(y, [*line, *([None] * (order - 1))][: order + 1]))


def _linear(series: taylor.Series, weight: Tensor, bias: Tensor | None = None) -> taylor.Series:
    """A linear map of its own for each dimension, the first axis."""
    y = [None if a is None else a @ weight for a in series]
    if bias is not None and y[0] is not None:
        y[0] = y[0] + bias
    return y


def _weight(dim: int, columns: int, rows: int) -> nn.Parameter:
    return nn.Parameter((2 * torch.rand(dim, columns, rows) - 1) * columns**-0.5)


def _bias(dim: int, columns: int, rows: int) -> nn.Parameter:
    return nn.Parameter((2 * torch.rand(dim, 1, rows) - 1) * columns**-0.5)
