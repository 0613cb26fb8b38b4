"""Scalar fields that are an ordinary MLP, its first layer factored out of the Laplacian."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from hollowpde.errors import InputError
from hollowpde.nets.activations import Activation, silu
from hollowpde.nets.scalar.blocks import by_samples
from hollowpde.nets.scalar.outer import Outer
from hollowpde.nets.scalar.separable import check_columns
from hollowpde.nets.scalar.sums import along_each
from hollowpde.nets.transformers.base import check_widths
from hollowpde.operators.field import Field


class RidgeNet(Field):
    r"""A scalar field that is an MLP of (t, x), with an exact Laplacian that d does not price.

    $$ u(t, x) = F(W x + t c + b) $$

    It is the case `phi_j(x_j) = x_j w_j` of a `SeparableNet`, w_j a column of W. With the gradient
    and the Hessian H, n x n, of F at the n first pre-activations,

    $$ \nabla u = W^\top \nabla F, \quad \partial_{jj} u = w_j^\top H w_j, \quad
       \sum_j a_j \partial_{jj} u = \mathrm{tr}(H \, W \mathrm{diag}(a) W^\top), $$

    where the last matrix is the same for all samples, unless each has an a of its own: then the
    cost is that of all the second derivatives. In few dimensions (below d = n, or n / 4 with two
    hidden layers) the d directions w_j are pushed through F. Orders above 2 are a Taylor pass of F
    for every j: d passes.

    It represents what an MLP does: any continuous function on a compact set, given the width;
    best those of a few oblique directions. What differs from coordinate to coordinate in a
    nonlinear way costs it width: that is the business of `SeparableNet`.

    Arguments:
        dim: d, the dimension of x.
        hidden: widths of the hidden layers; the first is n.
        activation: nonlinearity between the layers.
        spread: for functions with sharp layers in few dimensions, where the first features start
            too smooth and all alike by default: about the standard deviation s of the first
            pre-activations for (t, x) in [-1, 1]^{d+1}, from `W_ij ~ N(0, s^2 / d)` and
            `c_i ~ N(0, s^2)`. Each of them vanishes at a random point of that box. The larger s,
            the sharper the layers; 3 to 10 are sensible.

    Raises:
        InputError: dim below 1, no hidden layer, a width below 1, a spread that is not positive,
            or x of the wrong shape.

    Source:
        The forward Laplacian of Li et al. (2024), with the first layer collapsed once for all.

    Example:
        >>> net = hp.RidgeNet(100, hidden=(32, 32))
        >>> hp.laplacian(net, 0.0, torch.randn(5, 100)).shape
        torch.Size([5])
    """

    def __init__(
        self,
        dim: int,
        hidden: tuple[int, ...] = (64, 64),
        activation: Activation = silu,
        spread: float | None = None,
    ) -> None:
        super().__init__()
        if dim < 1:
            raise InputError(f"dim must be at least 1, but is {dim}.")
        check_widths(hidden)
        if spread is not None and not 0 < spread < math.inf:
            raise InputError(f"spread must be positive and finite, or None, but is {spread}.")
        self.dim = dim
        self.first = nn.Linear(dim, hidden[0])
        self.drift = nn.Parameter(torch.empty(hidden[0]).uniform_(-1, 1))
        self.outer = Outer(hidden, activation)
        if spread is not None:
            self._draw(spread)

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        check_columns(x, self.dim)
        if order < 2:
            return self._dimwise(t, x, order)
        directions = self.dim if order > 2 else min(self.dim, len(self.first.weight))
        return by_samples(lambda t, x: self._dimwise(t, x, order), directions, t, x)

    def with_laplacian(
        self, t: Tensor, x: Tensor, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        w = self.first.weight
        # Of a single hidden layer no tangents are carried on, and of two it is cheap (measured).
        layers = 1 + len(self.outer.hidden)
        many = layers == 1 or self.dim > (len(w) // 4 if layers == 2 else len(w))
        if not many or (weights is not None and weights.ndim > 1):
            return super().with_laplacian(t, x, weights)
        check_columns(x, self.dim)
        metric = (w if weights is None else w * weights) @ w.T
        # Of two layers no tangents are made; of more, half of them count: the first are the
        # identity, which is free.
        directions = max(1, len(w) // 32) if layers == 2 else len(w) // 2 + 1
        value, d1, laplacian = by_samples(
            lambda t, x: self._collapsed(t, x, metric), directions, t, x
        )
        return value, d1, laplacian

    def extra_repr(self) -> str:
        return f"dim={self.dim}"

    def _dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        z, w = self._start(t, x), self.first.weight
        if order == 0:
            return (self.outer(z),)
        if order > 2:
            line = [w.T, *([None] * (order - 1))]
            return along_each(self.outer.series, z.unsqueeze(-2), line, x)
        if order == 1:
            value, g = self.outer.first(z)
            return value, g @ w
        if self.dim <= len(w):
            value, g, curvature = self.outer.second(z, w.T)
            return value, g @ w, curvature.diagonal()
        value, g, curvature = self.outer.second(z, None)
        return value, g @ w, ((curvature.matrix() @ w) * w).sum(-2)

    @torch.no_grad()
    def _draw(self, spread: float) -> None:
        """The first layer for sharp features: `b = -(w . x_c + c t_c)` at random (t_c, x_c)."""
        w, b, c = self.first.weight, self.first.bias, self.drift
        w.normal_(std=spread / math.sqrt(self.dim))
        c.normal_(std=spread)
        x, t = torch.empty_like(w).uniform_(-1, 1), torch.empty_like(c).uniform_(-1, 1)
        b.copy_(-(w * x).sum(-1) - c * t)

    def _collapsed(self, t: Tensor, x: Tensor, metric: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        value, g, curvature = self.outer.second(self._start(t, x), None)
        return value, g @ self.first.weight, curvature.trace(metric)

    def _start(self, t: Tensor, x: Tensor) -> Tensor:
        """The first pre-activation."""
        return torch.addcmul(self.first(x), t.unsqueeze(-1), self.drift)
