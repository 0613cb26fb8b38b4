"""A system that is solved by several methods: nothing is learned, everything is measured."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hollowpde.problem.base import Compute, Fit, Metrics
from hollowpde.problem.ode.contest import Outcome, exact_solution, run
from hollowpde.problem.panel import Panel
from hollowpde.problem.stage import Stage

if TYPE_CHECKING:
    from hollowpde.problem.ode.problem import ODEProblem


class Solved(nn.Module):
    """The reference and what became of each solver: the state of a run that solves.

    Attributes:
        reference: `(T, B, d)`, None before there is one.
        outcomes: by the name of the solver, in their order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reference: Tensor | None = None
        self.outcomes: dict[str, Outcome] = {}

    def get_extra_state(self) -> dict[str, Any]:
        outcomes = [outcome.state() for outcome in self.outcomes.values()]
        return {"reference": self.reference, "outcomes": outcomes}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        self.reference = state["reference"]
        found = map(Outcome.of, state["outcomes"])
        self.outcomes = {outcome.name: outcome for outcome in found}


class SolvedODE:
    """What a run has solved.

    Attributes:
        t: the times asked for, `(T,)`.
        reference: `(T, B, d)`.
        outcomes: by the name of the solver; `.y` are its values `(T, B, d)`.
    """

    def __init__(self, times: tuple[float, ...], model: Solved) -> None:
        self.t = torch.tensor(times, dtype=torch.float64)
        self.reference, self.outcomes = model.reference, model.outcomes


class ODESolve(Fit):
    """A problem whose equation is given, being solved."""

    model: Solved

    def __init__(self, problem: ODEProblem, y0: Tensor, compute: Compute) -> None:
        self.problem, self.compute = problem, compute
        self.y0 = y0.to(device=compute.device, dtype=compute.dtype)
        self.model = Solved()

    def stages(self) -> Iterator[Stage]:
        """None: all is solved when they are asked for, but for what a resumed run has already."""
        if self.model.reference is None:
            self.model.reference = exact_solution(self.problem, self.y0)
        for name in self.problem.solvers:
            if name not in self.model.outcomes:
                outcome = run(self.problem, name, self.y0, self.model.reference)
                self.model.outcomes[name] = outcome
        return iter(())

    def fingerprint(self) -> str:
        text = f"{self.y0.tolist()} {self.problem.t_span} {self.problem.times}"
        return hashlib.sha256(text.encode()).hexdigest()

    def metrics(self) -> Metrics:
        """What each solver took.

        `rel_error` is that of the first solver: the distance from the reference relative to
        `|y| + atol / rtol`, in the mean square over components and times, of the worst sample.
        For each solver, `<name>_error`, `_n_f`, `_n_diag`, `_n_steps` and `_seconds`; no error
        where it failed.
        """
        metrics: Metrics = {}
        for name, outcome in self.model.outcomes.items():
            if math.isfinite(outcome.error):
                if not metrics:
                    metrics["rel_error"] = outcome.error
                metrics[f"{name}_error"] = outcome.error
            metrics[f"{name}_n_f"] = outcome.n_f
            metrics[f"{name}_n_diag"] = outcome.n_diag
            metrics[f"{name}_n_steps"] = outcome.n_steps
            metrics[f"{name}_seconds"] = round(outcome.seconds, 4)
        return metrics

    def headlines(self, metrics: Metrics) -> Mapping[str, str]:
        first = next(iter(self.model.outcomes.values()))
        shown = {"solver": first.name, "evaluations": str(first.n_f)}
        if "rel_error" in metrics:
            shown["relative error"] = format(metrics["rel_error"], ".2g")
        return shown

    def sentences(self) -> list[str]:
        first = next(iter(self.model.outcomes.values()))
        return [] if first.solved else [f"{first.name}, the first solver, failed: {first.why}"]

    def panels(self) -> list[Panel]:
        # The panels look at the solve, the solve need not know how.
        from hollowpde.problem.ode.solve_panels import panels

        return panels(self)
