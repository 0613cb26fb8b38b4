"""The problems: those that are shipped, and the points at which errors are taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from hollowpde.errors import InputError
from hollowpde.problem.base import Compute
from hollowpde.problem.pde import PDEProblem
from hollowpde.problem.pde.fit import PDEFit
from hollowpde.problem.registry import find_problem
from hollowpde.problem.shipped import shipped_problems


@dataclass(frozen=True, eq=False)
class Case:
    """A shipped problem; both sides are judged at the same points, apart from all training.

    Arguments:
        name: of its file.
    """

    name: str

    @cached_property
    def problem(self) -> PDEProblem:
        """As it is shipped."""
        problem, _ = find_problem(str(shipped_problems()[self.name]))
        if not isinstance(problem, PDEProblem):
            raise InputError(f"{self.name!r} must be a PDE problem.")
        return problem

    def fit(self, steps: int | None = None) -> PDEFit:
        """A fit as `python -m hollowpde fit` begins it; at most so many steps."""
        problem = self.problem
        if steps is not None:
            newton = problem.solve.gauss_newton
            fewer = replace(newton, steps=min(steps, newton.steps))
            problem = replace(problem, solve=replace(problem.solve, gauss_newton=fewer))
        return problem.begin(Compute(dtype=problem.precision))

    @cached_property
    def points(self) -> tuple[Tensor, Tensor]:
        """(t, x), in double precision: those of the figures of a fit."""
        t, x = self.fit().test
        return t, x

    @cached_property
    def true(self) -> Tensor:
        """The exact solution there."""
        return self.problem.exact_of[self.problem.first](*self.points)

    @torch.no_grad()
    def error(self, solution: Callable[[Tensor, Tensor], Tensor]) -> float:
        """`rel_l2`: the size of the error over that of the exact solution."""
        found = solution(*self.points).double()
        return float((found - self.true).norm() / self.true.norm())


CASES = {name: Case(name) for name in ("burgers", "heat_10d", "poisson_5d")}
