"""The library as it comes, and the same networks with the likelihood of Euler and Maruyama."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TypeVar

from rich.console import Console

from hollowpde.bench.sde.cases import Estimate, Task
from hollowpde.likelihoods import EulerMaruyama
from hollowpde.problem import Adam, Compute, DensityFit, SDEProblem, plain
from hollowpde.problem.sde.fit import SDEFit
from hollowpde.problem.sde.snapshot_fit import SnapshotFit
from hollowpde.problem.stage import LBFGS
from hollowpde.training import Progress, Trainer

Optimiser = TypeVar("Optimiser", Adam, LBFGS)


def ours(task: Task, steps: int | None) -> Estimate:
    """`SDEProblem` with its defaults, as `hollowpde fit` fits it."""
    return _estimate(fitted(lean(task.problem, steps), task.seed))


def euler(task: Task, steps: int | None) -> Estimate:
    """The same, with the likelihood held at Euler-Maruyama's."""
    problem = lean(task.problem, steps)
    transition = replace(problem.transition, likelihood=EulerMaruyama())
    return _estimate(fitted(replace(problem, transition=transition), task.seed))


def fitted(problem: SDEProblem, seed: int) -> SDEFit | SnapshotFit:
    """The problem fitted, without a run directory and in silence."""
    fit = problem.begin(Compute(seed))
    quiet = Progress(Console(quiet=True), lambda sentence: None)
    Trainer(fit.model, seed, lambda state: None, quiet).run(fit.stages())
    return fit


def settings(problem: SDEProblem) -> str:
    """A hash of the settings that the fit depends on."""
    text = json.dumps(plain(problem), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def lean(problem: SDEProblem, steps: int | None) -> SDEProblem:
    """Drift and diffusion alone: the density is fitted after them and changes neither."""
    none = Adam(steps=0)
    transition = problem.transition
    if steps is not None:
        transition = replace(
            transition,
            first=at_most(transition.first, steps),
            optimiser=at_most(transition.optimiser, steps),
            whole=replace(transition.whole, steps=min(transition.whole.steps, steps)),
        )
    density = DensityFit(components=(1,), optimiser=none, refine=none)
    return replace(problem, transition=transition, density=density)


def at_most(optimiser: Optimiser, steps: int) -> Optimiser:
    """An optimiser that makes so many steps at most."""
    return replace(optimiser, steps=min(optimiser.steps, steps))


def _estimate(fit: SDEFit | SnapshotFit) -> Estimate:
    sde = fit.learned.sde
    return Estimate(sde.drift, sde.diffusion)
