"""Data: trajectories, and where they come from."""

from typing import Protocol

from hollowpde.data.simulate import SDE, Integrator, Logarithms, Simulated, check_sde, simulate
from hollowpde.data.standardise import Points, Standardisation
from hollowpde.data.table import Table
from hollowpde.data.trajectories import Pairs, Split, Trajectories
from hollowpde.data.windows import Windows, windows


class Data(Protocol):
    """Anything with `.load()`: simulated, read from a file, or at hand already."""

    def load(self) -> Trajectories: ...


__all__ = [
    "SDE",
    "Data",
    "Integrator",
    "Logarithms",
    "Pairs",
    "Points",
    "Simulated",
    "Split",
    "Standardisation",
    "Table",
    "Trajectories",
    "Windows",
    "check_sde",
    "simulate",
    "windows",
]
