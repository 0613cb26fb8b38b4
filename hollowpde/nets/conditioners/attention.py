"""The attention conditioner: dimension i asks the others, which never hear the answer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hollowpde.errors import InputError
from hollowpde.nets.activations import Activation, silu
from hollowpde.nets.conditioners.base import Conditioner, ConditionerSpec, NoConditioner
from hollowpde.nets.conditioners.blocks import in_blocks

# Attention weights (samples x heads x d x d) of one block.
_BLOCK_WEIGHTS = 1 << 19


@dataclass(frozen=True)
class ExclusiveAttention(ConditionerSpec):
    r"""Attention to the others that stays hollow at any depth.

    A token `s_j = s(x_j, e_j, c)` knows its own dimension alone, and gives the keys and values
    of *every* layer; the query starts from the learned embedding of i and c, and is updated:

        q_i <- q_i + sum_{j != i} softmax_j(Q q_i . K s_j) V s_j,    q_i <- q_i + MLP(q_i)

    Ordinary self-attention with a masked diagonal leaks from the second layer on, where j's
    state, which has seen x_i, comes back to i.

    It represents couplings whose strength depends on who is coupled to whom and on the state
    itself, as weighted means over the others. Each token is seen through one dimension: an
    interaction of j with k reaches i only by way of q_i, one layer for each step. It is not
    permutation-equivariant, since the embeddings tell dimensions apart. Time and memory are
    O(d^2): for a few hundred dimensions at most.

    Arguments:
        width: of the tokens and queries, a multiple of `heads`.
        heads: attention weights for each pair.
        layers: updates of the queries.
        features: width of h_i.
        activation: nonlinearity of the tokens and of the MLPs.

    Raises:
        InputError: a size below 1, or a width that the heads do not divide.

    Source:
        Shin et al., Fast and Accurate Deep Bidirectional Language Representations for
        Unsupervised Learning (2020).

    Example:
        >>> hp.HollowNet(3, conditioner=hp.ExclusiveAttention(width=8, heads=2)).dim
        3
    """

    width: int = 32
    heads: int = 2
    layers: int = 2
    features: int = 16
    activation: Activation = silu

    def __post_init__(self) -> None:
        for name in ("width", "heads", "layers", "features"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, but is {getattr(self, name)}.")
        if self.width % self.heads:
            raise InputError(
                f"width must be a multiple of heads, but they are {self.width} and {self.heads}."
            )

    def build(self, dim: int, covariates: int) -> Conditioner:
        return NoConditioner() if dim == 1 else Attention(self, dim, covariates)


class Attention(Conditioner):
    """The module that `ExclusiveAttention` describes."""

    def __init__(self, spec: ExclusiveAttention, dim: int, covariates: int) -> None:
        super().__init__()
        self.dim, self.features, self.activation = dim, spec.features, spec.activation
        self.samples = _BLOCK_WEIGHTS // (spec.heads * dim**2)
        width = spec.width
        self.from_x = nn.Parameter(torch.empty(width).uniform_(-1, 1) * math.sqrt(3))
        self.from_c = nn.Linear(covariates, width, bias=False)
        self.source = nn.Parameter(torch.empty(dim, width).uniform_(-1, 1))
        self.query_from_c = nn.Linear(covariates, width, bias=False)
        self.target = nn.Parameter(torch.empty(dim, width).uniform_(-1, 1))
        self.layers = nn.ModuleList(Layer(spec) for _ in range(spec.layers))
        self.out = nn.Linear(width, spec.features)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        return in_blocks(self._block, x, c, self.samples)

    def _block(self, x: Tensor, c: Tensor) -> Tensor:
        s = self.from_c(c).unsqueeze(-2) + self.source + x.unsqueeze(-1) * self.from_x
        s = self.activation(s)
        q = self.query_from_c(c).unsqueeze(-2) + self.target
        for layer in self.layers:
            q = layer(q, s)  # s stays as it is: that is what keeps the stack hollow
        return self.out(q)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Layer(nn.Module):
    """One update of the queries `(..., d, width)` from the tokens `(..., d, width)`."""

    def __init__(self, spec: ExclusiveAttention) -> None:
        super().__init__()
        width, self.heads, self.activation = spec.width, spec.heads, spec.activation
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.mix = nn.Linear(width, width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)

    def forward(self, q: Tensor, s: Tensor) -> Tensor:
        # Written out: the fused kernel cannot be differentiated twice, nor in forward mode.
        query, key, value = (
            linear(y).unflatten(-1, (self.heads, -1)).transpose(-2, -3)
            for linear, y in ((self.query, q), (self.key, s), (self.value, s))
        )
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        own = torch.eye(q.shape[-2], dtype=torch.bool, device=q.device)
        weights = scores.masked_fill(own, -torch.inf).softmax(-1)
        q = q + self.mix((weights @ value).transpose(-2, -3).flatten(-2))
        return q + self.down(self.activation(self.up(q)))

    def extra_repr(self) -> str:
        return f"heads={self.heads}"
