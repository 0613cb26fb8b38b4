"""Contract checks: is a field hollow and nothing more, and are its derivatives right?

Run them on networks of your own. Each raises an AssertionError that names what failed, where and
by how much. They work on float64 deep copies with redrawn parameters, on the CPU, so that nothing
is hidden by an initialisation at zero and the field that was given is left alone.

    import hollowpde.testing as checks
    checks.check_field(my_field)
"""

from hollowpde.testing.common import redrawn
from hollowpde.testing.densities import check_density
from hollowpde.testing.fields import (
    check_coverage,
    check_derivatives,
    check_field,
    check_gradgrad,
    check_gradients,
    check_hollow,
    check_roundtrip,
)

__all__ = [
    "check_coverage",
    "check_density",
    "check_derivatives",
    "check_field",
    "check_gradgrad",
    "check_gradients",
    "check_hollow",
    "check_roundtrip",
    "redrawn",
]
