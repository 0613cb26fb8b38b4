"""Declared residuals of differential equations."""

from hollowpde.residuals.base import Residual
from hollowpde.residuals.black_scholes import BlackScholes
from hollowpde.residuals.burgers import Burgers
from hollowpde.residuals.flux import Flux, flux
from hollowpde.residuals.fokker_planck import fokker_planck
from hollowpde.residuals.forward_equation import FokkerPlanck, LogFokkerPlanck
from hollowpde.residuals.hamilton_jacobi_bellman import HamiltonJacobiBellman
from hollowpde.residuals.heat import AdvectionDiffusion, AnisotropicHeat, Heat
from hollowpde.residuals.moment_equations import MomentEquations
from hollowpde.residuals.poisson import Poisson
from hollowpde.residuals.reaction_diffusion import AllenCahn, ReactionDiffusion
from hollowpde.residuals.test_functions import (
    Bumps,
    Cosines,
    RandomBumps,
    RandomCosines,
    TestFunctions,
    Whitened,
)

__all__ = [
    "AdvectionDiffusion",
    "AllenCahn",
    "AnisotropicHeat",
    "BlackScholes",
    "Bumps",
    "Burgers",
    "Cosines",
    "Flux",
    "FokkerPlanck",
    "HamiltonJacobiBellman",
    "Heat",
    "LogFokkerPlanck",
    "MomentEquations",
    "Poisson",
    "RandomBumps",
    "RandomCosines",
    "ReactionDiffusion",
    "Residual",
    "TestFunctions",
    "Whitened",
    "flux",
    "fokker_planck",
]
