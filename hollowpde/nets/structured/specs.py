"""Structured fields as specifications, built when the dimension is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hollowpde.nets.scalar import SeparableNet
from hollowpde.nets.structured.constant import ConstantField
from hollowpde.nets.structured.gradient import GradientField
from hollowpde.nets.structured.linear import LinearField
from hollowpde.operators.field import Field


@dataclass(frozen=True)
class Linear:
    """A drift `A x + b`, or, as a squared diffusion, `softplus(A x + b)`.

    >>> hp.Linear().build(3)
    LinearField(dim=3)
    """

    def build(self, dim: int) -> LinearField:
        return LinearField(dim)


@dataclass(frozen=True)
class Constant:
    """One number for each dimension, such as the squared diffusion of additive noise.

    >>> hp.Constant().build(3)
    ConstantField(dim=3)
    """

    def build(self, dim: int) -> ConstantField:
        return ConstantField(dim)


@dataclass(frozen=True)
class Gradient:
    """A drift `-grad U` of a potential that is learned.

    Arguments:
        potential: builds the scalar field U for a dimension; a `SeparableNet` by default.

    >>> hp.Gradient().build(3)(0.0, torch.zeros(5, 3)).shape
    torch.Size([5, 3])
    """

    potential: Callable[[int], Field] = SeparableNet

    def build(self, dim: int) -> GradientField:
        return GradientField(self.potential(dim))
