"""Stiff systems: the project's solvers and their peers, by work, precision and safety."""

from hollowpde.bench.implicit.budget import QUICK, Budget
from hollowpde.bench.implicit.run import PARTS, run

__all__ = ["PARTS", "QUICK", "Budget", "run"]
