"""What a training step and a log-density of a flow take, by trace and by library."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

from hollowpde.bench.cnf.budget import Budget
from hollowpde.bench.machine import keep_freed_memory
from hollowpde.bench.memory import naive_autograd
from hollowpde.bench.subjects import NET, hollow, points
from hollowpde.bench.tables import Heading, Row
from hollowpde.bench.timing import Ratio
from hollowpde.densities.cnf import CNF, RK4, Dopri5, ExactTrace, HutchinsonTrace, Trace
from hollowpde.nets import HollowNet, MaskedMLP, SharedMLP

_BATCH, _ZUKO_BATCH = 256, 64
# Ten probes with gradients keep ten times the memory of one: at d = 512, more than 20 GB.
_TEN_PROBES_UP_TO = 128
_DIMENSIONS = (2, 8, 32, 128, 512)
_STEPS = 2
_RTOL, _ATOL = 1e-5, 1e-6
_WIDTHS = (64, 64)
_OURS = "Conditioner MaskedMLP 2x64 with 4 features, transformer SharedMLP 2x16, SiLU."


def _slim(dim: int) -> HollowNet:
    torch.manual_seed(0)
    return HollowNet(
        dim,
        conditioner=MaskedMLP(hidden=_WIDTHS, features=4),
        transformer=SharedMLP(hidden=(16, 16)),
    )


def _training(module: nn.Module, log_prob: Callable[[Tensor], Tensor], x: Tensor) -> object:
    module.zero_grad()
    log_prob(x).mean().backward()
    return None


@torch.no_grad()
def _density(log_prob: Callable[[Tensor], Tensor], x: Tensor) -> object:
    return log_prob(x)


def traces(budget: Budget) -> Iterator[Row]:
    """The exact trace against one probe, on the same network."""
    for training in (True, False):
        for dim in budget.up_to(*_DIMENSIONS):
            flow, x = CNF(hollow(dim), solver=RK4(_STEPS)), points(dim, _BATCH)

            def task(
                trace: Trace, flow: CNF = flow, x: Tensor = x, training: bool = training
            ) -> Callable[[], object]:
                log_prob = flow.using(trace).log_prob
                return (
                    partial(_training, flow, log_prob, x)
                    if training
                    else partial(_density, log_prob, x)
                )

            probe = task(HutchinsonTrace())
            others = {"one probe": probe, "one probe, naive autograd": naive_autograd()(probe)}
            if not training or dim <= _TEN_PROBES_UP_TO:
                others["ten probes"] = task(HutchinsonTrace(10))
            own, *times = budget.time([task(ExactTrace()), *others.values()])
            yield {
                "pass": "training step" if training else "log_prob",
                "d": dim,
                **{name: Ratio.of(own, y) for name, y in zip(others, times, strict=True)},
            }


def zuko(budget: Budget) -> Iterator[Row]:
    """The times of zuko's flows as multiples of ours; none, if it is not installed.

    In each state of memory, in this order: there is no way back from one to the one before.
    """
    try:
        from zuko.flows import CNF as Zuko
    except ImportError:
        return
    states: dict[str, Callable[[], object]] = {
        "fresh": lambda: None, "kept": keep_freed_memory, "ample": lambda: _train_once(budget)
    }  # fmt: skip
    for memory, enter in states.items():
        enter()
        for training in (True, False):
            for row in _beside(Zuko, training, budget):
                yield {"memory": memory, **row}


def _beside(other_flow: type[nn.Module], training: bool, budget: Budget) -> Iterator[Row]:
    """One pass of theirs, exact and by one probe, as multiples of ours."""
    for dim in budget.up_to(2, 64, 256) if training else budget.up_to(2, 64, 256, 512):
        flow = CNF(_slim(dim), solver=Dopri5(_RTOL, _ATOL))
        x = points(dim, _ZUKO_BATCH)
        tasks: list[tuple[nn.Module, Callable[[Tensor], Tensor]]] = [(flow, flow.log_prob)]
        for exact in (True, False):
            other = other_flow(
                dim, hidden_features=_WIDTHS, activation=nn.SiLU, exact=exact, atol=_ATOL,
                rtol=_RTOL,
            )  # fmt: skip
            tasks.append((other, partial(_zuko_density, other)))
        own, *others = budget.time(
            [
                partial(_training, module, log_prob, x)
                if training
                else partial(_density, log_prob, x)
                for module, log_prob in tasks
            ]
        )
        names = ("zuko, exact", "zuko, one probe")
        yield {
            "pass": "training step" if training else "log_prob",
            "d": dim,
            **{name: Ratio.of(y, own) for name, y in zip(names, others, strict=True)},
            "our ms": Ratio.of(own, own).milliseconds,
            "our evaluations": flow.nfe,
        }


def _train_once(budget: Budget) -> None:
    """A training step of the other table with one probe, at its largest d."""
    *_, dim = budget.up_to(*_DIMENSIONS)
    flow = CNF(hollow(dim), solver=RK4(_STEPS))
    _training(flow, flow.using(HutchinsonTrace()).log_prob, points(dim, _BATCH))


def _zuko_density(flow: nn.Module, x: Tensor) -> Tensor:
    return flow().log_prob(x)


TRACES = Heading(
    "traces",
    "The exact trace, against one-probe Hutchinson on the same network",
    (
        f"{NET} Batch {_BATCH}, float32, {_STEPS} steps of RK4: {4 * _STEPS} evaluations. A "
        "training step is the forward and the backward pass of the mean log-density, without the "
        "optimiser.",
        "Time with the exact trace divided by that with an estimate: below 1 the exact one is "
        "faster. Naive autograd: without the blocks in which large batches are evaluated. Ten "
        f"probes, in training: up to d = {_TEN_PROBES_UP_TO}, beyond which memory is short.",
    ),
    ("pass", "d"),
    "exact / estimated",
)

ZUKO = Heading(
    "zuko",
    "zuko's CNF, against ours with the exact trace",
    (
        f"Batch {_ZUKO_BATCH}, float32, untrained. Ours: {_OURS} zuko: an MLP "
        f"2x{_WIDTHS[0]} of x and time with SiLU; exact=True takes the whole Jacobian, "
        "exact=False one probe. Both by Dormand-Prince with rtol "
        f"{_RTOL:g} and atol {_ATOL:g}, but zuko's own, which asks less of the trace.",
        "Time of zuko divided by ours: above 1 ours is faster.",
        "Memory: fresh, as a process has it that begins with such a flow; kept, once a block of "
        "32 MB has been freed, from when on glibc keeps freed memory for later; ample, after a "
        "training step with one probe of the network of the other table at d = "
        f"{_DIMENSIONS[-1]}, which leaves more of it than any tensor here takes. Until then those "
        "beyond 32 MB are mapped anew each time, such as zuko's Jacobians at d = 512.",
    ),
    ("memory", "pass", "d"),
    "zuko / ours",
    aside=("our ms", "our evaluations"),
)
