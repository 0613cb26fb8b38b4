"""Fields of which only some components are kept."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hollowpde.nets.structured.parts import check_dim, check_vector, mask_of
from hollowpde.operators.field import Field


class Masked(Field):
    """A vector field whose other components are exactly zero, and all their derivatives.

    The noise of `x' = v, dv = f dt + g dW` is `Masked(diffusion, [False, True])`; a drift whose
    components come from different fields is a `Sum` of masked ones.

    Arguments:
        field: a vector field.
        keep: which components are kept, booleans `(d,)`.

    Raises:
        InputError: keep is not booleans `(d,)`, or the field is scalar.

    Example:
        >>> noise = hp.nets.Masked(hp.Positive(hp.HollowNet(2)), [False, True])
        >>> noise(0.0, torch.ones(2)) > 0
        tensor([False,  True])
    """

    keep: Tensor

    def __init__(self, field: Field, keep: Tensor | Sequence[bool]) -> None:
        super().__init__()
        self.field = field
        self.register_buffer("keep", mask_of("keep", keep))
        self.dim = len(self.keep)

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        return self._masked(self.field.dimwise(t, x, order), x)

    def in_time(
        self, t: Tensor, x: Tensor, order: int
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        values, slopes = self.field.in_time(t, x, order)
        return self._masked(values, x), self._masked(slopes, x)

    def extra_repr(self) -> str:
        return f"keep={self.keep.tolist()}"

    def _masked(self, parts: tuple[Tensor, ...], x: Tensor) -> tuple[Tensor, ...]:
        check_dim(x, self.dim, "Masked")
        check_vector(parts[0], x, "Masked")
        # Not by a product: zero also where the field is infinite.
        return tuple(torch.where(self.keep, y, torch.zeros_like(y)) for y in parts)
