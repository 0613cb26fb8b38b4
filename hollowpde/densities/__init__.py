"""Normalised, time-dependent densities."""

from hollowpde.densities.base import Density, DensityModel
from hollowpde.densities.cnf import (
    CNF,
    RK4,
    BruteForceTrace,
    Dopri5,
    ExactTrace,
    HutchinsonTrace,
    JacobianNorm,
    KineticEnergy,
    SolveIVP,
    StandardNormal,
)
from hollowpde.densities.correlated import CorrelatedMixture
from hollowpde.densities.gaussian import GaussianMixture
from hollowpde.densities.logarithm import FromLogDensity
from hollowpde.densities.mixture import Mixture

__all__ = [
    "CNF",
    "RK4",
    "BruteForceTrace",
    "CorrelatedMixture",
    "Density",
    "DensityModel",
    "Dopri5",
    "ExactTrace",
    "FromLogDensity",
    "GaussianMixture",
    "HutchinsonTrace",
    "JacobianNorm",
    "KineticEnergy",
    "Mixture",
    "SolveIVP",
    "StandardNormal",
]
