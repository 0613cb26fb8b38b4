"""Scalar fields that are a function of a sum of functions of one coordinate each."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hollowpde import taylor
from hollowpde.errors import InputError
from hollowpde.nets.activations import Activation, silu
from hollowpde.nets.scalar.blocks import by_samples
from hollowpde.nets.scalar.coordinates import Coordinates, Period
from hollowpde.nets.scalar.outer import Outer
from hollowpde.nets.scalar.sums import along_each
from hollowpde.nets.transformers.base import check_widths
from hollowpde.operators.field import Field


class SeparableNet(Field):
    r"""A scalar field whose exact Laplacian costs a few passes of a small network at any d.

    $$ u(t, x) = F(t, s), \quad s = d^{-1/2} \sum_j \varphi_j(t, x_j) \in R^m $$

    F is an MLP and each phi_j a small MLP of its own. It is hollow in every x_j at once: with
    `h_j = sum_{i != j} phi_i`, u is a function of x_j and h_j. Of F only the gradient and the
    Hessian H, m x m, enter up to order 2:

    $$ \partial_j u = \nabla F^\top \varphi_j', \quad
       \partial_{jj} u = \varphi_j'^\top H \varphi_j' + \nabla F^\top \varphi_j'', \quad
       \sum_j a_j \partial_{jj} u = \mathrm{tr}(H G) + \nabla F^\top \sum_j a_j \varphi_j'' $$

    with `G = sum_j a_j phi_j' phi_j'^T`: min(m, d) + 2 passes of F at any d. Orders above 2 are
    a Taylor pass of F for every j: d passes. The factor 1 / sqrt(d) keeps s of order one.

    It represents exactly what depends on x through m sums over the coordinates: sums and
    products of functions of one coordinate, radial functions, functions of the mean. An
    interaction such as `sum_j x_j x_{j+1}` needs more features the more terms it has; a function
    of a few oblique directions is the business of `RidgeNet`.

    Arguments:
        dim: d, the dimension of x.
        features: m, the number of sums.
        inner: widths of the hidden layers of each phi_j.
        outer: widths of the hidden layers of F.
        activation: nonlinearity between the layers.
        shared: one phi for all coordinates: u is symmetric under permutations of those of the
            same period, and the number of parameters does not depend on d.
        period: makes u exactly periodic in every x_j: phi_j takes in the sine and the cosine of
            2 pi x_j / period in the place of x_j. A tuple has a period for each j, or None.

    Raises:
        InputError: dim or features below 1, a layer without width, a period that is not positive
            or a tuple of them that is not of length d, or x of the wrong shape.

    Source:
        The trace form of the second-order term is that of the forward Laplacian: Li et al.,
        A computational framework for neural network-based variational Monte Carlo with Forward
        Laplacian (2024).

    Example:
        >>> net = hp.SeparableNet(3)
        >>> x = torch.randn(5, 3)
        >>> net(0.0, x).shape, hp.laplacian(net, 0.0, x).shape
        (torch.Size([5]), torch.Size([5]))
    """

    def __init__(
        self,
        dim: int,
        features: int = 16,
        inner: tuple[int, ...] = (16,),
        outer: tuple[int, ...] = (64, 64),
        activation: Activation = silu,
        shared: bool = False,
        period: Period = None,
    ) -> None:
        super().__init__()
        if dim < 1 or features < 1:
            raise InputError(
                f"dim and features must be at least 1, but they are {dim} and {features}."
            )
        check_widths(inner)
        check_widths(outer)
        self.dim, self.features = dim, features
        self.inner = Coordinates(dim, features, inner, activation, shared, period)
        self.first = nn.Linear(features, outer[0])
        self.drift = nn.Parameter(torch.empty(outer[0]).uniform_(-1, 1))
        self.outer = Outer(outer, activation)

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        check_columns(x, self.dim)
        if order < 2:
            return self._dimwise(t, x, order)
        directions = self.dim if order > 2 else min(self.dim, self.features)
        return by_samples(lambda t, x: self._dimwise(t, x, order), directions, t, x)

    def with_laplacian(
        self, t: Tensor, x: Tensor, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        if self.dim <= self.features:  # as many directions as coordinates
            return super().with_laplacian(t, x, weights)
        check_columns(x, self.dim)
        given = () if weights is None else (weights.expand_as(x),)
        value, d1, laplacian = by_samples(self._collapsed, self.features, t, x, *given)
        return value, d1, laplacian

    def extra_repr(self) -> str:
        return f"dim={self.dim}, features={self.features}"

    def _dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        total, slopes = self.inner.around(t, x, order)
        z, weight = self._start(t, total), self.first.weight
        if order == 0:
            return (self.outer(z),)
        if order > 2:
            along = taylor.linear([*slopes], weight)
            return along_each(self.outer.series, z.unsqueeze(-2), along, x)
        if order == 1:
            value, g = self.outer.first(z)
            return value, _dot(slopes[0], g @ weight)
        if self.dim <= self.features:
            value, g, curvature = self.outer.second(z, slopes[0] @ weight.T)
            d2 = curvature.diagonal()
        else:
            value, g, curvature = self.outer.second(z, weight.T)
            d2 = ((slopes[0] @ curvature.matrix()) * slopes[0]).sum(-1)
        g = g @ weight
        return value, _dot(slopes[0], g), d2 + 2.0 * _dot(slopes[1], g)

    def _collapsed(
        self, t: Tensor, x: Tensor, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        total, slopes, metric, bend = self.inner.collapsed(t, x, weights)
        weight = self.first.weight
        value, g, curvature = self.outer.second(self._start(t, total), weight.T)
        g = g @ weight
        gradient = torch.cat([_dot(slope, g) for slope in slopes], dim=-1)
        return value, gradient, curvature.trace(metric) + (g * bend).sum(-1)

    def _start(self, t: Tensor, s: Tensor) -> Tensor:
        """The first pre-activation of F."""
        return torch.addcmul(self.first(s), t.unsqueeze(-1), self.drift)


def check_columns(x: Tensor, dim: int) -> None:
    """Refuse points of another dimension."""
    if x.shape[-1] != dim:
        raise InputError(
            f"x must have {dim} columns, the dim of this network, but has shape {tuple(x.shape)}."
        )


def _dot(slopes: Tensor, g: Tensor) -> Tensor:
    """`phi_j' . g`, `(..., d)`, with g `(..., m)`."""
    return (slopes * g.unsqueeze(-2)).sum(-1)
