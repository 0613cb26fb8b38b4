"""Dimension-wise operators on fields: exact where a field has the structure, brute force else."""

from hollowpde.operators import reference
from hollowpde.operators.dimwise import (
    BruteForceWarning,
    dimwise,
    divergence,
    gradient,
    jvp,
    laplacian,
    time_derivative,
)
from hollowpde.operators.field import Field, as_time
from hollowpde.operators.jets import Jet

__all__ = [
    "BruteForceWarning",
    "Field",
    "Jet",
    "as_time",
    "dimwise",
    "divergence",
    "gradient",
    "jvp",
    "laplacian",
    "reference",
    "time_derivative",
]
