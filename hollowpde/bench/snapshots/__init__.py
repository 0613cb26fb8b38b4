"""Drift and diffusion from unpaired samples: estimates of several kinds, and verdicts on them."""

from hollowpde.bench.snapshots.run import PARTS, QUICK, run
from hollowpde.bench.snapshots.verdicts import Budget

__all__ = ["PARTS", "QUICK", "Budget", "run"]
