"""The library as it comes, by each form of the equation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hollowpde.bench.sde.cases import Estimate, Task
from hollowpde.bench.sde.ours import at_most, fitted
from hollowpde.problem import (
    Adam,
    DensityFit,
    FluxForm,
    SDEProblem,
    StrongForm,
    WeakForm,
)
from hollowpde.problem.sde.matching import Matching

Fit = Callable[[Task, int | None], Estimate]


def ours(matching: Matching) -> Fit:
    """`SDEProblem` as the file declares it, but for the form that is matched."""

    def fit(task: Task, steps: int | None) -> Estimate:
        problem = lean(replace(task.problem, matching=matching), steps)
        sde = fitted(problem, task.seed).learned.sde
        return Estimate(sde.drift, sde.diffusion)

    return fit


weak, strong, flux = ours(WeakForm()), ours(StrongForm()), ours(FluxForm())


def lean(problem: SDEProblem, steps: int | None) -> SDEProblem:
    """Without what drift and diffusion do not depend on, and with so many steps at most.

    The weak form needs no density, and none is refined afterwards.
    """
    matching, density = problem.matching, problem.density
    if steps is not None:
        matching = replace(
            matching,
            first=at_most(matching.first, steps),
            optimiser=at_most(matching.optimiser, steps),
        )
        density = replace(density, optimiser=at_most(density.optimiser, steps))
    none = Adam(steps=0)
    if isinstance(matching, WeakForm):
        density = DensityFit(components=(1,), optimiser=none)
    return replace(problem, matching=matching, density=replace(density, refine=none))
