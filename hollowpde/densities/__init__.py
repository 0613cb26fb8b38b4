"""Normalised, time-dependent densities."""

from hollowpde.densities.base import Density
from hollowpde.densities.correlated import CorrelatedMixture
from hollowpde.densities.gaussian import GaussianMixture
from hollowpde.densities.logarithm import FromLogDensity
from hollowpde.densities.mixture import Mixture

__all__ = ["CorrelatedMixture", "Density", "FromLogDensity", "GaussianMixture", "Mixture"]
