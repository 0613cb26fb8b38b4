"""Transition likelihoods of stochastic differential equations."""

from hollowpde.likelihoods.base import TransitionLikelihood
from hollowpde.likelihoods.euler_maruyama import EulerMaruyama
from hollowpde.likelihoods.local_linearization import LocalLinearization

__all__ = ["EulerMaruyama", "LocalLinearization", "TransitionLikelihood"]
