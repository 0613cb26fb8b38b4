"""Fields of standardised units in the user's."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hollowpde.data import Standardisation
from hollowpde.operators.field import Field


class PhysicalField(Field):
    r"""A vector field of standardised units in the user's: `scale^power / t_scale * field(z)`.

    The power is 1 for a drift and 2 for a squared diffusion. Inputs of any floating-point dtype
    are standardised in float64 and evaluated in the dtype of the network; the result has the
    dtype of x, and t is taken in it too: give x in float64 where time stamps are large.
    """

    def __init__(self, field: Field, units: Standardisation, power: int) -> None:
        super().__init__()
        self.field, self.units, self.power = field, units, power

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        dtype = dtype_of(self.field, x)
        values = self.field.dimwise(self.units.time(t, dtype), self.units.state(x, dtype), order)
        factor = self.units.scale**self.power / self.units.t_scale
        return tuple((v * factor / self.units.scale**k).to(x) for k, v in enumerate(values))


def dtype_of(module: nn.Module, x: Tensor) -> torch.dtype:
    """The dtype of a module's parameters; that of x where it has none."""
    return next((p.dtype for p in module.parameters()), x.dtype)
