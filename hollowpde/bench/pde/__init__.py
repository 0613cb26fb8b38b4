"""PDE problems: time to an error beside DeepXDE, and what residuals cost beside autograd."""

from hollowpde.bench.pde.budget import QUICK, Budget
from hollowpde.bench.pde.run import PARTS, run

__all__ = ["PARTS", "QUICK", "Budget", "run"]
