"""Laplacians of scalar fields against nested autograd and collapsed Taylor mode."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from hollowpde.bench.subjects import BATCH, Outputs, mlp, points, task
from hollowpde.bench.tables import Budget, Row, Table
from hollowpde.bench.timing import Ratio
from hollowpde.nets import RidgeNet, SeparableNet
from hollowpde.operators.dimwise import with_laplacian
from hollowpde.operators.field import Field, as_time

# Collapsed Taylor mode: pip install jet-for-pytorch, which wants Python 3.12.
_jet = importlib.import_module("jet") if importlib.util.find_spec("jet") else None

_FIELDS: Mapping[str, Callable[[int], Field]] = {
    "SeparableNet": SeparableNet,
    "RidgeNet": RidgeNet,
}


def _rows(budget: Budget) -> Iterator[Row]:
    for training in (False, True):
        for dim in budget.up_to(10, 100, 1000):
            yield _row(dim, training, budget)


def _row(dim: int, training: bool, budget: Budget) -> Row:
    torch.manual_seed(0)
    x = points(dim)
    ordinary = mlp(dim, 64, 64, 1)
    fields = {name: make(dim) for name, make in _FIELDS.items()}
    asked: dict[tuple[str, str], tuple[nn.Module, Outputs]] = {
        ("nested", "MLP"): (ordinary, partial(_nested, ordinary, x, training)),
    }
    if _jet is not None:
        asked["jet", "MLP"] = (ordinary, _collapsed(_jet, ordinary, x))
    for name, field in fields.items():
        asked["laplacian", name] = (field, partial(_own, field, x))
        asked["value", name] = (field, partial(_plain, field, x))
    tasks = [task(net, outputs, training) for net, outputs in asked.values()]
    times = dict(zip(asked, budget.time(tasks), strict=True))

    def ratio(of: tuple[str, str], to: tuple[str, str]) -> Ratio | None:
        return Ratio.of(times[of], times[to]) if of in times else None

    return {
        "pass": "training" if training else "forward",
        "d": dim,
        **{
            f"{way} / {name}": ratio((way, "MLP"), ("laplacian", name))
            for way in ("nested", "jet")
            for name in fields
        },
        **{f"{name} / own value": ratio(("laplacian", name), ("value", name)) for name in fields},
    }


def _own(field: Field, x: Tensor) -> list[Tensor]:
    value, _, laplacian = with_laplacian(field, as_time(0.0, x), x)
    return [value, laplacian]


def _plain(field: Field, x: Tensor) -> list[Tensor]:
    return [field(as_time(0.0, x), x)]


def _nested(net: nn.Module, x: Tensor, keep_graph: bool) -> list[Tensor]:
    """Value and Laplacian by d reverse passes through the gradient."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        value = net(x).squeeze(-1)
        (gradient,) = torch.autograd.grad(value.sum(), x, create_graph=True)
        laplacian = torch.zeros_like(value)
        for i in range(x.shape[-1]):
            (row,) = torch.autograd.grad(
                gradient[:, i].sum(), x, create_graph=keep_graph, retain_graph=True
            )
            laplacian = laplacian + row[:, i]
    return [value, laplacian]


class _SiLU(nn.Module):
    """SiLU of operations that jet knows."""

    def forward(self, z: Tensor) -> Tensor:
        return z * z.sigmoid()


def _collapsed(jet: Any, net: nn.Sequential, x: Tensor) -> Outputs:
    """Value and Laplacian by collapsed Taylor mode, its graph captured as its authors do."""
    known = nn.Sequential(*(_SiLU() if isinstance(k, nn.SiLU) else k for k in net))
    of_one = jet.jet(known, (x[0],), collapsed=True)
    directions = torch.eye(x.shape[-1])

    def one(y: Tensor) -> tuple[Tensor, Tensor]:
        value, _, laplacian = of_one((y, directions, torch.zeros_like(y)))
        return value.squeeze(-1), laplacian.squeeze(-1)

    captured, _ = jet.capture_graph(one, (x[0],))
    jet.common_subexpression_elimination(captured.graph)
    captured.recompile()
    batched = torch.func.vmap(captured)
    return lambda: [*batched(x)]


LAPLACIAN = Table(
    name="laplacian",
    title="Value and Laplacian of a scalar field",
    notes=(
        "SeparableNet and RidgeNet as by default, against an ordinary MLP d-64-64-1 with SiLU: "
        "how many times as long the other way takes (nested / ..., jet / ...). Own value: the "
        "Laplacian as a multiple of the value of the same network.",
        f"Batch {BATCH}, float32; training is the forward and backward pass of the mean squares.",
        "Nested: autograd, d reverse passes through the gradient. Jet: collapsed Taylor mode of "
        "jet-for-pytorch, Dangel et al. (2025), with SiLU written as z sigmoid(z), which it "
        "knows, its graph captured and simplified beforehand; '-' where it is not installed (it "
        "wants Python 3.12).",
    ),
    keys=("pass", "d"),
    quantity="other / own",
    rows=_rows,
    bars=True,
)
