"""The user's units and standardised ones: fields from each to the other."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hollowpde.data import Standardisation
from hollowpde.nets.structured import as_field
from hollowpde.nets.structured.parts import check_dim, check_vector
from hollowpde.operators.field import Field
from hollowpde.operators.reference import FieldLike


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


class InUnits(Field):
    r"""A vector field of the user's units in standardised ones, with its exact derivatives.

    With `z = (x - shift) / scale` and `tau = (t - t_shift) / t_scale`

    $$ f(\tau, z) = \frac{t_{scale}}{scale^p} \, f_{user}(t_{shift} + t_{scale} \tau,
       shift + scale \cdot z), \quad \partial^k_{z_i} = scale_i^k \, \partial^k_{x_i} $$

    with p = 1 for a drift and 2 for a squared diffusion. Time and state are restored in float64,
    and rounded to the dtype of the user's parameters. A field without parameters sees the state
    in the dtype of z, and time in float64 always. So time stamps of 1e9 seconds lose nothing in
    a formula, nor in a module that is `double()`; in a float32 module they are rounded to minutes.

    Arguments:
        field: a `Field`, or what `FromFunction` takes.
        units: a `Standardisation`, which may be measured later.
        power: 1 for a drift, 2 for a squared diffusion.

    Raises:
        InputError: the field is scalar, or returns another shape than that of x.

    Example:
        >>> units = hp.data.Standardisation(1)
        >>> drift = InUnits(lambda t, y: 3.0 - y, units, power=1)
        >>> drift(0.0, torch.ones(1))
        tensor([2.])
    """

    def __init__(
        self, field: Field | FieldLike | nn.Module, units: Standardisation, power: int
    ) -> None:
        super().__init__()
        self.field, self.units, self.power = as_field(field), units, power

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        return self._standard(self.field.dimwise(*self._physical(t, x), order), x)

    def in_time(
        self, t: Tensor, x: Tensor, order: int
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        values, slopes = self.field.in_time(*self._physical(t, x), order)
        rates = tuple(self.units.t_scale * y for y in slopes)
        return self._standard(values, x), self._standard(rates, x)

    def extra_repr(self) -> str:
        return f"power={self.power}"

    def _physical(self, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        units = self.units
        check_dim(x, len(units.shift), "Standardisation")
        time = units.t_shift + units.t_scale * t.to(units.t_scale)
        state = units.shift + units.scale * x.to(units.scale)
        own = next((p.dtype for p in self.field.parameters() if p.is_floating_point()), None)
        return time.to(own or torch.float64), state.to(own or x.dtype)

    def _standard(self, parts: tuple[Tensor, ...], x: Tensor) -> tuple[Tensor, ...]:
        check_vector(parts[0], x, "InUnits")
        scale = self.units.scale
        factor = self.units.t_scale / scale**self.power
        return tuple((y * factor * scale**k).to(x) for k, y in enumerate(parts))


def dtype_of(module: nn.Module, x: Tensor) -> torch.dtype:
    """The dtype of a module's parameters; that of x where it has none."""
    return next((p.dtype for p in module.parameters()), x.dtype)
