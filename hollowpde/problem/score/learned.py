"""The model of a score problem, and what it has learned in the user's units."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from hollowpde.data import Standardisation
from hollowpde.nets import Sum
from hollowpde.operators.field import Field, as_time
from hollowpde.problem.sde.units import dtype_of


class StandardNormal(Field):
    """`s(t, x) = -x`, the score of a standard normal.

    >>> StandardNormal()(0.0, torch.ones(2))
    tensor([-1., -1.])
    """

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        return tuple([-x, -torch.ones_like(x), *[torch.zeros_like(x)] * order][: order + 1])

    def in_time(
        self, t: Tensor, x: Tensor, order: int
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        values = self.dimwise(t, x, order)
        return values, tuple(torch.zeros_like(y) for y in values)


class ScoreModel(nn.Module):
    """All that is fitted, in standardised units, and these units.

    `field` is the score of a standard normal, which standardised data are nearest to, and a
    network that is added to it.
    """

    def __init__(self, network: Field, dim: int) -> None:
        super().__init__()
        self.standardisation = Standardisation(dim)
        self.field = Sum(StandardNormal(), network)


class PhysicalScore(Field):
    r"""A score of standardised units in the user's.

    $$ s(t, x)_i = s_{std}(\tau, z)_i / scale_i, \quad z = (x - shift) / scale $$

    Inputs of any floating-point dtype are standardised in float64 and evaluated in the dtype of
    the network; the result has the dtype of x. Give x in float64 where time stamps are large.
    """

    def __init__(self, field: Field, units: Standardisation) -> None:
        super().__init__()
        self.field, self.units = field, units

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        return self._physical(self.field.dimwise(*self._standard(t, x), order), x)

    def in_time(
        self, t: Tensor, x: Tensor, order: int
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        values, slopes = self.field.in_time(*self._standard(as_time(t, x), x), order)
        rates = tuple(v / self.units.t_scale for v in slopes)
        return self._physical(values, x), self._physical(rates, x)

    def _standard(self, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        dtype = dtype_of(self.field, x)
        return self.units.time(t, dtype), self.units.state(x, dtype)

    def _physical(self, parts: tuple[Tensor, ...], x: Tensor) -> tuple[Tensor, ...]:
        return tuple((v / self.units.scale ** (k + 1)).to(x) for k, v in enumerate(parts))


class LearnedScore:
    """What a score fit has learned, in the user's units: `score(t, x)`, and `field`, a `Field`."""

    def __init__(self, model: ScoreModel) -> None:
        self.field = PhysicalScore(model.field, model.standardisation)

    def score(self, t: Tensor | float | np.ndarray, x: Tensor | np.ndarray) -> Tensor:
        """grad log p(t, x), `(..., d)`; tensors or arrays, t a scalar or batched."""
        points = x if isinstance(x, Tensor) else torch.as_tensor(np.ascontiguousarray(x))
        if not points.is_floating_point():
            points = points.to(torch.get_default_dtype())
        return self.field(t if isinstance(t, float | int) else torch.as_tensor(t), points)
