"""Ordinary differential equations, stiff ones above all: solved by several methods, or learned."""

from hollowpde.problem.ode.problem import ODEProblem
from hollowpde.problem.ode.settings import Matching, Shooting

__all__ = ["Matching", "ODEProblem", "Shooting"]
