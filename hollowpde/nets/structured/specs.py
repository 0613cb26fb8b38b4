"""Structured fields as specifications, built when the dimension is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from hollowpde.nets.scalar import SeparableNet
from hollowpde.nets.structured.constant import ConstantField
from hollowpde.nets.structured.gradient import GradientField
from hollowpde.nets.structured.linear import LinearField
from hollowpde.nets.structured.sum import Sum
from hollowpde.operators.field import Field


class Spec(Protocol):
    """The sizes of a field, built when the dimension is known."""

    def build(self, dim: int) -> Field: ...


@dataclass(frozen=True)
class Linear:
    """A drift `A x + b`, and what is added to it; as a squared diffusion within a softplus.

    Arguments:
        plus: a network that is added, such as `hp.Hollow()`. Where data say little, a fit that
            keeps its weights small falls back to the straight line.

    >>> hp.Linear().build(3)
    LinearField(dim=3)
    >>> hp.Linear(plus=hp.Hollow()).build(3)(0.0, torch.zeros(5, 3)).shape
    torch.Size([5, 3])
    """

    plus: Spec | None = None

    def build(self, dim: int) -> Field:
        return _with(LinearField(dim), self.plus, dim)


@dataclass(frozen=True)
class Constant:
    """One number for each dimension, and what is added to it.

    As a squared diffusion it stands within a softplus: that of additive noise.

    Arguments:
        plus: a network that is added, such as `hp.Hollow()`.

    >>> hp.Constant().build(3)
    ConstantField(dim=3)
    """

    plus: Spec | None = None

    def build(self, dim: int) -> Field:
        return _with(ConstantField(dim), self.plus, dim)


def _with(field: Field, plus: Spec | None, dim: int) -> Field:
    return field if plus is None else Sum(field, plus.build(dim))


@dataclass(frozen=True)
class Gradient:
    """A drift `-grad U` of a potential that is learned; of an SDE, with a quadratic form added.

    Arguments:
        potential: builds the scalar field U for a dimension; a `SeparableNet` by default.

    >>> hp.Gradient().build(3)(0.0, torch.zeros(5, 3)).shape
    torch.Size([5, 3])
    """

    potential: Callable[[int], Field] = SeparableNet

    def build(self, dim: int) -> GradientField:
        return GradientField(self.potential(dim))
