"""The model of an equation that is learned, and what it has learned in the user's units."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hollowpde.data import Standardisation, Trajectories
from hollowpde.nets import KnownFunction, Sum
from hollowpde.operators.field import Field
from hollowpde.problem.sde.units import InUnits, PhysicalField
from hollowpde.solvers.system import RightHandSide

# Of its largest way from the start, what a relaxation has done after half of its time constant.
_RISEN = 0.4
_AFTER = 0.5
# The slowest and the fastest rates that a fit starts with, in standardised time.
_SLOWEST, _FASTEST = 0.3, 1e8


class Relaxing(Field):
    r"""`f_i(t, z) = r_i (N_i(t, z) - z_i)`: each component goes after a network at its own rate.

    Rates differ by orders of magnitude where a system is stiff: their logarithms are learned.
    Nothing is lost: N may hold z too.

    Arguments:
        network: N.
        dim: d.
    """

    def __init__(self, network: Field, dim: int) -> None:
        super().__init__()
        self.network = network
        self.log_rate = nn.Parameter(torch.zeros(dim))

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        value, *rest = self.network.dimwise(t, x, order)
        parts = [value - x, *rest]
        if rest:
            parts[1] = rest[0] - 1.0
        rate = self.log_rate.exp()
        return tuple(rate * y for y in parts)


class ODEModel(nn.Module):
    """All that is learned, in standardised units, and these units."""

    def __init__(self, network: Field, dim: int, known: Field | RightHandSide | None) -> None:
        super().__init__()
        self.standardisation = Standardisation(dim)
        self.relaxing = Relaxing(network, dim)
        self.field: Field = self.relaxing
        if known is not None:
            given = known if isinstance(known, Field) else KnownFunction(known)
            self.field = Sum(InUnits(given, self.standardisation, power=1), self.relaxing)

    @torch.no_grad()
    def measure(self, data: Trajectories) -> None:
        """Take the units of the data, and the rates to start from."""
        self.standardisation.measure(data)
        points = self.standardisation.points(data, torch.float64)
        self.relaxing.log_rate.copy_(_rates(points.t, points.x, points.path).log())


class LearnedODE:
    """What was learned, in the user's units: `field(t, y)` is dy/dt, for `hp.solve_ivp`."""

    def __init__(self, model: ODEModel) -> None:
        self.field = PhysicalField(model.field, model.standardisation, power=1)


def _rates(t: Tensor, z: Tensor, path: Tensor) -> Tensor:
    """How fast each component leaves where it starts, `(d,)`: the median over paths."""
    times = []
    for number in path.unique_consecutive():
        own = path == number
        since, way = t[own] - t[own][0], (z[own] - z[own][:1]).abs()
        risen = way >= _RISEN * way.amax(0)
        # The first row is where it starts.
        risen[0] = False
        times.append(since[risen.to(torch.int8).argmax(0)])
    time = torch.stack(times).median(0).values
    return (_AFTER / time.clamp_min(1e-300)).clamp(_SLOWEST, _FASTEST)
