"""Problems: their declaration, registry and settings, and one kind per package."""

from hollowpde.problem.base import Compute, Fit, Metrics, Problem
from hollowpde.problem.registry import find_problem, load_problems, register
from hollowpde.problem.score import ScoreMatching, ScoreProblem
from hollowpde.problem.sde import (
    Bootstrap,
    DensityFit,
    FluxForm,
    JointFit,
    Known,
    ObservationNoise,
    Parametric,
    SDEProblem,
    StrongForm,
    TransitionFit,
    WeakForm,
)
from hollowpde.problem.settings import flat, override, plain
from hollowpde.problem.stage import Adam, EarlyStop, Stage

__all__ = [
    "Adam",
    "Bootstrap",
    "Compute",
    "DensityFit",
    "EarlyStop",
    "Fit",
    "FluxForm",
    "JointFit",
    "Known",
    "Metrics",
    "ObservationNoise",
    "Parametric",
    "Problem",
    "SDEProblem",
    "ScoreMatching",
    "ScoreProblem",
    "Stage",
    "StrongForm",
    "TransitionFit",
    "WeakForm",
    "find_problem",
    "flat",
    "load_problems",
    "override",
    "plain",
    "register",
]
