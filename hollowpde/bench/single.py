"""One dimension, where the overhead of a call is what counts."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from hollowpde.bench.subjects import mlp, points, task
from hollowpde.bench.tables import Budget, Row, Table
from hollowpde.bench.timing import Ratio
from hollowpde.nets import HollowNet, SharedMLP
from hollowpde.operators import dimwise
from hollowpde.operators.field import as_time

_BATCH = 64


def _rows(budget: Budget) -> Iterator[Row]:
    torch.manual_seed(0)
    net, bare = HollowNet(1, transformer=SharedMLP(hidden=(32, 32))), mlp(1, 32, 32, 1)
    x = points(1, _BATCH)
    for training in (False, True):
        plain, *orders = budget.time(
            [
                task(bare, lambda: [bare(x)], training),
                *(
                    task(net, partial(dimwise, net, as_time(0.0, x), x, order=k), training)
                    for k in (0, 1, 2)
                ),
            ]
        )
        yield {
            "pass": "training" if training else "forward",
            **{f"to order {k}": Ratio.of(y, plain) for k, y in enumerate(orders)},
        }


SINGLE = Table(
    name="single",
    title="One dimension: the overhead of a call",
    notes=(
        f"d = 1, batch {_BATCH}, transformer SharedMLP 2x32, float32: dimwise as multiples of the "
        "same layers in a bare nn.Sequential, which knows neither time nor a slope.",
    ),
    keys=("pass",),
    quantity="multiples of the bare layers",
    rows=_rows,
    log=False,
)
