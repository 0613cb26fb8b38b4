"""The densities that flows are fitted to: those of the shipped problems."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from hollowpde.data.samples import Samples, load
from hollowpde.errors import InputError
from hollowpde.nets import Hollow, MaskedMLP, SharedMLP
from hollowpde.problem import DensityProblem, find_problem
from hollowpde.problem.shipped import shipped_problems


class Task(NamedTuple):
    """Samples in standardised units, and what takes log p back to the user's."""

    train: Tensor  # (n, d)
    test: Tensor
    log_scale: float


@dataclass(frozen=True)
class Case:
    """A shipped density problem.

    Arguments:
        name: as it is registered.
        file: its file.
        velocity: of the flows that are trained by likelihood alone.
        longer: it is trained for so many times the seconds of the others.
    """

    name: str
    file: str
    velocity: Hollow
    longer: float = 1.0

    @property
    def title(self) -> str:
        return f"{self.name} of problems/{self.file}.py"

    def declared(self) -> DensityProblem:
        problem, _ = find_problem(f"{shipped_problems()[self.file]}:{self.name}")
        if not isinstance(problem, DensityProblem):
            raise InputError(f"{self.name!r} must be a density problem.")
        return problem

    def task(self, seed: int) -> Task:
        """Samples, or the split of those that there are, of one seed; at most 5000 to test."""
        problem = self.declared()
        data = problem.data
        if isinstance(data, Samples):
            data = replace(data, seed=seed)
        split = load(data).split(problem.split, seed)
        x, test = (part.x.double() for part in (split.train, split.test))
        shift, scale = x.mean(0), x.std(0)
        train, test = (((y - shift) / scale).float() for y in (x, test[:5000]))
        return Task(train, test, float(torch.log(scale).sum()))


TOYS = ("moons", "pinwheel", "eight_gaussians", "checkerboard", "two_spirals", "rings")

# Plainer than those of the files: a step is quick, so that there are many of them.
_PLANE = Hollow(MaskedMLP(hidden=(32, 32), features=8), SharedMLP(hidden=(64, 64)))
_MANY = Hollow(MaskedMLP(hidden=(64, 64), features=4), SharedMLP(hidden=(16, 16)))

CASES = {
    case.name: case
    for case in (
        *(Case(name, "toy_densities", _PLANE) for name in TOYS),
        Case("digits", "digits", _MANY, longer=3.0),
    )
}
