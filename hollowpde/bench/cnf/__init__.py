"""Continuous normalising flows: exact against estimated traces, and against zuko."""

from hollowpde.bench.cnf.budget import QUICK, Budget
from hollowpde.bench.cnf.run import PARTS, run

__all__ = ["PARTS", "QUICK", "Budget", "run"]
