"""What a PDE problem has found."""

from __future__ import annotations

from collections.abc import Mapping

from hollowpde.operators.field import Field
from hollowpde.problem.pde.model import Solution


class LearnedPDE:
    """The solution: `field`, `fields` by name, and the unknown coefficients.

    `numbers` holds the values of unknown numbers, `coefficients` the unknown fields.
    """

    def __init__(self, solution: Solution) -> None:
        self.fields: Mapping[str, Field] = solution.fields
        self.coefficients: Mapping[str, Field] = solution.coefficients
        self.numbers = {k: float(number().detach()) for k, number in solution.numbers.items()}

    @property
    def field(self) -> Field:
        """The first field of the solution, a `Field`: every operator works on it."""
        return next(iter(self.fields.values()))
