"""Stochastic differential equations."""

from hollowpde.problem.sde.problem import DensityFit, JointFit, SDEProblem, TransitionFit

__all__ = ["DensityFit", "JointFit", "SDEProblem", "TransitionFit"]
