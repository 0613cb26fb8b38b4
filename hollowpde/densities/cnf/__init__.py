"""Continuous normalising flows with exact or estimated traces. One concept per file."""

from hollowpde.densities.cnf.cnf import CNF
from hollowpde.densities.cnf.dopri5 import Dopri5
from hollowpde.densities.cnf.flow import Along
from hollowpde.densities.cnf.ivp import SolveIVP
from hollowpde.densities.cnf.normal import StandardNormal
from hollowpde.densities.cnf.penalties import JacobianNorm, KineticEnergy, Penalty
from hollowpde.densities.cnf.rk4 import RK4
from hollowpde.densities.cnf.solver import (
    Dynamics,
    Solver,
    State,
    Watched,
    per_sample,
)
from hollowpde.densities.cnf.trace import BruteForceTrace, ExactTrace, HutchinsonTrace, Trace

__all__ = [
    "CNF",
    "RK4",
    "Along",
    "BruteForceTrace",
    "Dopri5",
    "Dynamics",
    "ExactTrace",
    "HutchinsonTrace",
    "JacobianNorm",
    "KineticEnergy",
    "Penalty",
    "SolveIVP",
    "Solver",
    "StandardNormal",
    "State",
    "Trace",
    "Watched",
    "per_sample",
]
