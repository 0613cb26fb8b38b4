"""Residuals are declared: an expression in the jets of some fields, evaluated exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from hollowpde.errors import InputError
from hollowpde.operators.field import Field, as_time
from hollowpde.operators.jets import Jet, Needs
from hollowpde.operators.reference import FieldLike


class Residual:
    r"""The left-hand side minus the right-hand side of an equation, at points (t, x).

    The expression is called with one `Jet` per field, then t and x. What it asks of each is found
    by the first evaluation; from then on one pass per field computes it: the derivatives up to
    the highest order, or the Laplacian without the second derivatives of each dimension.

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
        self.fields = fields
        self._needs: list[Needs] | None = None

    def __call__(self, fields: Sequence[Field | FieldLike], t: Tensor, x: Tensor) -> Tensor:
        if len(fields) != self.fields:
            raise InputError(f"fields must hold {self.fields} fields, but holds {len(fields)}.")
        t = as_time(t, x)
        if self._needs is None:
            # Its jets are not used: every evaluation then takes the same path, and a fit that is
            # resumed rounds like one that was not.
            self._needs = self._probe(fields, t, x)
        jets = [Jet(f, t, x, needs) for f, needs in zip(fields, self._needs, strict=True)]
        return self.expression(*jets, t, x)

    def _probe(self, fields: Sequence[Field | FieldLike], t: Tensor, x: Tensor) -> list[Needs]:
        """What the expression asks of each field, by one evaluation whose result is dropped.

        At all points: fields and expressions may hold data of their own for each of them.
        """
        jets = [Jet(f, t, x) for f in fields]
        self.expression(*jets, t, x)
        return [jet.needs for jet in jets]
