"""The cases: shipped problems, observed more or less often."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from hollowpde.data import SDE, Simulated, Split, Trajectories
from hollowpde.errors import InputError
from hollowpde.problem import SDEProblem, find_problem
from hollowpde.problem.sde.metrics import truth_at
from hollowpde.problem.shipped import shipped_problems

# The longest internal step of the simulation, whatever the time between observations.
_LONGEST = 0.01


class Estimate(NamedTuple):
    """A drift and a squared diffusion, called as `(t, x)` with t `(n,)` and x `(n, d)`.

    `points` are those to judge it at, where they are not the held-out ones of the task.
    """

    drift: Callable[[Tensor, Tensor], Tensor]
    diffusion: Callable[[Tensor, Tensor], Tensor]
    points: Trajectories | None = None


@dataclass(frozen=True)
class Case:
    """A shipped problem, observed every `dt`; the rest is as in its file."""

    problem: str
    dt: float

    @property
    def name(self) -> str:
        return f"{self.problem}_{self.dt:g}"

    @property
    def title(self) -> str:
        return f"problems/{self.problem}.py, observed every {self.dt:g}"

    def declared(self) -> SDEProblem:
        """The problem as shipped."""
        problem, _ = find_problem(str(shipped_problems()[self.problem]))
        if not isinstance(problem, SDEProblem):
            raise InputError(f"{self.problem!r} must be an SDE problem.")
        return problem

    def task(self, seed: int, paths: int | None = None) -> Task:
        """The data of one seed; at most so many paths."""
        problem = self.declared()
        declared = problem.data
        if not isinstance(declared, Simulated):
            raise InputError(f"{self.problem!r} must have simulated data.")
        last = float(torch.as_tensor(declared.times)[-1])
        times = torch.linspace(0, last, round(last / self.dt) + 1, dtype=torch.float64)
        data = replace(
            declared,
            times=times,
            paths=min(declared.paths, paths or declared.paths),
            seed=seed,
            step=min(self.dt / 10, _LONGEST),
        )
        return Task(self, replace(problem, data=data.load()), data, seed)


@dataclass(frozen=True, eq=False)
class Task:
    """What all rivals are given: the same paths, dealt in the same way.

    Arguments:
        case: what was simulated.
        problem: as shipped, with these data.
        simulated: how they were made.
        seed: of data, split and whatever else is random.
    """

    case: Case
    problem: SDEProblem
    simulated: Simulated
    seed: int

    @property
    def truth(self) -> SDE:
        return self.simulated.sde

    @cached_property
    def split(self) -> Split:
        return self.problem.data.load().split(self.problem.split, self.seed)

    @torch.no_grad()
    def errors(self, estimate: Estimate) -> tuple[float, float]:
        """Relative L2 errors of drift and squared diffusion, as `metrics.json` has them."""
        points = self.split.test if estimate.points is None else estimate.points
        precise = points.double()
        drift, diffusion = (
            float((field(precise.t, precise.x) - true).norm() / true.double().norm())
            for field, true in zip(estimate[:2], truth_at(self.truth, points), strict=True)
        )
        return drift, diffusion


CASES = {
    case.name: case
    for case in (
        Case("ou_process", 0.1),
        Case("double_well", 0.05),
        Case("double_well", 0.2),
        Case("double_well", 0.5),
        Case("gbm", 0.2),
        Case("cir", 0.5),
        Case("ou_2d", 0.05),
        Case("ou_2d", 0.5),
        Case("van_der_pol", 0.05),
        Case("van_der_pol", 0.2),
        Case("van_der_pol", 0.5),
        Case("chain_10d", 0.05),
    )
}
