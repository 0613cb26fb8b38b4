"""Residuals are declared: an expression in the jets of some fields, evaluated exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from hollowpde.errors import InputError
from hollowpde.operators.field import Field, as_time
from hollowpde.operators.jets import Jet
from hollowpde.operators.reference import FieldLike


class Residual:
    r"""The left-hand side minus the right-hand side of an equation, at points (t, x).

    The expression is called with one `Jet` per field, then t and x. The orders of derivatives
    that it uses are found by the first evaluation; from then on one pass per field computes them.

    Arguments:
        expression: `expression(u, ..., t, x)`, returns `(...)` or `(..., d)`.
        fields: how many fields it takes.

    Raises:
        InputError: another number of fields is given.

    Example:
        >>> heat = hp.Residual(lambda u, t, x: u.dt - 0.1 * u.laplacian)
        >>> u = hp.GaussianMixture(dim=2, components=1)
        >>> heat([u], torch.tensor(0.5), torch.zeros(4, 2)).shape
        torch.Size([4])
    """

    def __init__(self, expression: Callable[..., Tensor], fields: int = 1) -> None:
        self.expression = expression
        self._orders = [0] * fields

    def __call__(self, fields: Sequence[Field | FieldLike], t: Tensor, x: Tensor) -> Tensor:
        if len(fields) != len(self._orders):
            raise InputError(
                f"fields must hold {len(self._orders)} fields, but holds {len(fields)}."
            )
        t = as_time(t, x)
        jets = [Jet(f, t, x, order) for f, order in zip(fields, self._orders, strict=True)]
        value = self.expression(*jets, t, x)
        self._orders = [jet.order for jet in jets]
        return value
