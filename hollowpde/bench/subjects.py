"""What is measured: the networks, and what is asked of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from hollowpde.nets import HollowNet, MaskedMLP, SharedMLP

BATCH = 256

TERMS = (
    f"Batch {BATCH}, float32. Training: forward and backward pass of the sum of the mean squares "
    "of all outputs, without the optimiser; forward: without gradients."
)
NET = "Conditioner MaskedMLP 2x256 with 16 features, transformer SharedMLP 2x32, SiLU."

Outputs = Callable[[], Sequence[Tensor]]


def hollow(dim: int) -> HollowNet:
    """The network of most tables."""
    torch.manual_seed(0)
    return HollowNet(
        dim,
        conditioner=MaskedMLP(hidden=(256, 256), features=16),
        transformer=SharedMLP(hidden=(32, 32)),
    )


def points(dim: int, batch: int = BATCH) -> Tensor:
    return torch.randn(batch, dim, generator=torch.Generator().manual_seed(0))


def mlp(*widths: int) -> nn.Sequential:
    """Linear layers with SiLU between them.

    >>> len(mlp(3, 8, 8, 1))
    5
    """
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Linear(a, b), nn.SiLU()]
    return nn.Sequential(*layers[:-1])


class Ordinary(nn.Module):
    """An MLP of (t, x) with two hidden layers, which knows nothing of structure."""

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.net = mlp(dim + 1, width, width, dim)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return self.net(torch.cat([x, t.expand(len(x), 1)], dim=-1))


class Bare(nn.Module):
    """The linear layers and activations of `hollow`, and nothing else.

    With `half`, what masks leave: of the two streams' last layers, d x 16 rows each, one half,
    so that each stream has d x 8 rows, laid side by side. At d = 1 there is no conditioner.
    """

    def __init__(self, dim: int, half: bool) -> None:
        super().__init__()
        width, features, inner = 256, 16, 32
        self.added, self.shape = not half, (dim, features // 2 if half else features)
        self.streams = nn.ModuleList(
            mlp(dim, width, width, math.prod(self.shape)) for _ in range(2 if dim > 1 else 0)
        )
        self.transformer = mlp(1 + (features if dim > 1 else 0), inner, inner, 1)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        h = [stream(x).unflatten(-1, self.shape) for stream in self.streams]
        if h and self.added:
            h = [h[0] + h[1]]
        return self.transformer(torch.cat([*h, x.unsqueeze(-1)], dim=-1)).squeeze(-1)


def task(net: nn.Module, outputs: Outputs, training: bool) -> Callable[[], object]:
    """What is timed: a training step without the optimiser, or an evaluation without gradients."""

    def step() -> None:
        net.zero_grad()
        torch.stack([y.square().mean() for y in outputs()]).sum().backward()

    return step if training else torch.no_grad()(outputs)
