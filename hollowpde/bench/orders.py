"""What derivatives of each order cost: time without and with gradients, and memory."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from hollowpde.bench import memory
from hollowpde.bench.subjects import BATCH, NET, TERMS, Bare, hollow, points, task
from hollowpde.bench.tables import Budget, Row, Table
from hollowpde.bench.timing import Ratio
from hollowpde.operators import dimwise
from hollowpde.operators.field import as_time

_DIMENSIONS = (1, 2, 8, 32, 128, 512, 1024)
_ORDERS = (1, 2, 3, 4)


def _rows(training: bool, budget: Budget) -> Iterator[Row]:
    return (_row(dim, training, budget) for dim in budget.up_to(*_DIMENSIONS))


def _row(dim: int, training: bool, budget: Budget) -> Row:
    net, bare, half, x = hollow(dim), Bare(dim, half=False), Bare(dim, half=True), points(dim)
    t = as_time(0.0, x)
    bare_time, half_time, plain, *orders = budget.time(
        [
            task(bare, lambda: [bare(t, x)], training),
            task(half, lambda: [half(t, x)], training),
            task(net, lambda: [net(t, x)], training),
            *(task(net, partial(dimwise, net, t, x, order=k), training) for k in _ORDERS),
        ]
    )
    return {
        "d": dim,
        **{f"to order {k}": Ratio.of(y, plain) for k, y in zip(_ORDERS, orders, strict=True)},
        "plain / stack": Ratio.of(plain, bare_time),
        "plain / half": Ratio.of(plain, half_time),
    }


def _memory_rows(budget: Budget) -> Iterator[Row]:
    return (_memory_row(dim) for dim in budget.up_to(*_DIMENSIONS))


def _memory_row(dim: int) -> Row:
    net, x = hollow(dim), points(dim)

    def both(order: int) -> tuple[int, int]:
        outputs = partial(dimwise, net, as_time(0.0, x), x, order=order)
        return memory.saved(outputs, net, x), memory.peak(task(net, outputs, True), net, x)

    with memory.naive_autograd():
        naive = both(0)
    measured = {k: both(k) for k in (0, 1, 2, 4)}
    return {
        "d": dim,
        **{f"saved, {k}": saved / naive[0] for k, (saved, _) in measured.items()},
        **{f"peak, {k}": peak / naive[1] for k, (_, peak) in measured.items()},
        "saved MB": naive[0] / memory.MEGABYTE,
        "peak MB": naive[1] / memory.MEGABYTE,
    }


_BARE = (
    "Stack: the plain linear layers and SiLU of the same network, as a masked stack multiplies "
    "them, zeros included; no time, no embedding of the dimension, no neighbours read directly. "
    "Half: the same with half of the weights of the last layers of its two streams (8 of 16 "
    "features each, side by side), which is what masks leave. At d = 1 none has a conditioner."
)

FORWARD = Table(
    name="forward",
    title="Value and derivatives, without gradients",
    notes=(
        f"{NET} {TERMS}",
        "Value and derivatives 1..k, as multiples of the plain forward pass of the same network.",
        _BARE,
    ),
    keys=("d",),
    quantity="multiples of a plain forward pass",
    rows=partial(_rows, False),
    log=False,
)

TRAINING = Table(
    name="training",
    title="Value and derivatives, training step",
    notes=(
        f"{NET} {TERMS}",
        "Value and derivatives 1..k, all in the loss, as multiples of the plain training step of "
        "the same network.",
        _BARE,
    ),
    keys=("d",),
    quantity="multiples of a plain training step",
    rows=partial(_rows, True),
    log=False,
)

MEMORY = Table(
    name="memory",
    title="Memory of a training step",
    notes=(
        f"{NET} Batch {BATCH}, float32. As multiples of the plain step by naive autograd, which "
        "evaluates the transformer at once and keeps all that it computes.",
        "Columns: the highest derivative. Saved: what autograd keeps for the backward pass, each "
        "storage once, besides parameters and x. Peak: the most that tensors hold at once during "
        "the step, gradients included, parameters and x not. MB: of the plain step by naive "
        "autograd.",
    ),
    keys=("d",),
    quantity="multiples of the plain step by naive autograd",
    rows=_memory_rows,
    log=False,
)
