"""What a step of training costs in many dimensions, by what it costs in few."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from hollowpde.bench.sde.cases import Case
from hollowpde.bench.sde.cells import Budget, in_silence
from hollowpde.bench.tables import Heading, Result, Row
from hollowpde.bench.timing import Ratio, interleaved
from hollowpde.data import Simulated
from hollowpde.errors import InputError
from hollowpde.likelihoods import (
    DiagonalClosure,
    EulerMaruyama,
    LocalLinearization,
    TransitionLikelihood,
)
from hollowpde.nets.hollow import Hollow
from hollowpde.nets.structured import Linear
from hollowpde.problem import Compute, SDEProblem
from hollowpde.problem.sde.fit import SDEFit
from hollowpde.problem.sde.rows import batches

_FEW, _MANY = 5, 50
_BATCHES = (256, 2048)
_LIKELIHOODS = (EulerMaruyama(), LocalLinearization(), DiagonalClosure())
_SECONDS = 20.0
_REPEATS = 101
_NOTES = (
    f"Loss and gradient of one step of problems/ou_50d.py, in {_MANY} dimensions and with the "
    f"same equation in {_FEW}: ratio of times in one process, medians [quartiles] of interleaved "
    "repeats.",
    "light: the networks of the file, with AffineGate; default: the same with the default hollow "
    "network.",
)


def table(budget: Budget) -> Result:
    """The ratios, by network, likelihood and batch."""
    heading = Heading(
        "dimensions",
        f"A step in {_MANY} dimensions by one in {_FEW}",
        _NOTES,
        ("networks", "likelihood", "batch"),
        "ratio",
        log=False,
        bars=True,
        aside=(f"ms at d = {_FEW}",),
    )
    return Result(heading, list(_rows(budget)))


def _rows(budget: Budget) -> Iterator[Row]:
    declared = Case("ou_50d", 0.1).declared()
    default = Linear(plus=Hollow())
    heavy = replace(declared, drift=default, diffusion=(default,))
    sizes = _BATCHES if budget.paths is None else _BATCHES[:1]
    for name, problem in (("light", declared), ("default", heavy)):
        few, many = _begun(problem, _FEW), _begun(problem, _MANY)
        for likelihood in _LIKELIHOODS:
            for size in sizes:
                quick, slow = interleaved(
                    [_step(few, likelihood, size), _step(many, likelihood, size)],
                    _REPEATS if budget.paths is None else 3,
                    _SECONDS,
                )
                at_few = Ratio.of(quick, quick).milliseconds
                yield {
                    "networks": name,
                    "likelihood": type(likelihood).__name__,
                    "batch": size,
                    f"d = {_MANY} / d = {_FEW}": Ratio.of(slow, quick),
                    f"ms at d = {_FEW}": at_few,
                }


def _begun(problem: SDEProblem, dim: int) -> SDEFit:
    """The problem in so many dimensions, its data made and its networks started."""

    def start(paths: int, generator: torch.Generator) -> Tensor:
        return 1 + 0.4 * torch.randn(paths, dim, generator=generator)

    if not isinstance(problem.data, Simulated):
        raise InputError("'ou_50d' must have simulated data.")
    data = replace(problem.data, x0=start, paths=200)
    with in_silence():
        fit = replace(problem, data=data).begin(Compute(0))
    if not isinstance(fit, SDEFit):
        raise InputError("'ou_50d' must have paths.")
    return fit


def _step(fit: SDEFit, likelihood: TransitionLikelihood, size: int) -> Callable[[], object]:
    """One evaluation of the loss and its gradient, on a batch of so many transitions."""
    part, pair = fit.coefficients, fit.model.pair(0)
    rows = batches(part.train, size, size)(torch.Generator().manual_seed(0), 0.0)
    parameters = list(pair.parameters())

    def step() -> object:
        losses = part.losses(0, pair, likelihood, rows)
        total = torch.stack(list(losses.values())).sum()
        return torch.autograd.grad(total, parameters)

    return step
