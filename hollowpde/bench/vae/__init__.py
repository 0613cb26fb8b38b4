"""Variational autoencoders whose posteriors are flows: six of them, on binary images."""

from hollowpde.bench.vae.budget import QUICK, Budget
from hollowpde.bench.vae.run import PARTS, run

__all__ = ["PARTS", "QUICK", "Budget", "run"]
