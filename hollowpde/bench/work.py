"""What there is to do, whatever it takes: multiply-adds and calls of torch's operations."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from hollowpde.bench.rivals import by_jacobian
from hollowpde.bench.subjects import NET, Bare, hollow, points
from hollowpde.bench.tables import Budget, Row, Table
from hollowpde.operators import dimwise
from hollowpde.operators.field import as_time

# What torch's own counter leaves out: a matrix times a vector.
_MORE = {torch.ops.aten.mv: lambda matrix, vector, **_: 2 * matrix[0] * matrix[1]}
# Samples of a count: as many as a chunk of Jacobians takes.
_SAMPLES = 16


class _Calls(TorchDispatchMode):
    """Counts the operations that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        self.count += 1
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def counted(outputs: Callable[[], object]) -> tuple[int, int]:
    """Multiply-adds in products of matrices, and operations called.

    >>> x = torch.ones(2, 3)
    >>> counted(lambda: x @ x.t())
    (12, 2)
    """
    with FlopCounterMode(display=False, custom_mapping=_MORE) as products:
        outputs()
    with _Calls() as calls:
        outputs()
    return products.get_total_flops() // 2, calls.count


def _rows(budget: Budget) -> Iterator[Row]:
    for dim in budget.up_to(1, 2, 8, 32, 128):
        net, x = hollow(dim), points(dim, _SAMPLES)
        t = as_time(0.0, x)
        stack = counted(partial(Bare(dim, half=False), t, x))
        plain, first, second = (
            counted(partial(dimwise, net, t, x, order=order)) for order in range(3)
        )
        with warnings.catch_warnings():
            # torch tells where vmap has no rule for an operation and loops.
            warnings.simplefilter("ignore", UserWarning)
            reverse, ahead = (
                counted(partial(by_jacobian, way, net, x, None))
                for way in (torch.func.jacrev, torch.func.jacfwd)
            )
        yield {
            "d": dim,
            "products, plain / stack": plain[0] / stack[0],
            "products, to order 1": first[0] / plain[0],
            "products, to order 2": second[0] / plain[0],
            "calls, plain / stack": plain[1] / stack[1],
            "calls, to order 1": first[1] / plain[1],
            "calls, to order 2": second[1] / plain[1],
            "products, vmap(jacrev) / dimwise": reverse[0] / first[0],
            "products, vmap(jacfwd) / dimwise": ahead[0] / first[0],
        }


WORK = Table(
    name="work",
    title="Why: the work behind the times above",
    notes=(
        f"{NET} {_SAMPLES} samples, no gradients. Nothing is timed: these are counts.",
        "Products: multiply-adds in products of matrices. Calls: operations of torch, views "
        "included. To order k: value and derivatives 1..k, as multiples of the plain forward "
        "pass; vmap as a multiple of dimwise(order=1).",
        "At d = 1 there is no conditioner, whose products all orders share: what is left is the "
        "transformer, which multiplies once more for every order. So the first order can cost "
        "twice, and the second three times, what the value does; in more dimensions neither "
        "does.",
        "A Jacobian is d passes: so many times the products of dimwise are what vmap has to do. "
        "What it takes beyond that is not in these counts.",
    ),
    keys=("d",),
    quantity="multiples",
    rows=_rows,
)
