"""Stochastic differential equations."""

from hollowpde.problem.sde.bootstrap import Bootstrap
from hollowpde.problem.sde.coefficient_fit import TransitionFit
from hollowpde.problem.sde.density_fit import DensityFit
from hollowpde.problem.sde.forms import Known, Parametric
from hollowpde.problem.sde.matching import FluxForm, StrongForm, WeakForm
from hollowpde.problem.sde.observation import ObservationNoise
from hollowpde.problem.sde.problem import JointFit, SDEProblem

__all__ = [
    "Bootstrap",
    "DensityFit",
    "FluxForm",
    "JointFit",
    "Known",
    "ObservationNoise",
    "Parametric",
    "SDEProblem",
    "StrongForm",
    "TransitionFit",
    "WeakForm",
]
