"""Normalised, time-dependent densities."""

from hollowpde.densities.base import Density
from hollowpde.densities.logarithm import FromLogDensity
from hollowpde.densities.mixture import GaussianMixture

__all__ = ["Density", "FromLogDensity", "GaussianMixture"]
