"""Dimension-wise operators on fields: exact where a field has the structure, brute force else."""

from hollowpde.operators import hutchinson, reference
from hollowpde.operators.dimwise import (
    BruteForceWarning,
    dimwise,
    dimwise_in_time,
    divergence,
    gradient,
    jvp,
    laplacian,
    time_derivative,
    with_laplacian,
)
from hollowpde.operators.field import Field, as_time
from hollowpde.operators.jets import Jet, Needs

__all__ = [
    "BruteForceWarning",
    "Field",
    "Jet",
    "Needs",
    "as_time",
    "dimwise",
    "dimwise_in_time",
    "divergence",
    "gradient",
    "hutchinson",
    "jvp",
    "laplacian",
    "reference",
    "time_derivative",
    "with_laplacian",
]
