"""The standard normal density, where flows begin."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hollowpde.densities.base import Density
from hollowpde.errors import InputError
from hollowpde.nets.structured.parts import check_dim


class StandardNormal(Density):
    """The density N(0, I) on R^d, at all times.

    Arguments:
        dim: d.

    Raises:
        InputError: dim below 1, or x of another dimension.

    >>> StandardNormal(2).log_prob(0.0, torch.zeros(2))
    tensor(-1.8379)
    """

    place: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        if dim < 1:
            raise InputError(f"dim must be at least 1, but is {dim}.")
        self.dim = dim
        # It has no parameters that would tell where, and in which precision, samples are drawn.
        self.register_buffer("place", torch.zeros(()), persistent=False)

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        check_dim(x, self.dim, "StandardNormal")
        value = -0.5 * x.square().sum(-1) - 0.5 * self.dim * math.log(2 * math.pi)
        rest = [-x, -torch.ones_like(x), *[torch.zeros_like(x)] * order]
        return (value, *rest[:order])

    def sample(
        self, t: Tensor | float, n: int, generator: torch.Generator | None = None
    ) -> Tensor:
        place = self.place
        shape = (n, *torch.as_tensor(t).shape, self.dim)
        return torch.randn(shape, generator=generator, dtype=place.dtype, device=place.device)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"
