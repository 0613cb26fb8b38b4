"""Drift and diffusion from paths, estimated by this library and by others from the same data."""

from hollowpde.bench.sde.cases import CASES
from hollowpde.bench.sde.cells import QUICK, Budget
from hollowpde.bench.sde.run import run

__all__ = ["CASES", "QUICK", "Budget", "run"]
