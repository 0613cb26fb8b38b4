"""Vector fields that are the downhill gradient of a potential."""

from __future__ import annotations

from torch import Tensor

from hollowpde.errors import InputError
from hollowpde.operators.field import Field


class GradientField(Field):
    r"""`f = -grad U` of a scalar field U, with its exact derivatives `-d_i^(k+1) U`.

    Order k costs what order k + 1 of the potential does: of a `SeparableNet` orders 0 and 1 are
    cheap at any d, and higher ones cost d passes; of a `ProductNet` every order is one pass.

    Arguments:
        potential: U, a scalar field such as `SeparableNet(dim)`.

    Raises:
        InputError: the potential is a vector field.

    Example:
        >>> field = hp.nets.GradientField(hp.SeparableNet(3))
        >>> value, d1 = hp.dimwise(field, 0.0, torch.randn(5, 3), order=1)
        >>> value.shape, d1.shape
        (torch.Size([5, 3]), torch.Size([5, 3]))
    """

    def __init__(self, potential: Field) -> None:
        super().__init__()
        self.potential = potential

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        return _downhill(self.potential.dimwise(t, x, order + 1), x)

    def in_time(
        self, t: Tensor, x: Tensor, order: int
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        values, slopes = self.potential.in_time(t, x, order + 1)
        return _downhill(values, x), _downhill(slopes, x)


def _downhill(parts: tuple[Tensor, ...], x: Tensor) -> tuple[Tensor, ...]:
    value, *rest = parts
    if value.shape != x.shape[:-1]:
        raise InputError(
            f"potential must be a scalar field, whose value has the shape {tuple(x.shape[:-1])}, "
            f"but its value has the shape {tuple(value.shape)}: use such as hp.SeparableNet(dim)."
        )
    return tuple(-y for y in rest)
