"""Flows that are trained side by side."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hollowpde.bench.cnf.cases import TOYS, Case, Task
from hollowpde.densities.cnf import CNF, RK4, Dopri5, ExactTrace, HutchinsonTrace, Trace
from hollowpde.nets.structured.specs import Spec

EXACT, PROBE, MATCHED = "exact", "one probe", "matched, exact"
ZUKO, ZUKO_PROBE = "zuko exact", "zuko one probe"

STEPS = 6


class Runner(ABC):
    """A flow in training: what is minimised, and what it has come to."""

    module: nn.Module

    @abstractmethod
    def loss(self, x: Tensor, progress: float) -> Tensor:
        """Of a batch; progress is the share of the time that is over."""

    @abstractmethod
    def log_prob(self, x: Tensor) -> tuple[Tensor, float]:
        """Of samples, exactly, and the evaluations that it took."""


class Ours(Runner):
    """A hollow velocity and a trace, after flow matching if asked for.

    Arguments:
        task: the data.
        spec: the sizes of the velocity.
        trace: of training; evaluation is exact.
        matching: the share of the time that flow matching takes.
    """

    def __init__(self, task: Task, spec: Spec, trace: Trace, matching: float = 0.0) -> None:
        self.velocity = spec.build(task.train.shape[1])
        self.module = self.velocity
        self.training = CNF(self.velocity, task.train.shape[1], trace=trace, solver=RK4(STEPS))
        self.exact = self.training.using(ExactTrace(), Dopri5())
        self.matching = matching

    def loss(self, x: Tensor, progress: float) -> Tensor:
        if progress >= self.matching:
            return -self.training.log_prob(x).mean()
        start, t = torch.randn_like(x), torch.rand(len(x))
        way = x - start
        return (self.velocity(t, start + t[:, None] * way) - way).square().mean()

    def log_prob(self, x: Tensor) -> tuple[Tensor, float]:
        return self.exact.log_prob(x), float(self.exact.nfe)


class Zuko(Runner):
    """zuko's CNF, with about as wide an MLP.

    Arguments:
        task: the data.
        exact: its trace in training; evaluation is exact.
    """

    def __init__(self, task: Task, exact: bool) -> None:
        from zuko.flows import CNF as Flow

        self.calls = 0
        dim = task.train.shape[1]
        flow: Any = Flow(dim, hidden_features=(64,) * 3, activation=nn.SiLU, exact=exact)
        self.module, self.transform = flow, flow.transform
        self.transform.ode.register_forward_hook(self._count)

    def loss(self, x: Tensor, progress: float) -> Tensor:
        return -self.module().log_prob(x).mean()

    def log_prob(self, x: Tensor) -> tuple[Tensor, float]:
        transform, self.calls = self.transform, 0
        before, transform.exact = transform.exact, True
        value = self.module().log_prob(x)
        transform.exact = before
        return value, float(self.calls)

    def _count(self, *_: object) -> None:
        self.calls += 1


@dataclass(frozen=True)
class Rival:
    """A way to train a flow.

    Arguments:
        name: of it.
        make: the untrained flow.
        cases: where it takes part; everywhere if empty.
    """

    name: str
    make: Callable[[Task, Case], Runner]
    cases: tuple[str, ...] = ()

    def applies(self, case: Case) -> bool:
        return not self.cases or case.name in self.cases


def _matched(task: Task, case: Case) -> Runner:
    """The network of the problem file, half of the time by flow matching."""
    return Ours(task, case.declared().velocity, ExactTrace(), matching=0.5)


RIVALS = {
    rival.name: rival
    for rival in (
        Rival(EXACT, lambda task, case: Ours(task, case.velocity, ExactTrace())),
        Rival(PROBE, lambda task, case: Ours(task, case.velocity, HutchinsonTrace())),
        Rival(MATCHED, _matched, TOYS),
        Rival(ZUKO, lambda task, case: Zuko(task, exact=True), TOYS),
        Rival(ZUKO_PROBE, lambda task, case: Zuko(task, exact=False), TOYS),
    )
}
