"""Implicit solvers for stiff systems, and root finding, by exact and cheap diagonals."""

from hollowpde.solvers.by_scipy import SciPy
from hollowpde.solvers.esdirk import ESDIRK43
from hollowpde.solvers.events import Event
from hollowpde.solvers.explicit import Auto, RungeKutta
from hollowpde.solvers.inner import DenseNewton, FunctionalIteration, JacobiNewton, NewtonKrylov
from hollowpde.solvers.ivp import solve_ivp
from hollowpde.solvers.linear_multistep import AdamsMoulton, JacobiNewtonBDF
from hollowpde.solvers.root import RootSolution, find_root, fixed_point
from hollowpde.solvers.solution import Solution, Stats
from hollowpde.solvers.trace import Trace

__all__ = [
    "ESDIRK43",
    "AdamsMoulton",
    "Auto",
    "DenseNewton",
    "Event",
    "FunctionalIteration",
    "JacobiNewton",
    "JacobiNewtonBDF",
    "NewtonKrylov",
    "RootSolution",
    "RungeKutta",
    "SciPy",
    "Solution",
    "Stats",
    "Trace",
    "find_root",
    "fixed_point",
    "solve_ivp",
]
