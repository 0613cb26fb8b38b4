"""Data: trajectories, and where they come from."""

from hollowpde.data.samples import DensityData, Samples
from hollowpde.data.simulate import SDE, Integrator, Logarithms, Simulated, check_sde, simulate
from hollowpde.data.standardise import Points, Standardisation
from hollowpde.data.steady import Steady
from hollowpde.data.table import Table
from hollowpde.data.trajectories import Data, Pairs, Split, Trajectories
from hollowpde.data.windows import Windows, windows

__all__ = [
    "SDE",
    "Data",
    "DensityData",
    "Integrator",
    "Logarithms",
    "Pairs",
    "Points",
    "Samples",
    "Simulated",
    "Split",
    "Standardisation",
    "Steady",
    "Table",
    "Trajectories",
    "Windows",
    "check_sde",
    "simulate",
    "windows",
]
