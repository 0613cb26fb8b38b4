"""Observations of a steady state."""

from __future__ import annotations

from dataclasses import dataclass

from hollowpde.data.trajectories import Data, Trajectories


@dataclass(frozen=True)
class Steady:
    """Observations of the steady state of a process, whose times do not matter.

    Arguments:
        data: anything with `.load()`; which observations are of the same path is forgotten.

    Example:
        >>> from hollowpde.data import Steady
        >>> path = hp.Trajectories.from_dense(torch.arange(100.0), torch.randn(1, 100, 2))
        >>> Steady(path).load()
        Trajectories(100 unpaired observations, d=2, t=[0, 99])
    """

    data: Data

    def load(self) -> Trajectories:
        return self.data.load().unpaired()
