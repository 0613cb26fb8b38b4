"""What a statistician asks of a fitted SDE, on held-out paths."""

from hollowpde.problem.sde.diagnostics.autocorrelation import Autocorrelation, autocorrelation
from hollowpde.problem.sde.diagnostics.energy import EnergyTest, energy_test
from hollowpde.problem.sde.diagnostics.extrapolation import extrapolation_share
from hollowpde.problem.sde.diagnostics.residuals import (
    ResidualCheck,
    normal_scores,
    residual_checks,
)
from hollowpde.problem.sde.diagnostics.scores import LikelihoodScore, likelihood_scores
from hollowpde.problem.sde.diagnostics.step_rate import StepRate, step_rate

__all__ = [
    "Autocorrelation",
    "EnergyTest",
    "LikelihoodScore",
    "ResidualCheck",
    "StepRate",
    "autocorrelation",
    "energy_test",
    "extrapolation_share",
    "likelihood_scores",
    "normal_scores",
    "residual_checks",
    "step_rate",
]
