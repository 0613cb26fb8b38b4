"""Partial differential equations."""

from hollowpde.problem.pde.conditions import (
    Dirichlet,
    Initial,
    Neumann,
    Observed,
    Periodic,
    Terminal,
)
from hollowpde.problem.pde.domain import Ball, Box, Side, Space
from hollowpde.problem.pde.problem import PDEProblem, Point
from hollowpde.problem.pde.samplers import (
    AlongPaths,
    BrownianLaw,
    ResidualAdaptive,
    Sobol,
    Uniform,
)
from hollowpde.problem.pde.settings import Solve
from hollowpde.problem.pde.unknowns import Unknown, UnknownField

__all__ = [
    "AlongPaths",
    "Ball",
    "Box",
    "BrownianLaw",
    "Dirichlet",
    "Initial",
    "Neumann",
    "Observed",
    "PDEProblem",
    "Periodic",
    "Point",
    "ResidualAdaptive",
    "Side",
    "Sobol",
    "Solve",
    "Space",
    "Terminal",
    "Uniform",
    "Unknown",
    "UnknownField",
]
