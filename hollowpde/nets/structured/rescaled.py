"""A field of other units of time, place and value."""

from __future__ import annotations

import torch
from torch import Tensor

from hollowpde.operators.field import Field


class Rescaled(Field):
    r"""A network that is given its inputs of order one, and gives its output in another unit.

    $$ u(t, x) = a \, N\big((t - t_0) / T, (x - c) / s\big) $$

    Arguments:
        network: N.
        shift, scale: c and s, `(d,)` each.
        t_shift, t_scale: t_0 and T.
        factor: a.

    Example:
        >>> net = hp.RidgeNet(2)
        >>> u = hp.nets.Rescaled(net, torch.zeros(2), torch.full((2,), 10.0))
        >>> torch.equal(u(0.0, torch.full((1, 2), 5.0)), net(0.0, torch.full((1, 2), 0.5)))
        True
    """

    shift: Tensor
    scale: Tensor
    t_shift: Tensor
    t_scale: Tensor
    factor: Tensor

    def __init__(
        self,
        network: Field,
        shift: Tensor,
        scale: Tensor,
        t_shift: float = 0.0,
        t_scale: float = 1.0,
        factor: float = 1.0,
    ) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("shift", shift.clone())
        self.register_buffer("scale", scale.clone())
        # As tensors: of one sample within vmap a number would make the result float64.
        for name, number in (("t_shift", t_shift), ("t_scale", t_scale), ("factor", factor)):
            self.register_buffer(name, torch.tensor(number).to(shift))

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        return self._outside(self.network.dimwise(*self._inside(t, x), order))

    def in_time(
        self, t: Tensor, x: Tensor, order: int
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        values, slopes = self.network.in_time(*self._inside(t, x), order)
        return self._outside(values), tuple(y / self.t_scale for y in self._outside(slopes))

    def with_laplacian(
        self, t: Tensor, x: Tensor, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        a = self.scale.square().reciprocal()
        given = (a if weights is None else a * weights).to(x)
        value, d1, total = self.network.with_laplacian(*self._inside(t, x), given)
        return self.factor * value, self.factor * d1 / self.scale, self.factor * total

    def _inside(self, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return (t - self.t_shift) / self.t_scale, (x - self.shift) / self.scale

    def _outside(self, parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        value, *rest = (self.factor * y for y in parts)
        return value, *(y / torch.pow(self.scale, k + 1) for k, y in enumerate(rest))
