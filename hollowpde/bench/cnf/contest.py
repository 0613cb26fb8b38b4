"""Flows trained for the same time, from the same start, and looked at on the way."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from hollowpde.bench.cnf.budget import Budget
from hollowpde.bench.cnf.cases import CASES, Case, Task
from hollowpde.bench.cnf.rivals import RIVALS, Rival, Runner
from hollowpde.bench.sde.cells import Cell, in_silence

BATCH, _LR, _WARMUP, _CLIP = 256, 3e-3, 20, 10.0
# At these shares of the time the flow is evaluated; that time is not counted.
SHARES = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
_CHUNK = 2500


@dataclass(frozen=True)
class Curve:
    """What a flow had come to at each look; or why there is nothing.

    Arguments:
        seconds: of training.
        steps: of the optimiser.
        nll: of held-out samples by an exact trace, in nats and the user's units.
        nfe: evaluations that this took in a solve.
    """

    seconds: Sequence[float] = ()
    steps: Sequence[int] = ()
    nll: Sequence[float] = ()
    nfe: Sequence[float] = ()
    failure: str = ""

    def __str__(self) -> str:
        return (
            f"NLL {self.nll[-1]:.4f} after {self.steps[-1]} steps, {self.nfe[-1]:.0f} evaluations"
        )


def cells(cases: Sequence[Case], budget: Budget) -> Iterator[Cell]:
    """All that is to be trained, seed by seed."""
    for seed in range(budget.seeds):
        for case in cases:
            settings = f"{case.velocity}, {case.longer * budget.seconds:g} s, {budget.jobs} jobs"
            for rival in RIVALS.values():
                if rival.applies(case):
                    yield Cell(case.name, seed, rival.name, None, None, settings)


def measure(cell: Cell) -> Curve:
    """The curve of a cell; a rival that fails does not end the benchmark."""
    seconds = float(cell.settings.rsplit(", ", 2)[1].removesuffix(" s"))
    try:
        with in_silence():
            return _curve(CASES[cell.case], RIVALS[cell.rival], cell.seed, seconds)
    except Exception as error:
        return Curve(failure=f"{type(error).__name__}: {error}")


def _curve(case: Case, rival: Rival, seed: int, seconds: float) -> Curve:
    torch.set_num_threads(1)
    task = case.task(seed)
    torch.manual_seed(seed)
    return train(rival.make(task, case), task, seconds)


def train(runner: Runner, task: Task, seconds: float) -> Curve:
    """Train for so many seconds, with a learning rate that falls with the share that is over."""
    optimiser = torch.optim.Adam(runner.module.parameters(), lr=_LR)
    rows: list[tuple[float, int, float, float]] = []
    spent, steps, looks = 0.0, 0, iter(SHARES)
    look = next(looks)
    while True:
        start, progress = time.perf_counter(), min(spent / seconds, 1.0)
        for group in optimiser.param_groups:
            falling = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress))
            group["lr"] = _LR * min(1.0, (steps + 1) / _WARMUP) * falling
        x = task.train[torch.randint(len(task.train), (BATCH,))]
        optimiser.zero_grad()
        runner.loss(x, progress).backward()
        nn.utils.clip_grad_norm_(runner.module.parameters(), _CLIP)
        optimiser.step()
        steps += 1
        spent += time.perf_counter() - start
        if spent < look * seconds:
            continue
        rows.append((round(spent, 3), steps, *evaluate(runner, task)))
        # One step may be longer than the time between two looks.
        while spent >= look * seconds:
            look = next(looks, math.inf)
            if look == math.inf:
                taken, count, nll, nfe = (list(column) for column in zip(*rows, strict=True))
                return Curve(taken, count, nll, nfe)


@torch.no_grad()
def evaluate(runner: Runner, task: Task) -> tuple[float, float]:
    """The mean NLL of the test samples, in the user's units, and the evaluations of a solve."""
    values, nfe = [], []
    for part in task.test.split(_CHUNK):
        value, count = runner.log_prob(part)
        values.append(value.double())
        nfe.append(count)
    nll = task.log_scale - float(torch.cat(values).mean())
    if not math.isfinite(nll):
        raise ArithmeticError("the NLL is not finite")
    return nll, sum(nfe) / len(nfe)
