"""Declared residuals of differential equations."""

from hollowpde.residuals.base import Residual
from hollowpde.residuals.flux import Flux, flux
from hollowpde.residuals.fokker_planck import fokker_planck
from hollowpde.residuals.moment_equations import MomentEquations
from hollowpde.residuals.test_functions import (
    Bumps,
    Cosines,
    RandomBumps,
    RandomCosines,
    TestFunctions,
    Whitened,
)

__all__ = [
    "Bumps",
    "Cosines",
    "Flux",
    "MomentEquations",
    "RandomBumps",
    "RandomCosines",
    "Residual",
    "TestFunctions",
    "Whitened",
    "flux",
    "fokker_planck",
]
