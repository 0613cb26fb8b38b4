"""The pooling conditioner: h_i from the mean over the other dimensions of a shared embedding."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hollowpde.errors import InputError
from hollowpde.nets.activations import Activation, silu
from hollowpde.nets.conditioners.base import Conditioner, ConditionerSpec, NoConditioner
from hollowpde.nets.conditioners.blocks import ROWS, in_blocks


@dataclass(frozen=True)
class ExclusivePooling(ConditionerSpec):
    r"""A deep set over the others, `h_i = rho(1/(d-1) sum_{j != i} phi(x_j, c), c)`.

    phi and rho are small MLPs shared by all dimensions; the cost is linear in d.

    Without `identity`, h is permutation-equivariant: h_i is a symmetric function of the others,
    which suits exchangeable particles and mean fields, and cannot represent a ring or a chain,
    where one neighbour differs from another. (The field f itself is equivariant only if the
    transformer is: `SharedMLP` embeds the dimension, so it is not.) With `identity`, learned
    embeddings of j enter phi and of i enter rho: no longer equivariant, and couplings may depend
    on who is coupled to whom. Either way h_i knows the others through `hidden[-1]` means: a ring
    of many more dimensions than that asks for `MaskedMLP` or `Convolution1d`.

    Arguments:
        hidden: widths of phi; the last one is that of the mean and of the hidden layer of rho.
        features: width of h_i.
        identity: whether dimensions are told apart.
        activation: nonlinearity of phi and rho.

    Raises:
        InputError: no hidden layer, a width below 1, or no feature.

    Source:
        Zaheer et al., Deep Sets (2017).

    Example:
        >>> hp.ExclusivePooling(hidden=(32,), identity=True)
        ExclusivePooling(hidden=(32,), features=16, identity=True, activation=Activation(silu))
    """

    hidden: tuple[int, ...] = (32, 32)
    features: int = 16
    identity: bool = False
    activation: Activation = silu

    def __post_init__(self) -> None:
        if not self.hidden or min(self.hidden) < 1:
            raise InputError(
                f"hidden must hold at least one width, all positive, but is {self.hidden}."
            )
        if self.features < 1:
            raise InputError(f"features must be at least 1, but is {self.features}.")

    def build(self, dim: int, covariates: int) -> Conditioner:
        return NoConditioner() if dim == 1 else Pooling(self, dim, covariates)


class Pooling(Conditioner):
    """The module that `ExclusivePooling` describes."""

    def __init__(self, spec: ExclusivePooling, dim: int, covariates: int) -> None:
        super().__init__()
        self.dim, self.features, self.activation = dim, spec.features, spec.activation
        first, last = spec.hidden[0], spec.hidden[-1]
        self.from_x = nn.Parameter(torch.empty(first).uniform_(-1, 1) * math.sqrt(3))
        self.from_c = nn.Linear(covariates, first)
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(spec.hidden))
        self.from_mean = nn.Linear(last, last, bias=False)
        self.mean_from_c = nn.Linear(covariates, last)
        self.out = nn.Linear(last, spec.features)
        self.source, self.target = (
            nn.Parameter(torch.empty(dim, width).uniform_(-1, 1)) if spec.identity else None
            for width in (first, last)
        )

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        return in_blocks(self._block, x, c, samples=ROWS // self.dim)

    def _block(self, x: Tensor, c: Tensor) -> Tensor:
        z = self.from_c(c).unsqueeze(-2) + x.unsqueeze(-1) * self.from_x
        if self.source is not None:
            z = z + self.source
        for layer in self.hidden:
            z = layer(self.activation(z))
        mean = exclusive_sum(self.activation(z)) / (self.dim - 1)
        z = self.from_mean(mean) + self.mean_from_c(c).unsqueeze(-2)
        if self.target is not None:
            z = z + self.target
        return self.out(self.activation(z))

    def extra_repr(self) -> str:
        return f"dim={self.dim}, identity={self.source is not None}"


def exclusive_sum(u: Tensor) -> Tensor:
    """`sum_{j != i} u_j` along the last axis but one, as what is before i plus what is after it.

    The total minus u_i would be hollow only up to rounding.

    >>> exclusive_sum(torch.tensor([[1.0], [10.0], [100.0]])).squeeze(-1)
    tensor([110., 101.,  11.])
    """
    before = F.pad(u, (0, 0, 1, -1)).cumsum(-2)
    after = F.pad(u, (0, 0, -1, 1)).flip(-2).cumsum(-2).flip(-2)
    return before + after
