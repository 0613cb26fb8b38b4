"""The model of a density problem, and what it has learned in the user's units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np
import torch
from torch import Tensor, nn

from hollowpde.data import Standardisation, Trajectories
from hollowpde.densities.cnf import CNF, Solver, Trace
from hollowpde.errors import InputError
from hollowpde.problem.sde.physical_density import PhysicalDensity

Points = Tensor | np.ndarray


class FlowModel(nn.Module):
    """The flow in standardised units, and these units."""

    def __init__(self, flow: CNF) -> None:
        super().__init__()
        self.standardisation = Standardisation(flow.dim)
        self.flow = flow

    @torch.no_grad()
    def measure(self, data: Trajectories) -> None:
        """Take the units of the data; time is that of the flow.

        Raises:
            InputError: a coordinate does not vary.
        """
        x, units = data.x.double(), self.standardisation
        spread = x.std(0)
        for name, s in zip(data.names, spread.tolist(), strict=True):
            if not s > 0:
                raise InputError(f"data: the coordinate {name!r} is constant: leave it out.")
        units.shift.copy_(x.mean(0))
        units.scale.copy_(spread)


class PhysicalFlow(PhysicalDensity):
    """A flow in the user's units, normalised there; arrays are taken too.

    Called as the flow itself: `log_prob(x)`, `score(x)`, `sample(shape)` at the end, where the
    data are, or `log_prob(t, x)`, `score(t, x)`, `sample(t, n)` on the way, t from 0 to 1.
    """

    density: CNF

    def __init__(self, flow: CNF, units: Standardisation) -> None:
        super().__init__(flow, units)

    def using(self, trace: Trace | None = None, solver: Solver | None = None) -> PhysicalFlow:
        """The same density by another trace or solver."""
        return PhysicalFlow(self.density.using(trace, solver), self.units)

    @property
    def nfe(self) -> int:
        """Evaluations of the velocity in the last call."""
        return self.density.nfe

    @property
    def interval(self) -> tuple[float, float]:
        """The times of start and end."""
        return self.density.start, self.density.end

    @overload
    def log_prob(self, x: Points, /) -> Tensor: ...

    @overload
    def log_prob(self, t: Points | float, x: Points) -> Tensor: ...

    def log_prob(self, t: Points | float | None = None, x: Points | None = None) -> Tensor:
        """log p in nats, `(...)`."""
        return super().log_prob(*self._places(t, x))

    @overload
    def score(self, x: Points, /) -> Tensor: ...

    @overload
    def score(self, t: Points | float, x: Points) -> Tensor: ...

    def score(self, t: Points | float | None = None, x: Points | None = None) -> Tensor:
        """grad log p, `(..., d)`."""
        return super().score(*self._places(t, x))

    @overload
    def sample(
        self, shape: int | Sequence[int] = ..., /, *, generator: torch.Generator | None = ...
    ) -> Tensor: ...

    @overload
    def sample(
        self, t: Tensor | float, n: int, generator: torch.Generator | None = ...
    ) -> Tensor: ...

    def sample(
        self,
        t: Tensor | float | Sequence[int] = (),
        n: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draws, as of a `CNF`."""
        if n is not None:
            if isinstance(t, Sequence):
                raise InputError("t must be a number or a tensor, as in sample(0.5, 100).")
            return super().sample(t, n, generator)
        if isinstance(t, Tensor | float):
            raise InputError("sample takes a shape, sample(n), or a time and n, sample(t, n).")
        z = self.density.sample(t, generator=generator)
        return (z.to(self.units.scale) * self.units.scale + self.units.shift).to(z)

    def _places(self, t: Points | float | None, x: Points | None) -> tuple[Points | float, Points]:
        if x is None:
            if not isinstance(t, Tensor | np.ndarray):
                raise InputError(f"x must be a tensor or an array, but is a {type(t).__name__}.")
            return self.density.end, t
        return (self.density.end if t is None else t), x


class LearnedDensity:
    """What a fit has learned: `density` in the user's units, `flow` in standardised ones."""

    def __init__(self, model: FlowModel) -> None:
        self.density = PhysicalFlow(model.flow, model.standardisation)
        self.flow = model.flow
