"""hollowpde: fit differential equations to data with exact, cheap differential operators."""

from hollowpde.data import Simulated, Trajectories, simulate
from hollowpde.densities import Density, GaussianMixture
from hollowpde.errors import HollowPDEError, InputError, TrainingError, UnsupportedError
from hollowpde.likelihoods import EulerMaruyama, LocalLinearization, TransitionLikelihood
from hollowpde.nets import (
    Autonomous,
    Hollow,
    HollowNet,
    MaskedMLP,
    Positive,
    SharedMLP,
)
from hollowpde.operators import (
    BruteForceWarning,
    Field,
    Jet,
    dimwise,
    divergence,
    gradient,
    jvp,
    laplacian,
    reference,
)
from hollowpde.problem import (
    Adam,
    DensityFit,
    EarlyStop,
    JointFit,
    Problem,
    SDEProblem,
    TransitionFit,
    load_problems,
    override,
    register,
)
from hollowpde.residuals import Residual, fokker_planck
from hollowpde.runs import Run, fit, load

__version__ = "0.1.0"

__all__ = [
    "Adam",
    "Autonomous",
    "BruteForceWarning",
    "Density",
    "DensityFit",
    "EarlyStop",
    "EulerMaruyama",
    "Field",
    "GaussianMixture",
    "Hollow",
    "HollowNet",
    "HollowPDEError",
    "InputError",
    "Jet",
    "JointFit",
    "LocalLinearization",
    "MaskedMLP",
    "Positive",
    "Problem",
    "Residual",
    "Run",
    "SDEProblem",
    "SharedMLP",
    "Simulated",
    "TrainingError",
    "Trajectories",
    "TransitionFit",
    "TransitionLikelihood",
    "UnsupportedError",
    "dimwise",
    "divergence",
    "fit",
    "fokker_planck",
    "gradient",
    "jvp",
    "laplacian",
    "load",
    "load_problems",
    "override",
    "reference",
    "register",
    "simulate",
]
