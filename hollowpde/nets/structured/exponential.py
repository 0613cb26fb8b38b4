"""Scalar fields that are positive by their form: the exponential of another."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hollowpde import taylor
from hollowpde.nets.scalar import Ridge
from hollowpde.nets.structured.parts import present
from hollowpde.nets.structured.specs import Spec
from hollowpde.operators.field import Field


class ExponentialField(Field):
    r"""The exponential of a scalar field, `u = exp(v)`.

    $$ \nabla u = u \nabla v, \quad
       \sum_i a_i \partial_{ii} u = u \sum_i a_i \big( \partial_{ii} v + (\partial_i v)^2 \big) $$

    Arguments:
        exponent: v, a scalar field.

    Example:
        >>> u = hp.nets.ExponentialField(hp.RidgeNet(3))
        >>> bool((u(0.0, torch.randn(5, 3)) > 0).all())
        True
    """

    def __init__(self, exponent: Field) -> None:
        super().__init__()
        self.exponent = exponent

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        value, *slopes = self.exponent.dimwise(t, x, order)
        if not slopes:
            return (value.exp(),)
        # Values are (...), derivatives (..., d): along each dimension a series of its own.
        along = taylor.coefficients((value.unsqueeze(-1).expand_as(x), *slopes))
        _, *out = taylor.derivatives([present(c) for c in taylor.exp(along)])
        return (value.exp(), *out)

    def with_laplacian(
        self, t: Tensor, x: Tensor, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        v, dv, total = self.exponent.with_laplacian(t, x, weights)
        squares = dv.square() if weights is None else weights * dv.square()
        u = v.exp()
        return u, u.unsqueeze(-1) * dv, u * (total + squares.sum(-1))


@dataclass(frozen=True)
class Exponential:
    """A positive field, the exponential of a network: densities, concentrations, prices.

    In a `PDEProblem` initial values are met by the exponent, which starts at their logarithm: what
    is learned is by which factor the solution changes. Better than a network for the value itself
    where that ranges over orders of magnitude, as it does in high dimension.

    Arguments:
        of: the network of the exponent.

    >>> hp.Exponential(hp.Ridge(hidden=(16,))).build(3)(0.5, torch.zeros(5, 3)).shape
    torch.Size([5])
    """

    of: Spec = Ridge()

    def build(self, dim: int) -> ExponentialField:
        return ExponentialField(self.of.build(dim))
