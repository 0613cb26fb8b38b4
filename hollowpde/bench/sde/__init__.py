"""Drift and diffusion from paths, estimated by this library and by others from the same data."""

from hollowpde.bench.sde.coverage import Budget
from hollowpde.bench.sde.run import PARTS, QUICK, run

__all__ = ["PARTS", "QUICK", "Budget", "run"]
