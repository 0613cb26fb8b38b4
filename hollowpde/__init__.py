"""hollowpde: fit differential equations to data with exact, cheap differential operators."""

from hollowpde.data import Simulated, Trajectories, simulate
from hollowpde.densities import Density, GaussianMixture
from hollowpde.errors import HollowPDEError, InputError, TrainingError, UnsupportedError
from hollowpde.likelihoods import EulerMaruyama, LocalLinearization, TransitionLikelihood
from hollowpde.nets import (
    Autonomous,
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
from hollowpde.residuals import Residual, fokker_planck

__version__ = "0.1.0"
