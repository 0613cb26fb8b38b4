"""What a ready-made residual costs, with our fields and by nested autograd on an MLP."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from hollowpde.bench.pde.budget import Budget
from hollowpde.bench.pde.nested import NestedJet
from hollowpde.bench.subjects import Outputs, mlp, points, task
from hollowpde.bench.tables import Heading, Result, Row
from hollowpde.bench.timing import Ratio, Spread
from hollowpde.nets import Ridge, Separable
from hollowpde.nets.structured import LinearField
from hollowpde.nets.structured.specs import Spec
from hollowpde.operators.field import Field
from hollowpde.problem.pde.settings import Solve
from hollowpde.residuals import (
    AdvectionDiffusion,
    AllenCahn,
    AnisotropicHeat,
    BlackScholes,
    FokkerPlanck,
    HamiltonJacobiBellman,
    Heat,
    LogFokkerPlanck,
    Poisson,
    ReactionDiffusion,
    Residual,
)

Equation = Callable[..., Tensor]

# As many points, in such precision, as a problem has by default.
BATCH = Solve().interior

DIMENSIONS = (1, 10, 100)
FIELDS: Mapping[str, Spec] = {
    "Ridge 2x32": Ridge(hidden=(32, 32)),
    "Ridge 2x64": Ridge(hidden=(64, 64)),
    "Separable": Separable(),
}
# The hidden widths of ordinary networks, differentiated by nested autograd.
ORDINARY = {"MLP 2x32": (32, 32), "MLP 2x64": (64, 64)}
# The one of the same size as each field.
RIVAL = {"Ridge 2x32": "MLP 2x32", "Ridge 2x64": "MLP 2x64", "Separable": "MLP 2x64"}
PASSES = {"forward": False, "training": True}


def _relaxation(dim: int) -> LinearField:
    """A drift of known numbers."""
    drift = LinearField(dim).double()
    drift.A.data = -torch.eye(dim, dtype=torch.float64)
    return drift.requires_grad_(False)


# Every ready-made one that there is in any dimension, with coefficients that cost little.
EQUATIONS: Mapping[str, Callable[[int], Equation]] = {
    "Heat": lambda d: Heat(0.1),
    "AnisotropicHeat": lambda d: AnisotropicHeat((0.1,) * d),
    "AdvectionDiffusion": lambda d: AdvectionDiffusion((1.0,) * d, 0.1),
    "Poisson": lambda d: Poisson(1.0),
    "ReactionDiffusion": lambda d: ReactionDiffusion(0.1, lambda u: u * (1 - u)),
    "AllenCahn": lambda d: AllenCahn(0.1),
    "HamiltonJacobiBellman": lambda d: HamiltonJacobiBellman(),
    "BlackScholes": lambda d: BlackScholes(0.2, 0.05),
    "FokkerPlanck": lambda d: FokkerPlanck(_relaxation(d), (0.5,) * d),
    "LogFokkerPlanck": lambda d: LogFokkerPlanck(_relaxation(d), (0.5,) * d),
}

Times = Sequence[float]


@dataclass
class Measured:
    """Seconds of each repeat, by equation, pass, network and d."""

    times: dict[tuple[str, str, str, int], Times] = field(default_factory=dict)

    def of(self, equation: str, kind: str, net: str, dim: int) -> Times:
        return self.times[equation, kind, net, dim]


def measure(budget: Budget, console: Console) -> Measured:
    """The times of all residuals; of one residual all d and networks are interleaved."""
    measured = Measured()
    dims = dimensions(budget)
    with console.status("residuals ...") as status:
        for name, make in EQUATIONS.items():
            for kind, training in PASSES.items():
                status.update(f"residuals: {name}, {kind} ...")
                tasks = {key: t for d in dims for key, t in _tasks(make(d), d, training)}
                found = budget.timing.time(tasks.values())
                for (net, dim), seconds in zip(tasks, found, strict=True):
                    measured.times[name, kind, net, dim] = seconds
    return measured


def dimensions(budget: Budget) -> list[int]:
    """Those that are measured."""
    return list(budget.timing.up_to(*DIMENSIONS))


def _tasks(
    equation: Equation, dim: int, training: bool
) -> Iterator[tuple[tuple[str, int], Callable[[], object]]]:
    """What is timed, by network and d."""
    torch.manual_seed(0)
    x = points(dim, BATCH).double()
    t = torch.linspace(0, 1, BATCH).to(x)
    outputs: Outputs
    for name, spec in FIELDS.items():
        own: Field = spec.build(dim).double()
        outputs = partial(_own, Residual(equation), own, t, x)
        yield (name, dim), task(own, outputs, training)
    for name, hidden in ORDINARY.items():
        net = mlp(dim + 1, *hidden, 1).double()
        outputs = partial(_nested, equation, net, t, x, training)
        yield (name, dim), task(net, outputs, training)


def _own(residual: Residual, own: Field, t: Tensor, x: Tensor) -> list[Tensor]:
    return [residual([own], t, x)]


def _nested(
    equation: Equation, net: nn.Module, t: Tensor, x: Tensor, keep_graph: bool
) -> list[Tensor]:
    jet: Any = NestedJet(net, t, x, keep_graph)
    return [equation(jet, t, x)]


_SUBJECTS = (
    f"{BATCH} points in double precision, as a problem has by default. Forward: the residual at "
    "the points, without gradients; training: forward and backward pass of its mean square.",
    "Ridge 2x32 is the default network of a problem, Separable as by default (its outer network "
    "is 2x64). Nested autograd, on an ordinary MLP of (x, t) with as many SiLU units: one reverse "
    "pass for the gradient and the time derivative, d more through it for the second derivatives. "
    "At d = 1 that is two passes, and ours, which do as much and more at once, are slower.",
    "Coefficients are numbers; the drifts of the Fokker-Planck equations are -x.",
)

RATIOS = Heading(
    name="residuals",
    title="Residuals by nested autograd, against ours",
    notes=("Time of nested autograd as a multiple of ours.", *_SUBJECTS),
    keys=("field", "pass", "d"),
    quantity="nested / own",
)

SLOPES = Heading(
    name="slopes",
    title="The slope of the time in d, against that of nested autograd",
    notes=(
        "The time at the largest d less that at d = 1, divided by the same of nested autograd "
        "within each repeat: 0.05 is one twentieth. Of one residual all d and networks are "
        "interleaved.",
    ),
    keys=("field", "pass"),
    quantity="slope / that of nested autograd",
    log=False,
)

GROWTH = Heading(
    name="growth",
    title="The time at d = 100, against that at d = 10",
    notes=("10 would be growth in proportion to d.",),
    keys=("network", "pass"),
    quantity="time at d = 100 / at d = 10",
)

MICROSECONDS = Heading(
    name="microseconds",
    title="Time of one residual at one point",
    notes=("Microseconds, medians.",),
    keys=("network", "pass", "d"),
    quantity="microseconds",
)


def tables(measured: Measured, budget: Budget) -> list[Result]:
    """What was measured, as tables whose columns are the residuals."""
    dims = dimensions(budget)
    largest = max(dims)
    results = [Result(RATIOS, list(_ratios(measured, dims)))]
    if largest > 1:
        results.append(Result(SLOPES, list(_slopes(measured, largest))))
    if {10, 100} <= {*dims}:
        results.append(Result(GROWTH, list(_growth(measured))))
    return [*results, Result(MICROSECONDS, list(_microseconds(measured, dims)))]


def _ratios(measured: Measured, dims: Sequence[int]) -> Iterator[Row]:
    for own in FIELDS:
        for kind in PASSES:
            for d in dims:
                yield {
                    "field": own,
                    "pass": kind,
                    "d": d,
                    **{
                        name: Ratio.of(
                            measured.of(name, kind, RIVAL[own], d), measured.of(name, kind, own, d)
                        )
                        for name in EQUATIONS
                    },
                }


def _slopes(measured: Measured, largest: int) -> Iterator[Row]:
    def rises(name: str, kind: str, net: str) -> list[float]:
        high, low = (measured.of(name, kind, net, d) for d in (largest, 1))
        return [a - b for a, b in zip(high, low, strict=True)]

    for own in FIELDS:
        for kind in PASSES:
            yield {
                "field": own,
                "pass": kind,
                **{
                    name: Spread.over(
                        [
                            a / b
                            for a, b in zip(
                                rises(name, kind, own), rises(name, kind, RIVAL[own]), strict=True
                            )
                        ]
                    )
                    for name in EQUATIONS
                },
            }


def _growth(measured: Measured) -> Iterator[Row]:
    for net in (*FIELDS, *ORDINARY):
        for kind in PASSES:
            yield {
                "network": net,
                "pass": kind,
                **{
                    name: Ratio.of(
                        measured.of(name, kind, net, 100), measured.of(name, kind, net, 10)
                    )
                    for name in EQUATIONS
                },
            }


def _microseconds(measured: Measured, dims: Sequence[int]) -> Iterator[Row]:
    for net in (*FIELDS, *ORDINARY):
        for kind in PASSES:
            for d in dims:
                yield {
                    "network": net,
                    "pass": kind,
                    "d": d,
                    **{
                        name: 1e6 * statistics.median(measured.of(name, kind, net, d)) / BATCH
                        for name in EQUATIONS
                    },
                }
