"""The affine-gate transformer: a line in x_i and a few gates, all steered by h_i."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hollowpde import taylor
from hollowpde.errors import InputError
from hollowpde.nets.activations import Activation, silu
from hollowpde.nets.transformers.base import Transformer, TransformerSpec


@dataclass(frozen=True)
class AffineGate(TransformerSpec):
    r"""A line in x_i and a few units, steered by h_i, and some more units of x_i alone.

    $$ \tau_i(x_i, h_i) = \alpha_i + \beta_i x_i
       + \sum_{r=1}^{R} \gamma_{ir} \, \sigma(w_{ir} x_i + \delta_{ir})
       + \sum_{s=1}^{S} v_{is} \, \sigma(u_{is} x_i + b_{is}) $$

    The 2 + 2R numbers (alpha, beta, gamma, delta) are h_i itself if it has that many features: no
    matrix acts on a row, and the cost is a small part of a `SharedMLP`'s, the one to use in many
    dimensions. Otherwise they are linear in h_i and the covariates, with an offset for each i. The
    other coefficients are parameters. What the other dimensions change of f_i as a function of
    x_i is a line and R units of given steepness: more than that is out of its reach.

    Arguments:
        gates: R, the units that h_i steers.
        own: S, the units of x_i alone, for every i.
        activation: sigma.

    Raises:
        InputError: gates below 1 or own below 0.

    Source:
        After the scale-and-shift layers of Dinh et al., Density Estimation Using Real NVP (2017),
        and Ha et al., HyperNetworks (2017).

    Example:
        >>> net = hp.HollowNet(
        ...     100, conditioner=hp.MaskedMLP(features=6), transformer=hp.AffineGate(gates=2)
        ... )
        >>> net(0.0, torch.zeros(5, 100)).shape
        torch.Size([5, 100])
    """

    gates: int = 2
    own: int = 4
    activation: Activation = silu

    def __post_init__(self) -> None:
        if self.gates < 1 or self.own < 0:
            raise InputError(
                "gates must be at least 1 and own at least 0, but they are "
                f"{self.gates} and {self.own}."
            )

    def build(self, dim: int, features: int, covariates: int) -> Transformer:
        return GatedTransformer(self, dim, features, covariates)


class GatedTransformer(Transformer):
    """The module that `AffineGate` describes."""

    def __init__(self, spec: AffineGate, dim: int, features: int, covariates: int) -> None:
        super().__init__()
        self.gates, self.activation = spec.gates, spec.activation
        numbers = 2 + 2 * spec.gates
        self.steered = None if features == numbers else Steered(dim, features, covariates, numbers)
        units = spec.gates + spec.own
        self.steepness = nn.Parameter((2 * torch.rand(units, dim) - 1) * 3**0.5)
        self.own_height = nn.Parameter((2 * torch.rand(spec.own, dim) - 1) * units**-0.5)
        self.own_place = nn.Parameter((2 * torch.rand(spec.own, dim) - 1) * 3**0.5)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> Tensor:
        return self.dimwise(x, h, c, 0)[0]

    def dimwise(self, x: Tensor, h: Tensor, c: Tensor, order: int) -> tuple[Tensor, ...]:
        alpha, beta, *units = (h if self.steered is None else self.steered(h, c)).unbind(-1)
        heights = [*units[: self.gates], *self.own_height]
        places = [*units[self.gates :], *self.own_place]
        line = [torch.addcmul(alpha, beta, x), beta, *[None] * (order - 1)]
        y: taylor.Series = line[: order + 1]
        for height, place, steepness in zip(heights, places, self.steepness, strict=True):
            f = self.activation.rule.about(torch.addcmul(place, x, steepness), order)
            for k in range(order + 1):
                # Along x_i the unit is a function of a straight line of that steepness.
                y[k] = _plus_product(y[k], height, f[k])
                height = height * steepness if k < order else height
        return taylor.derivatives(y)


class Steered(nn.Module):
    """Numbers for each dimension, linear in its h and the covariates, with offsets of its own."""

    def __init__(self, dim: int, features: int, covariates: int, numbers: int) -> None:
        super().__init__()
        self.from_h = nn.Linear(features, numbers, bias=False) if features else None
        self.from_c = nn.Linear(covariates, numbers, bias=False)
        self.offset = nn.Parameter(torch.empty(dim, numbers).uniform_(-1, 1))

    def forward(self, h: Tensor, c: Tensor) -> Tensor:
        own = self.from_c(c).unsqueeze(-2) + self.offset
        return own if self.from_h is None else own + self.from_h(h)


def _plus_product(total: Tensor | None, a: Tensor, b: Tensor) -> Tensor:
    return a * b if total is None else torch.addcmul(total, a, b)
