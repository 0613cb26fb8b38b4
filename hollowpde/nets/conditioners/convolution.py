"""The convolutional conditioners: streams that move away from x_i over a lattice."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hollowpde.errors import InputError
from hollowpde.nets.activations import Activation, silu
from hollowpde.nets.conditioners.base import Conditioner, ConditionerSpec, NoConditioner
from hollowpde.nets.conditioners.blocks import ROWS, in_blocks


@dataclass(frozen=True)
class Convolution1d(ConditionerSpec):
    r"""Two stacks of causal convolutions over a chain, `h_i = [a(x_{<i}), b(x_{>i})]` mixed.

    Each stream is shifted by one, so that it starts at the neighbour of i, and then only looks
    further away, with dilations 1, 2, 4, ...: hollow at any depth, and by default the whole chain
    is seen through about log2(d) layers. The weights are the same at every i; their number does
    not depend on d.

    It represents couplings that are the same everywhere along a chain or ring (discretised
    fields, coupled oscillators), nearby ones best. It cannot represent couplings that change from
    place to place, beyond what the edges of an open chain and the transformer's embedding of i
    give, and is a poor choice where the order of the dimensions means nothing.

    Beyond the edges of an open chain there are zeros. A ring (`periodic`) sees half way round in
    each direction: a stream that went all the way would come back to x_i.

    Arguments:
        channels: width of the layers.
        features: width of h_i.
        reach: h_i depends on the x_j at most this far away, and on no other: the coupling is
            local on purpose, and `check_coverage` fails. None is the whole lattice.
        periodic: whether the ends are neighbours; h then commutes with translations.
        activation: nonlinearity between the layers.

    Raises:
        InputError: a size below 1.

    Source:
        Dilated causal convolutions: van den Oord et al., WaveNet (2016).

    Example:
        >>> net = hp.HollowNet(100, conditioner=hp.Convolution1d(channels=8, periodic=True))
        >>> net(0.0, torch.zeros(5, 100)).shape
        torch.Size([5, 100])
    """

    channels: int = 16
    features: int = 16
    reach: int | None = None
    periodic: bool = False
    activation: Activation = silu

    def __post_init__(self) -> None:
        _check_sizes(self)

    def build(self, dim: int, covariates: int) -> Conditioner:
        return NoConditioner() if dim == 1 else Streams(self, (dim,), covariates)


@dataclass(frozen=True)
class Convolution2d(ConditionerSpec):
    r"""Four stacks of convolutions over an image, each over one half-plane that excludes x_i.

    x is the image, row by row. The streams come from above, below, left and right: each is
    shifted by one pixel, and then looks only further away along its own axis, and both ways
    across it. Together the half-planes hold every pixel but i, with no blind spot: hollow at any
    depth, and by default the whole image is seen. The weights are the same at every pixel.

    It represents couplings that are the same all over an image or lattice field, nearby ones
    best. It cannot represent couplings that change from place to place, beyond what the edges
    and the transformer's embedding of i give. A function of pixels in different half-planes is
    made in the last hidden layer and the transformer alone.

    Beyond the edges there are zeros. A torus (`periodic`) is seen half way round in each
    direction: a stream that went all the way would come back to x_i.

    Arguments:
        shape: (H, W) of the image, with H W = d.
        channels: width of the layers.
        features: width of h_i.
        reach: h_i depends on the pixels at most this many rows and columns away, and on no
            other: the coupling is local on purpose, and `check_coverage` fails. None is the
            whole image.
        periodic: whether opposite edges are neighbours; h then commutes with translations.
        activation: nonlinearity between the layers.

    Raises:
        InputError: a size below 1, or a network whose dim is not H W.

    Source:
        Laine et al., High-Quality Self-Supervised Deep Image Denoising (2019).

    Example:
        >>> net = hp.HollowNet(6 * 8, conditioner=hp.Convolution2d(shape=(6, 8)))
        >>> image = torch.zeros(5, 6, 8)
        >>> net(0.0, image.flatten(-2)).unflatten(-1, (6, 8)).shape
        torch.Size([5, 6, 8])
    """

    shape: tuple[int, int]
    channels: int = 16
    features: int = 16
    reach: int | None = None
    periodic: bool = False
    activation: Activation = silu

    def __post_init__(self) -> None:
        if len(self.shape) != 2 or min(self.shape) < 1:
            raise InputError(f"shape must be (H, W), both positive, but is {self.shape}.")
        _check_sizes(self)

    def build(self, dim: int, covariates: int) -> Conditioner:
        height, width = self.shape
        if height * width != dim:
            raise InputError(
                f"shape must have as many pixels as x has dimensions, {dim}, but {height} x "
                f"{width} = {height * width}."
            )
        return NoConditioner() if dim == 1 else Streams(self, self.shape, covariates)


def _check_sizes(spec: Convolution1d | Convolution2d) -> None:
    for name in ("channels", "features", "reach"):
        size = getattr(spec, name)
        if size is not None and size < 1:
            raise InputError(f"{name} must be at least 1, but is {size}.")


class Streams(Conditioner):
    """Two streams along each axis of a lattice, and an MLP that mixes them."""

    def __init__(
        self, spec: Convolution1d | Convolution2d, shape: tuple[int, ...], covariates: int
    ) -> None:
        super().__init__()
        self.shape, self.features, self.activation = shape, spec.features, spec.activation
        channels = spec.channels
        self.from_x = nn.Parameter(torch.empty(channels).uniform_(-1, 1) * math.sqrt(3))
        self.from_c = nn.Linear(covariates, channels)
        self.streams = nn.ModuleList(
            Stream(spec, shape, axis, sign)
            for axis, length in enumerate(shape)
            if length > 1
            for sign in (1, -1)
        )
        self.mix = nn.Linear(channels * len(self.streams), channels, bias=False)
        self.mix_from_c = nn.Linear(covariates, channels)
        self.out = nn.Linear(channels, spec.features)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        return in_blocks(self._block, x, c, samples=ROWS // x.shape[-1])

    def _block(self, x: Tensor, c: Tensor) -> Tensor:
        u = self.from_c(c).unsqueeze(-2) + x.unsqueeze(-1) * self.from_x
        u = u.unflatten(-2, self.shape)
        z = torch.cat([stream(u) for stream in self.streams], dim=-1)
        z = self.mix(z.flatten(-1 - len(self.shape), -2)) + self.mix_from_c(c).unsqueeze(-2)
        return self.out(self.activation(z))

    def extra_repr(self) -> str:
        return f"shape={self.shape}"


class Stream(nn.Module):
    """What comes from one side: residual layers of dilated taps, `(..., *shape, channels)`.

    Hollow, whatever the depth: z at site p depends on the inputs that lead to p by the shift of
    one along the stream's own axis and, in each layer, a step of 0 or s_l along it. Together
    these are at least 1 and at most 1 + sum_l s_l = reach: never 0, and on a ring of n sites,
    where reach <= n / 2, never 0 modulo n either.

    Without a gap: the steps add up to every number in 0..reach - 1. Across the axis a layer steps
    by -s_l, 0 or s_l, and steps of one sign alone lead to all of -reach..reach: on a way that
    turns back, what leaves the lattice is lost beyond the edge.

    Each tap is a shift of the lattice and a matrix product over channels. A convolution kernel
    may be computed by Winograd's or Fourier's transform instead, which mixes neighbouring sites
    and cancels them again: hollow only up to rounding.
    """

    def __init__(
        self, spec: Convolution1d | Convolution2d, shape: tuple[int, ...], own: int, sign: int
    ) -> None:
        super().__init__()
        self.axis, self.sign = own - len(shape) - 1, sign
        self.periodic, self.activation = spec.periodic, spec.activation
        self.reach = [_reach(spec, length) for length in shape]
        steps = [
            _steps(reach - 1 if axis == own else reach) for axis, reach in enumerate(self.reach)
        ]
        # For each layer the displacements along each axis.
        self.taps = [
            [
                sorted({0, sign * step} if axis == own else {-step, 0, step})
                for axis, step in enumerate(layer)
            ]
            for layer in itertools.zip_longest(*steps, fillvalue=0)
        ]
        channels = spec.channels
        self.layers = nn.ModuleList(
            nn.Linear(channels * math.prod(len(along) for along in taps), channels)
            for taps in self.taps
        )

    def forward(self, u: Tensor) -> Tensor:
        z = self._shift(u, self.sign, self.axis)
        for taps, layer in zip(self.taps, self.layers, strict=True):
            y = self.activation(z)
            for axis, along in enumerate(taps, start=-1 - len(taps)):
                if len(along) > 1:
                    y = torch.cat([self._shift(y, by, axis) for by in along], dim=-1)
            z = z + layer(y)
        return z

    def _shift(self, z: Tensor, by: int, axis: int) -> Tensor:
        """What is `by` sites before each site; beyond the edges zero, or from the other end."""
        if by == 0:
            return z
        if self.periodic:
            return z.roll(by, axis)
        return F.pad(z, [0, 0] * (-axis - 1) + [by, -by])

    def extra_repr(self) -> str:
        return f"axis={self.axis}, sign={self.sign}, reach={self.reach}"


def _reach(spec: Convolution1d | Convolution2d, length: int) -> int:
    """How far a stream looks along an axis: as asked for, at most to the end or half way round."""
    most = length // 2 if spec.periodic else length - 1
    return most if spec.reach is None else min(spec.reach, most)


def _steps(total: int) -> Iterator[int]:
    """Steps, each taken or not, that add up to every number in 0..total.

    >>> list(_steps(15)), list(_steps(5))
    ([1, 2, 4, 8], [1, 2, 2])
    """
    span = 0
    while span < total:
        step = min(span + 1, total - span)
        yield step
        span += step
