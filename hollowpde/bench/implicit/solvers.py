"""All solvers that are compared: those of the project, and the peers that are installed."""

from __future__ import annotations

from hollowpde.bench.implicit import diffraxes, torchodes
from hollowpde.bench.implicit.ours import OURS
from hollowpde.bench.implicit.scipys import SCIPY
from hollowpde.bench.implicit.solve import Solver
from hollowpde.bench.implicit.torchdiffeqs import TORCHDIFFEQ


def all_solvers(compiled: bool = True) -> list[Solver]:
    """Ours first.

    Arguments:
        compiled: whether those that must be compiled are among them.
    """
    found: list[Solver] = [*OURS, *SCIPY, *TORCHDIFFEQ]
    if torchodes.INSTALLED:
        found.append(torchodes.TorchOde())
    if compiled and diffraxes.INSTALLED:
        found.append(diffraxes.Diffrax())
    return found
