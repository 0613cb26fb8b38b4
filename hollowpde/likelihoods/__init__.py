"""Transition likelihoods of stochastic differential equations."""

from hollowpde.likelihoods.base import TransitionLikelihood
from hollowpde.likelihoods.closure import Closure
from hollowpde.likelihoods.diagonal_closure import DiagonalClosure
from hollowpde.likelihoods.euler_maruyama import EulerMaruyama
from hollowpde.likelihoods.filtered import Filtered
from hollowpde.likelihoods.local_linearization import LocalLinearization
from hollowpde.likelihoods.mixture_closure import MixtureClosure
from hollowpde.likelihoods.moment_closure import MomentClosure
from hollowpde.likelihoods.probed_closure import ProbedClosure
from hollowpde.likelihoods.skew_closure import SkewClosure
from hollowpde.likelihoods.transition import DiagonalNormal, Mixture, NormalMixture, Transition

__all__ = [
    "Closure",
    "DiagonalClosure",
    "DiagonalNormal",
    "EulerMaruyama",
    "Filtered",
    "LocalLinearization",
    "Mixture",
    "MixtureClosure",
    "MomentClosure",
    "NormalMixture",
    "ProbedClosure",
    "SkewClosure",
    "Transition",
    "TransitionLikelihood",
]
