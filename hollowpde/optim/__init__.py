"""Optimisers that torch.optim lacks."""

from hollowpde.optim.gauss_newton import GaussNewton
from hollowpde.optim.linearise import linearise

__all__ = ["GaussNewton", "linearise"]
