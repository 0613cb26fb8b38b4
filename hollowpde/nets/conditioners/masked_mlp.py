"""The masked-MLP conditioner: two autoregressive streams, one in each order of the dimensions."""

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


@dataclass(frozen=True)
class MaskedMLP(ConditionerSpec):
    r"""Two masked MLPs, `h_i = [a_i(x_1..x_{i-1}), b_i(x_{i+1}..x_d)]`.

    Each stream is an autoregressive network (MADE) whose hidden units carry a degree, the number
    of dimensions that they may see. With fewer units than dimensions the degrees are those of
    groups of neighbouring dimensions, and a locally connected linear layer over the nearest
    neighbours supplies what the groups hide: h_i depends on every x_j, j != i, at any width.

    It represents any coupling between dimensions, and is not permutation-equivariant. Left and
    right neighbours meet only in the transformer.

    Arguments:
        hidden: widths of the hidden layers of each stream.
        features: width of h_i; half of it for each stream.
        activation: nonlinearity between the layers.

    Raises:
        InputError: no hidden layer, a width below 1, or fewer than 2 features.

    Source:
        Germain et al., MADE: Masked Autoencoder for Distribution Estimation (2015); two streams:
        Chen and Duvenaud, Neural Networks with Cheap Differential Operators (2019).

    Example:
        >>> hp.MaskedMLP(hidden=(64, 64), features=8)
        MaskedMLP(hidden=(64, 64), features=8, activation=Activation(silu))
    """

    hidden: tuple[int, ...] = (64, 64)
    features: int = 16
    activation: Activation = silu

    def __post_init__(self) -> None:
        if not self.hidden or min(self.hidden) < 1:
            raise InputError(
                f"hidden must hold at least one width, all positive, but is {self.hidden}."
            )
        if self.features < 2:
            raise InputError(
                f"features must be at least 2, one for each stream, but is {self.features}."
            )

    def build(self, dim: int, covariates: int) -> Conditioner:
        return NoConditioner() if dim == 1 else TwoStreams(self, dim, covariates)


class TwoStreams(Conditioner):
    """The module that `MaskedMLP` describes."""

    def __init__(self, spec: MaskedMLP, dim: int, covariates: int) -> None:
        super().__init__()
        self.features = spec.features
        before = spec.features // 2
        self.before = Stream(spec, dim, covariates, before, reverse=False)
        self.after = Stream(spec, dim, covariates, spec.features - before, reverse=True)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        return torch.cat([self.before(x, c), self.after(x, c)], dim=-1)


class Stream(nn.Module):
    """h_i as a function of the dimensions before i, or of those after it (`reverse`).

    Degrees: dimension j lies in group j // size. A hidden unit of degree r sees the groups below
    r, and h_i reads the units whose degree is at most the group of i; hence only earlier groups,
    all of them. `window` earlier dimensions enter linearly, which covers i's own group.
    """

    def __init__(
        self, spec: MaskedMLP, dim: int, covariates: int, features: int, *, reverse: bool
    ) -> None:
        super().__init__()
        self.dim, self.features, self.reverse = dim, features, reverse
        self.activation = spec.activation
        size = math.ceil(dim / min(dim, *spec.hidden))
        group = torch.arange(dim) // size
        groups = int(group[-1]) + 1
        if reverse:
            group = group.flip(0)
        # The nearest neighbours enter linearly: i's own group, and one more to cross its border.
        self.window = min(2 * size - 1, dim - 1)

        degrees = [torch.arange(width) * groups // width for width in spec.hidden]
        below = [(degrees[0][:, None] > group[None, :])]
        below += [b[:, None] >= a[None, :] for a, b in itertools.pairwise(degrees)]
        self.hidden = nn.ModuleList(MaskedLinear(mask) for mask in below)
        self.out = MaskedLinear(
            (group[:, None] >= degrees[-1][None, :]).repeat_interleave(features, dim=0)
        )
        self.covariates = nn.Linear(covariates, spec.hidden[0], bias=False)
        bound = 1 / math.sqrt(self.window)
        self.near = nn.Parameter(torch.empty(dim, self.window, features).uniform_(-bound, bound))

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        z = self.hidden[0](x) + self.covariates(c)
        for layer in self.hidden[1:]:
            z = layer(self.activation(z))
        h = self.out(self.activation(z)).unflatten(-1, (self.dim, self.features))
        return h + torch.einsum("...dw,dwm->...dm", self._neighbours(x), self.near)

    def _neighbours(self, x: Tensor) -> Tensor:
        """The `window` dimensions before each i (after it, in reverse), zero beyond the ends."""
        w = self.window
        if self.reverse:
            return F.pad(x, (0, w)).unfold(-1, w, 1)[..., 1:, :]
        return F.pad(x, (w, 0)).unfold(-1, w, 1)[..., :-1, :]

    def extra_repr(self) -> str:
        order = "after" if self.reverse else "before"
        return f"h_i sees the dimensions {order} i, window={self.window}"


class MaskedLinear(nn.Linear):
    """A linear layer with some weights fixed at zero; the others start as in a smaller layer."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        rows, columns = mask.shape
        super().__init__(columns, rows)
        self.register_buffer("mask", mask, persistent=False)
        with torch.no_grad():
            # Each unit is scaled by the inputs that it really has, not by the width of the layer.
            fan_in = mask.sum(1).clamp(min=1)
            self.weight.mul_((columns / fan_in).sqrt()[:, None]).mul_(mask)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.mask, self.bias)

    def extra_repr(self) -> str:
        kept = float(self.mask.float().mean())
        return f"in_features={self.in_features}, out_features={self.out_features}, kept={kept:.2f}"
