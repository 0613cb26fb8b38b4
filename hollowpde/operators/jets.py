"""Jets: the value and derivatives of a field at points, computed when first asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NoReturn

from torch import Tensor

from hollowpde.errors import InputError, UnsupportedError
from hollowpde.operators.dimwise import (
    NO_MIXED_DERIVATIVES,
    check_weights,
    dimwise,
    dimwise_in_time,
    time_derivative,
    with_laplacian,
)
from hollowpde.operators.field import Field, as_time
from hollowpde.operators.reference import FieldLike


@dataclass(frozen=True)
class Needs:
    """What an equation asks of a jet: known beforehand, it is computed in the fewest passes.

    Arguments:
        order: the highest k of `d(k)`.
        dt_order: the highest k of `dt_d(k)`; -1 is no time derivative at all.
        laplacian: the Laplacian, for which the derivatives of each dimension need not be formed.
    """

    order: int = 0
    dt_order: int = -1
    laplacian: bool = False


class Jet:
    r"""A field at points (t, x) with the derivatives that an equation needs.

    `value`, `d(k)`, `dt`, `dt_d(k)`; for a scalar field `gradient`, `laplacian` and
    `weighted_laplacian(a)`, for a vector field `divergence`. Nothing is declared: what is asked
    for is computed, with all that the same pass gives. `needs` remembers it, so that the next jet
    of the same field can be opened with it and computed in a single pass: all `d(k)` and
    `dt_d(k)` together, the Laplacian without the second derivatives of each dimension.

    Arguments:
        field: called as `field(t, x)`.
        t: time, scalar or `(...)`.
        x: points, `(..., d)`.
        needs: what to compute at the first use.

    Example:
        >>> density = hp.GaussianMixture(dim=2, components=3)
        >>> u = hp.Jet(density, torch.tensor(0.5), torch.ones(4, 2))
        >>> (u.dt - 0.1 * u.laplacian).shape
        torch.Size([4])
        >>> u.needs
        Needs(order=0, dt_order=0, laplacian=True)
    """

    def __init__(
        self, field: Field | FieldLike, t: Tensor | float, x: Tensor, needs: Needs | None = None
    ) -> None:
        self.field = field
        self.t = as_time(t, x)
        self.x = x
        self.needs = needs or Needs()
        self._d: tuple[Tensor, ...] = ()
        self._dt: tuple[Tensor, ...] = ()
        self._laplacian: Tensor | None = None

    def d(self, k: int) -> Tensor:
        """The k-th dimension-wise derivative, in the shape of x (k = 0: the value)."""
        self.needs = replace(self.needs, order=max(_order(k), self.needs.order))
        if k >= len(self._d):
            if self.needs.dt_order > 0:
                self._pass_in_time()
            elif self.needs.laplacian and self.needs.order < 2:
                self._laplacian = self._second(None)
            else:
                self._d = dimwise(self.field, self.t, self.x, order=self.needs.order)
        return self._d[k]

    def dt_d(self, k: int) -> Tensor:
        """The time derivative of `d(k)` at fixed x, in its shape."""
        self.needs = replace(self.needs, dt_order=max(_order(k), self.needs.dt_order))
        if k >= len(self._dt):
            if self.needs.dt_order > 0:
                self._pass_in_time()
            else:  # of the value alone, for which a field may know a cheaper way
                self._dt = (time_derivative(self.field, self.t, self.x),)
        return self._dt[k]

    @property
    def value(self) -> Tensor:
        return self.d(0)

    @property
    def dt(self) -> Tensor:
        """The time derivative at fixed x, in the shape of the value."""
        return self.dt_d(0)

    @property
    def gradient(self) -> Tensor:
        """grad u of a scalar field, (..., d)."""
        d1 = self.d(1)
        self._require(scalar=True, name="gradient")
        return d1

    @property
    def laplacian(self) -> Tensor:
        """sum_i d_ii u of a scalar field, (...)."""
        self.needs = replace(self.needs, laplacian=True)
        if self._laplacian is None:
            self._laplacian = self._second(None)
        return self._laplacian

    def weighted_laplacian(self, weights: Tensor) -> Tensor:
        """sum_i a_i d_ii u of a scalar field, (...), for a of shape (d,) or (..., d).

        It brings the value and the gradient along: cheapest where they are asked for after it.
        """
        check_weights(weights, self.x)
        return self._second(weights)

    @property
    def divergence(self) -> Tensor:
        """sum_i d_i f_i of a vector field, (...)."""
        d1 = self.d(1)
        self._require(scalar=False, name="divergence")
        return d1.sum(-1)

    @property
    def hessian(self) -> NoReturn:
        """Refused: dimension-wise derivatives are not mixed."""
        raise UnsupportedError(f"a jet has no Hessian: {NO_MIXED_DERIVATIVES}")

    def _pass_in_time(self) -> None:
        order = max(self.needs.order, self.needs.dt_order)
        self._d, self._dt = dimwise_in_time(self.field, self.t, self.x, order=order)

    def _second(self, weights: Tensor | None) -> Tensor:
        """The sum of the second derivatives, from themselves only if they are needed anyway."""
        if max(self.needs.order, self.needs.dt_order) >= 2:
            d2 = self.d(2)
            self._require(scalar=True, name="laplacian")
            return (d2 if weights is None else weights * d2).sum(-1)
        value, gradient, total = with_laplacian(self.field, self.t, self.x, weights)
        if not self._d[1:]:
            self._d = (value, gradient)
        return total

    def _require(self, *, scalar: bool, name: str) -> None:
        if (self.value.shape == self.x.shape) == scalar:
            kind = "scalar" if scalar else "vector"
            raise UnsupportedError(f"{name} needs a {kind} field; use d(k) for the diagonal.")


def _order(k: int) -> int:
    if k < 0:
        raise InputError(f"k must be at least 0, but is {k}.")
    return k
