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
from hollowpde.operators.field import transformed

# A block of a masked layer has at least so many weights, that a product of matrices is efficient;
# and more blocks than so many would save little more than the half that a triangle leaves out.
_BLOCK_WEIGHTS, _BLOCKS = 2**16, 16


@dataclass(frozen=True)
class MaskedMLP(ConditionerSpec):
    r"""Two masked MLPs, `h_i = a_i(x_1..x_{i-1}) + b_i(x_{i+1}..x_d)`.

    Each stream is an autoregressive network (MADE): a hidden unit sees the first p dimensions (or
    the last p), reads the units of the layer below that see no more than it does, and h_i reads
    the units that do not see x_i. Its nearest neighbours also enter it linearly. With fewer units
    than dimensions the p are those of groups of neighbouring dimensions, of which the linear
    part supplies what the groups hide: h_i depends on every x_j, j != i, at any width.

    It represents any coupling between dimensions, and is not permutation-equivariant. Left and
    right neighbours meet only in the transformer. Of dimensions that share a group, at d > width,
    h_i sees those of its own only linearly.

    Arguments:
        hidden: widths of the hidden layers of each stream.
        features: width of h_i.
        activation: nonlinearity between the layers.
        residual: add the input of every hidden layer but the first to its output, which needs
            equal widths.

    Raises:
        InputError: no hidden layer, a width or features below 1, or residual layers of unequal
            widths.

    Source:
        Germain et al., MADE: Masked Autoencoder for Distribution Estimation (2015); two streams:
        Chen and Duvenaud, Neural Networks with Cheap Differential Operators (2019).

    Example:
        >>> hp.MaskedMLP(hidden=(64, 64), features=8)
        MaskedMLP(hidden=(64, 64), features=8, activation=Activation(silu), residual=False)
    """

    hidden: tuple[int, ...] = (64, 64)
    features: int = 16
    activation: Activation = silu
    residual: bool = False

    def __post_init__(self) -> None:
        if not self.hidden or min(self.hidden) < 1:
            raise InputError(
                f"hidden must hold at least one width, all positive, but is {self.hidden}."
            )
        if self.features < 1:
            raise InputError(f"features must be at least 1, but is {self.features}.")
        if self.residual and len(set(self.hidden)) > 1:
            raise InputError(
                f"hidden must hold equal widths where layers are residual, but is {self.hidden}."
            )

    def build(self, dim: int, covariates: int) -> Conditioner:
        return NoConditioner() if dim == 1 else TwoStreams(self, dim, covariates)


class TwoStreams(Conditioner):
    """The module that `MaskedMLP` describes.

    Every unit has the set of inputs that it may see: each input itself, a hidden unit those
    before or after some place, h_i all but x_i. A unit reads those of the layer below whose sets
    lie within its own, so by induction none sees more than its set: h is hollow at any depth.
    """

    def __init__(self, spec: MaskedMLP, dim: int, covariates: int) -> None:
        super().__init__()
        self.features, self.activation, self.residual = (
            spec.features,
            spec.activation,
            spec.residual,
        )
        group = math.ceil(dim / min(dim, *spec.hidden))
        itself = torch.eye(dim, dtype=torch.bool)
        sets = [itself, *(_before_and_after(dim, group, width) for width in spec.hidden), ~itself]
        first, *hidden, out = [_within(a, b) for a, b in itertools.pairwise(sets)]
        everything = torch.ones(len(first), covariates, dtype=torch.bool)
        self.first = MaskedLinear(first, everything)
        self.hidden = nn.ModuleList(MaskedLinear(mask) for mask in hidden)
        # h_i also reads its nearest neighbours themselves: the rest of its group, and one more.
        near = torch.ones_like(itself).triu(-group).tril(group) & ~itself
        self.out = MaskedLinear(
            *(mask.repeat_interleave(self.features, dim=0) for mask in (out, near))
        )

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        z = self.first(x, c)
        for layer in self.hidden:
            y = layer(self.activation(z))
            z = z + y if self.residual else y
        return self.out(self.activation(z), x).unflatten(-1, (-1, self.features))


def _before_and_after(dim: int, group: int, width: int) -> Tensor:
    """What the units of a hidden layer see: the dimensions before some group, or after it.

    In an order in which the units that h_i reads, those with shorter sets, stand together.
    """
    groups = math.ceil(dim / group)
    # Sets of 1 to groups - 1 groups; of a single group, none.
    count = torch.arange(width)[:, None] * (groups - 1) // width + (groups > 1)
    place = torch.arange(dim) // group
    return torch.cat([(place < count).flip(0), place >= groups - count])


def _within(below: Tensor, above: Tensor) -> Tensor:
    """Which sets of `below` (m, d) lie within which of `above` (n, d): (n, m)."""
    return (~above).float() @ below.float().t() == 0


class MaskedLinear(nn.Module):
    """A linear layer with some weights fixed at zero, `y = (mask * W) x + b`, x in several parts.

    The rows are taken in blocks, each of which multiplies only the columns that its mask
    touches: of a triangular mask half of the work is saved. Every row starts as in a linear layer
    with the inputs that it really has.
    """

    def __init__(self, *masks: Tensor) -> None:
        super().__init__()
        self.shape = (len(masks[0]), sum(mask.shape[1] for mask in masks))
        rows = max(_BLOCK_WEIGHTS // self.shape[1], math.ceil(self.shape[0] / _BLOCKS))
        self.kept = sum(float(mask.sum()) for mask in masks) / math.prod(self.shape)
        self.spans: list[list[tuple[int, int]]] = []
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for k, blocks in enumerate(zip(*(mask.split(rows) for mask in masks), strict=True)):
            self.spans.append([_touched(block) for block in blocks])
            kept = [b[:, low:high] for b, (low, high) in zip(blocks, self.spans[k], strict=True)]
            mask = torch.cat(kept, dim=1).float()
            bound = mask.sum(1, keepdim=True).clamp(min=1) ** -0.5
            self.weights.append((2 * torch.rand_like(mask) - 1) * bound * mask)
            self.biases.append((2 * torch.rand(len(mask)) - 1) * bound.squeeze(1))
            self.register_buffer(f"mask_{k}", None if mask.all() else mask, persistent=False)

    def forward(self, *x: Tensor) -> Tensor:
        if len(self.spans) == 1:
            return F.linear(*self._block(0, x))
        if torch.is_grad_enabled() or x[0].ndim != 2 or transformed():
            return torch.cat([F.linear(*self._block(k, x)) for k in range(len(self.spans))], -1)
        # Each block into its place: joining them would touch everything once more.
        y = x[0].new_empty(len(x[0]), self.shape[0])
        places = y.split([len(bias) for bias in self.biases], dim=1)
        for k, place in enumerate(places):
            columns, weight, bias = self._block(k, x)
            torch.addmm(bias, columns, weight.t(), out=place)
        return y

    def _block(self, k: int, x: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """Columns, weights and bias of the k-th block of rows."""
        parts = [y[..., low:high] for y, (low, high) in zip(x, self.spans[k], strict=True)]
        columns = parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
        weight, mask = self.weights[k], getattr(self, f"mask_{k}")
        return columns, weight if mask is None else weight * mask, self.biases[k]

    def extra_repr(self) -> str:
        rows, columns = self.shape
        return f"in_features={columns}, out_features={rows}, kept={self.kept:.2f}"


def _touched(mask: Tensor) -> tuple[int, int]:
    """The columns, from low to below high, among which all that the mask keeps stand."""
    columns = mask.any(0).nonzero().flatten().tolist()
    return (columns[0], columns[-1] + 1) if columns else (0, 1)
