"""Jets: the value and derivatives of a field at points, computed when first asked for."""

from __future__ import annotations

from torch import Tensor

from hollowpde.errors import InputError, UnsupportedError
from hollowpde.operators.dimwise import dimwise, time_derivative
from hollowpde.operators.field import Field, as_time
from hollowpde.operators.reference import FieldLike


class Jet:
    r"""A field at points (t, x) with the derivatives that an equation needs.

    `value`, `d(k)`, `dt`; for a scalar field `gradient` and `laplacian`, for a vector field
    `divergence`. Nothing is declared: asking for an order computes it, and one pass gives all
    lower ones. `order` remembers the highest asked for, so that the next jet of the same field
    can be opened at it and computed in a single pass.

    Arguments:
        field: called as `field(t, x)`.
        t: time, scalar or `(...)`.
        x: points, `(..., d)`.
        order: the order to compute at the first use.

    Example:
        >>> density = hp.GaussianMixture(dim=2, components=3)
        >>> u = hp.Jet(density, torch.tensor(0.5), torch.ones(4, 2))
        >>> (u.dt - 0.1 * u.laplacian).shape
        torch.Size([4])
        >>> u.order
        2
    """

    def __init__(self, field: Field | FieldLike, t: Tensor, x: Tensor, order: int = 0) -> None:
        self.field = field
        self.t = as_time(t, x)
        self.x = x
        self.order = order
        self._derivatives: tuple[Tensor, ...] | None = None
        self._dt: Tensor | None = None

    def d(self, k: int) -> Tensor:
        """The k-th dimension-wise derivative, in the shape of x (k = 0: the value)."""
        if k < 0:
            raise InputError(f"k must be at least 0, but is {k}.")
        self.order = max(self.order, k)
        if self._derivatives is None or k >= len(self._derivatives):
            self._derivatives = dimwise(self.field, self.t, self.x, order=self.order)
        return self._derivatives[k]

    @property
    def value(self) -> Tensor:
        return self.d(0)

    @property
    def dt(self) -> Tensor:
        """The time derivative at fixed x, in the shape of the value."""
        if self._dt is None:
            self._dt = time_derivative(self.field, self.t, self.x)
        return self._dt

    @property
    def gradient(self) -> Tensor:
        """grad u of a scalar field, (..., d)."""
        self._require(scalar=True, name="gradient")
        return self.d(1)

    @property
    def laplacian(self) -> Tensor:
        """sum_i d_ii u of a scalar field, (...)."""
        self._require(scalar=True, name="laplacian")
        return self.d(2).sum(-1)

    @property
    def divergence(self) -> Tensor:
        """sum_i d_i f_i of a vector field, (...)."""
        self._require(scalar=False, name="divergence")
        return self.d(1).sum(-1)

    def _require(self, *, scalar: bool, name: str) -> None:
        # Asked through d(k), so that the order that follows is computed in the same pass.
        order = {"gradient": 1, "divergence": 1, "laplacian": 2}[name]
        self.d(order)
        if (self.value.shape == self.x.shape) == scalar:
            kind = "scalar" if scalar else "vector"
            raise UnsupportedError(f"{name} needs a {kind} field; use d(k) for the diagonal.")
