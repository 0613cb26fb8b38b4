"""Densities of samples, by continuous normalising flows."""

from hollowpde.problem.density.learned import PhysicalFlow
from hollowpde.problem.density.problem import DensityProblem
from hollowpde.problem.density.settings import Evaluation, FlowMatching, Likelihood
from hollowpde.problem.density.stiffness import Stiffness

__all__ = [
    "DensityProblem",
    "Evaluation",
    "FlowMatching",
    "Likelihood",
    "PhysicalFlow",
    "Stiffness",
]
