"""A two-dimensional SDE on a grid, and the random walk that stands for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csc_array, dia_array

from hollowpde.data.simulate import SDE
from hollowpde.problem.panel import Array
from hollowpde.problem.sde.longrun.line import jump_rates, values


@dataclass(frozen=True, eq=False)
class Plane:
    """The points of two equidistant axes `(nx,)` and `(ny,)`; y is what runs faster."""

    x: Array
    y: Array

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.x), len(self.y)

    @cached_property
    def points(self) -> Array:
        """All points, `(nx ny, 2)`."""
        return np.stack(np.meshgrid(self.x, self.y, indexing="ij"), axis=-1).reshape(-1, 2)

    def generator(self, sde: SDE, t: float) -> csc_array:
        """Q of `dm/dt = Q m`, m the masses at the points `(nx ny,)`, at a time.

        Jumps go to the four neighbours, and along each axis are those of `jump_rates`; none leads
        out of the grid, so that the columns sum to zero.
        """
        drift, diffusion = (v.reshape(*self.shape, 2) for v in values(sde, self.points, t))
        h, k = (float(axis[1] - axis[0]) for axis in (self.x, self.y))
        right, left = jump_rates(drift[..., 0], diffusion[..., 0], h)
        up, down = jump_rates(drift[..., 1], diffusion[..., 1], k)
        right[-1], left[0], up[:, -1], down[:, 0] = 0, 0, 0, 0
        # By columns, as the format has it: what leaves a point is in the column of that point.
        rates = np.stack([-(right + left + up + down), right, left, up, down]).reshape(5, -1)
        m, ny = rates.shape[1], len(self.y)
        return dia_array((rates, np.array([0, -ny, ny, -1, 1])), shape=(m, m)).tocsc()
