"""Normalised, time-dependent densities."""

from hollowpde.densities.base import Density, DensityModel
from hollowpde.densities.correlated import CorrelatedMixture
from hollowpde.densities.gaussian import GaussianMixture
from hollowpde.densities.logarithm import FromLogDensity
from hollowpde.densities.mixture import Mixture

__all__ = [
    "CorrelatedMixture",
    "Density",
    "DensityModel",
    "FromLogDensity",
    "GaussianMixture",
    "Mixture",
]
