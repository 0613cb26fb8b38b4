"""A flow in training: what solvers take for its weights, and how stiff it would have to be."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from hollowpde.bench.implicit.budget import Budget
from hollowpde.bench.implicit.figures import Figure
from hollowpde.bench.implicit.lab import Lab
from hollowpde.bench.tables import Heading, Result, Row
from hollowpde.bench.timing import Spread
from hollowpde.densities.cnf import CNF, Dopri5
from hollowpde.errors import InputError, SolverError
from hollowpde.operators.dimwise import dimwise
from hollowpde.operators.field import Field
from hollowpde.operators.reference import FieldLike
from hollowpde.problem import DensityProblem, find_problem
from hollowpde.problem.density import PhysicalFlow
from hollowpde.problem.density.stiffness import OF_A_STEP, spectral_radius
from hollowpde.problem.shipped import shipped_problems
from hollowpde.runs import fit
from hollowpde.training.history import MONITORED

# How many times as long the fitted velocity is followed.
_GAINS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
_RADIUS, _H_RHO, _ERROR = "spectral radius", "h rho", "worst error"
_EVALUATIONS = "evaluations: "
# Far more exact than the solvers that are compared.
_REFERENCE = Dopri5(1e-10, 1e-10, max_steps=200_000)


@dataclass
class Watched:
    """What was found.

    Arguments:
        solvers: by name, the explicit one first.
        training: for each seed, the history of its training.
        longer: gains, each with the figures of one seed.
    """

    solvers: list[str]
    training: list[pd.DataFrame] = field(default_factory=list)
    longer: list[tuple[float, dict[str, float]]] = field(default_factory=list)


class _Faster(Field):
    """A velocity times a number: the same way, so many times as long."""

    def __init__(self, velocity: FieldLike, gain: float) -> None:
        super().__init__()
        self.velocity, self.gain = velocity, gain

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        return tuple(self.gain * y for y in dimwise(self.velocity, t, x, order=order))


def measure(lab: Lab) -> Watched:
    """Train the flow of `problems/stiff_cnf.py` for some seeds, and follow each for longer."""
    problem = _declared(lab.budget)
    out = Watched(list(problem.stiffness.solvers))
    for seed in range(lab.budget.seeds):
        with tempfile.TemporaryDirectory() as folder:
            run = fit(problem, Path(folder) / "run", seed=seed)
            out.training.append(pd.read_csv(Path(folder) / "run" / "history.csv"))
        learned = run.density
        if not isinstance(learned, PhysicalFlow):
            raise InputError(f"stiff_cnf must learn a flow, but learns {learned!r}.")
        flow = deepcopy(learned.density).double()
        start = torch.randn(
            problem.stiffness.samples, flow.dim,
            generator=torch.Generator().manual_seed(seed), dtype=torch.float64,
        )  # fmt: skip
        for gain in _GAINS if lab.budget.largest > 10 else _GAINS[:2]:
            longer = CNF(_Faster(flow.velocity, gain), flow.dim, base=flow.base)
            out.longer.append((gain, _followed(problem, longer, start)))
        lab.say(f"flow, seed {seed}: NLL {run.metrics['nll']:.3f}")
    return out


def _declared(budget: Budget) -> DensityProblem:
    problem, _ = find_problem(str(shipped_problems()["stiff_cnf"]))
    if not isinstance(problem, DensityProblem) or problem.stiffness.explicit is None:
        raise InputError("stiff_cnf must be a density problem with solvers to compare.")
    setting = problem.likelihood
    every = max(1, min(setting.stop.every, budget.steps // 2))
    return replace(
        problem,
        likelihood=replace(
            setting,
            optimiser=replace(setting.optimiser, steps=budget.steps),
            stop=replace(setting.stop, every=every),
        ),
    )


@torch.no_grad()
def _followed(problem: DensityProblem, flow: CNF, start: Tensor) -> dict[str, float]:
    """What the solvers take from the base to the end, and how stiff that is."""
    wanted = flow.using(solver=_REFERENCE).push_forward(flow.end, start)
    found: dict[str, float] = {_ERROR: 0.0}
    for name, solver in problem.stiffness.solvers.items():
        own = flow.using(solver=solver)
        try:
            error = float((own.push_forward(flow.end, start) - wanted).abs().max())
        except SolverError:
            found[name] = math.nan
            continue
        found[name] = float(own.nfe)
        found[_ERROR] = max(found[_ERROR], error)
    found[_RADIUS] = spectral_radius(flow, start, forward=True)
    explicit = str(problem.stiffness.explicit)
    found[_H_RHO] = found[_RADIUS] * OF_A_STEP / found[explicit]
    return found


def tables(watched: Watched) -> list[Result]:
    """Evaluations as training goes on, and as the fitted flow is followed for longer."""
    looks = min(len(history) for history in watched.training)
    training: list[Row] = []
    for k in range(looks):
        seen = [history.iloc[k] for history in watched.training]
        training.append(
            {
                "steps": int(seen[0]["step"]),
                **{
                    name: _spread([row[f"{MONITORED}{_EVALUATIONS}{name}"] for row in seen])
                    for name in watched.solvers
                },
                "NLL": _spread([row[f"{MONITORED}NLL"] for row in seen]),
                _RADIUS: _spread([row[MONITORED + _RADIUS] for row in seen]),
                _H_RHO: _spread([row[MONITORED + _H_RHO] for row in seen]),
            }
        )
    longer: list[Row] = []
    for gain in dict.fromkeys(gain for gain, _ in watched.longer):
        seen_at = [found for own, found in watched.longer if own == gain]
        longer.append(
            {
                "times as long": gain,
                **{
                    name: _spread([found[name] for found in seen_at])
                    for name in (*watched.solvers, _RADIUS, _H_RHO, _ERROR)
                },
            }
        )
    return [Result(TRAINING, training), Result(LONGER, longer)]


def figures(watched: Watched) -> Iterator[Figure]:
    """The ranking Jacobi-Newton < functional < explicit at the end of training, and its price."""
    explicit, functional, newton, bdf = watched.solvers

    def last(name: str) -> float:
        key = f"{MONITORED}{_EVALUATIONS}{name}"
        return Spread.over([float(h[key].iloc[-1]) for h in watched.training]).median

    yield Figure(
        "flow, trained: evaluations of Adams, Jacobi-Newton / functional",
        last(newton) / last(functional), 1.0, least=False,
    )  # fmt: skip
    yield Figure(
        "flow, trained: evaluations of Adams, functional / explicit",
        last(functional) / last(explicit), 1.0, least=False,
    )  # fmt: skip
    yield Figure(
        "flow, trained: evaluations of BDF, Jacobi-Newton / explicit",
        last(bdf) / last(explicit), 1.0, least=False,
    )  # fmt: skip
    won = [
        found[_H_RHO]
        for _, found in watched.longer
        if min(found[newton], found[bdf]) < found[explicit]
    ]
    if won:
        yield Figure("flow, for longer: the least h rho at which implicit wins", min(won), None)


def _spread(values: list[float]) -> Spread | None:
    kept = [float(v) for v in values if math.isfinite(float(v))]
    return Spread.over(kept) if kept else None


TRAINING = Heading(
    "flow",
    "A flow as it is trained: evaluations on the same weights",
    (
        "problems/stiff_cnf.py: maximum likelihood of a thin curve in the plane, no penalty, no "
        "smoothing. Log-densities of 64 held-out samples, from the data to the base, relative and "
        "absolute tolerances of 1e-5, float64; medians [quartiles] over seeds of split and "
        "weights. Implicit methods give each sample its own steps, of which the calls are the "
        "most that any takes.",
        "h rho: the mean step of RK45 times the largest eigenvalue of dv/dx along the way. "
        "Stability holds an explicit method back only above about 3.",
    ),
    ("steps",),
    "evaluations",
    aside=("NLL", _RADIUS, _H_RHO),
    along="steps",
)

LONGER = Heading(
    "longer",
    "The trained flow followed for longer",
    (
        "The same velocity times a number, which is as good as following it for so many times as "
        "long, from the base, without the log-density. It comes to rest on the curve, and what is "
        "left of the way is stiff.",
    ),
    ("times as long",),
    "evaluations",
    aside=(_RADIUS, _H_RHO, _ERROR),
    along="times as long",
)
