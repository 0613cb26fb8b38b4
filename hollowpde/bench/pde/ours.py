"""A shipped problem solved by this library, as it is shipped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from rich.console import Console

from hollowpde.bench.pde.cases import Case
from hollowpde.bench.pde.curve import Curve, Stopwatch
from hollowpde.problem.stage import Stage
from hollowpde.training.progress import Progress
from hollowpde.training.trainer import Trainer


def solve(case: Case, steps: int | None = None) -> Curve:
    """The error at each check of a fit.

    The time of training is that of a fit without its pages and files: making the networks,
    balancing the terms, the steps, and the loss at points apart by which weights are chosen.

    Arguments:
        case: what to solve.
        steps: at most so many of the optimiser.
    """
    case.true  # noqa: B018  computed before the clock runs
    curve, watch = Curve(), Stopwatch()
    fit = case.fit(steps)

    def monitor() -> Mapping[str, float]:
        at = watch.seconds
        with watch.paused():
            field = fit.model.solution.fields[case.problem.first]
            curve.note(at, case.error(lambda t, x: fit.values(field, t, x)))
        return {}

    def watched() -> Iterator[Stage]:
        for stage in fit.stages():
            if not isinstance(stage, Stage):
                raise TypeError(f"{case.name} is not solved stage by stage.")
            yield replace(stage, monitor=monitor)

    quiet = Progress(Console(quiet=True), lambda sentence: None)
    Trainer(fit.model, fit.compute.seed, lambda state: None, quiet).run(watched())
    curve.share = watch.share
    return curve
