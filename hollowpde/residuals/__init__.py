"""Declared residuals of differential equations."""

from hollowpde.residuals.base import Residual
from hollowpde.residuals.fokker_planck import fokker_planck

__all__ = ["Residual", "fokker_planck"]
