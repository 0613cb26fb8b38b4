"""What derivatives cost with each conditioner."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import torch

from hollowpde.bench.subjects import TERMS, points, task
from hollowpde.bench.tables import Budget, Row, Table
from hollowpde.bench.timing import Ratio
from hollowpde.nets import (
    ConditionerSpec,
    Convolution1d,
    Convolution2d,
    ExclusiveAttention,
    ExclusivePooling,
    HollowNet,
    MaskedMLP,
    SharedMLP,
)
from hollowpde.operators import dimwise
from hollowpde.operators.field import as_time

_SPECS: Mapping[str, Callable[[int], ConditionerSpec]] = {
    "MaskedMLP": lambda dim: MaskedMLP(hidden=(256, 256), features=16),
    "ExclusivePooling": lambda dim: ExclusivePooling(),
    "ExclusivePooling, identity": lambda dim: ExclusivePooling(identity=True),
    "ExclusiveAttention": lambda dim: ExclusiveAttention(),
    "Convolution1d": lambda dim: Convolution1d(),
    "Convolution2d": lambda dim: Convolution2d(shape=(math.isqrt(dim), math.isqrt(dim))),
}


def _rows(budget: Budget) -> Iterator[Row]:
    for name, spec in _SPECS.items():
        for dim in budget.up_to(16, 64, 256):
            torch.manual_seed(0)
            net = HollowNet(dim, conditioner=spec(dim), transformer=SharedMLP(hidden=(32, 32)))
            yield {
                "conditioner": name,
                "d": dim,
                **_ratios("forward", net, False, budget),
                **_ratios("training", net, True, budget),
            }


def _ratios(name: str, net: HollowNet, training: bool, budget: Budget) -> Row:
    x = points(net.dim)
    plain, *orders = budget.time(
        task(net, partial(dimwise, net, as_time(0.0, x), x, order=k), training) for k in (0, 1, 2)
    )
    return {f"{name}, {k}": Ratio.of(y, plain) for k, y in enumerate(orders, start=1)}


CONDITIONERS = Table(
    name="conditioners",
    title="Value and derivatives, for each conditioner",
    notes=(
        f"MaskedMLP 2x256, the others as by default; transformer SharedMLP 2x32. {TERMS}",
        "Columns: the highest derivative. As multiples of the plain forward pass, and of the "
        "plain training step, of the same network. The conditioner is evaluated once, whatever "
        "the order: the dearer it is, the smaller the multiples.",
    ),
    keys=("conditioner", "d"),
    quantity="multiples of the plain pass",
    rows=_rows,
    log=False,
)
