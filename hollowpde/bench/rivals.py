"""The exact diagonal and divergence against other ways to them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

from hollowpde.bench.memory import naive_autograd
from hollowpde.bench.subjects import NET, TERMS, Ordinary, Outputs, hollow, points, task
from hollowpde.bench.tables import Budget, Row, Table
from hollowpde.bench.timing import Ratio
from hollowpde.nets import HollowNet, Transformer
from hollowpde.operators import dimwise, hutchinson
from hollowpde.operators.field import as_time

# Samples whose Jacobians are taken at once: about the fastest way there is.
_CHUNK = 16

Net = Callable[[Tensor, Tensor], Tensor]
Jacobian = Callable[[Callable[[Tensor], Tensor]], Callable[[Tensor], Tensor]]


def _diagonal(budget: Budget) -> Iterator[Row]:
    for dim in budget.up_to(8, 32, 128):
        net, ordinary, x = hollow(dim), Ordinary(dim, 256), points(dim)
        reverse, ahead = torch.func.jacrev, torch.func.jacfwd
        rivals: dict[str, Outputs] = {
            "detached graph": partial(detached, net, x),
            "vmap(jacrev)": partial(by_jacobian, reverse, net, x, None),
            "vmap(jacfwd)": partial(by_jacobian, ahead, net, x, None),
            "vmap(jacrev), chunks": partial(by_jacobian, reverse, net, x, _CHUNK),
            "vmap(jacfwd), chunks": partial(by_jacobian, ahead, net, x, _CHUNK),
            "vmap(jacrev), chunks, MLP 2x256": partial(by_jacobian, reverse, ordinary, x, _CHUNK),
        }
        exact: Outputs = partial(dimwise, net, as_time(0.0, x), x, order=1)
        with warnings.catch_warnings():
            # torch tells where vmap has no rule for an operation and loops: part of the price.
            warnings.simplefilter("ignore", UserWarning)
            own, *others = budget.time(
                task(net, outputs, training=False) for outputs in (exact, *rivals.values())
            )
        yield {
            "d": dim,
            **{name: Ratio.of(y, own) for name, y in zip(rivals, others, strict=True)},
        }


def detached(net: HollowNet, x: Tensor) -> tuple[Tensor, ...]:
    """Value and first derivatives by reverse mode through the transformer, h held fixed."""
    c = as_time(0.0, x).unsqueeze(-1)
    h = net.conditioner(x, c)
    return Transformer.dimwise(net.transformer, x, h, c, 1)


def by_jacobian(jacobian: Jacobian, net: Net, x: Tensor, chunk: int | None) -> list[Tensor]:
    """The diagonal of the full Jacobian."""
    t = torch.zeros(())
    one = jacobian(lambda y: net(t, y.unsqueeze(0)).squeeze(0))
    return [torch.func.vmap(lambda y: one(y).diagonal(), chunk_size=chunk)(x)]


def _divergence(budget: Budget) -> Iterator[Row]:
    for training in (False, True):
        for dim in budget.up_to(2, 8, 32, 128, 512):
            yield _divergence_row(dim, training, budget)


def _divergence_row(dim: int, training: bool, budget: Budget) -> Row:
    net, x = hollow(dim), points(dim)
    equal = Ordinary(dim, _equal_width(net, dim))
    wide = Ordinary(dim, 256)
    probe = hutchinson.rademacher(x, torch.Generator().manual_seed(1))

    def exact(way: Outputs) -> tuple[Tensor, Tensor]:
        value, diagonal = way()
        return value, diagonal.sum(-1)

    def estimated(of: nn.Module) -> Callable[[], object]:
        return task(of, partial(_estimate, of, x, probe, training), training)

    others = {
        "detached graph": task(net, partial(exact, partial(detached, net, x)), training),
        "Hutchinson": naive_autograd()(estimated(net)),
        "Hutchinson, in blocks": estimated(net),
        "Hutchinson, equal MLP": estimated(equal),
        "Hutchinson, MLP 2x256": estimated(wide),
    }
    ours = partial(exact, partial(dimwise, net, as_time(0.0, x), x, order=1))
    own, *times = budget.time([task(net, ours, training), *others.values()])
    return {
        "pass": "training" if training else "forward",
        "d": dim,
        **{name: Ratio.of(own, y) for name, y in zip(others, times, strict=True)},
    }


def _estimate(net: Net, x: Tensor, probe: Tensor, keep_graph: bool) -> tuple[Tensor, Tensor]:
    """The value, and the divergence by one vector-Jacobian product, in ordinary reverse mode."""
    with torch.enable_grad():
        y = x.detach().requires_grad_()
        value = net(torch.zeros(()), y)
        (pulled,) = torch.autograd.grad(value, y, probe, create_graph=keep_graph)
    return value, (pulled * probe).sum(-1)


def _equal_width(net: nn.Module, dim: int) -> int:
    """Of an ordinary MLP with as many parameters: w^2 + (2 d + 3) w + d of them at width w."""
    count = sum(p.numel() for p in net.parameters())
    half = (2 * dim + 3) / 2
    return round(math.sqrt(half**2 + count - dim) - half)


DIAGONAL = Table(
    name="diagonal",
    title="The diagonal of the Jacobian by other ways, against dimwise",
    notes=(
        f"{NET} {TERMS}",
        "Time of the other way as a multiple of dimwise(order=1) on the hollow network, which "
        "gives the value too.",
        "vmap(jacrev), vmap(jacfwd): of torch.func, the whole batch at once, which takes "
        f"gigabytes; chunks: {_CHUNK} samples at a time. MLP 2x256: an ordinary network of equal "
        "width. Detached graph: reverse mode through the transformer with h held fixed, the "
        "engine of Chen and Duvenaud (2019).",
    ),
    keys=("d",),
    quantity="multiples of dimwise(order=1)",
    rows=_diagonal,
    bars=True,
)

DIVERGENCE = Table(
    name="divergence",
    title="Value and exact divergence, against one-probe Hutchinson",
    notes=(
        f"{NET} {TERMS}",
        "Time of the exact divergence divided by that of the other way: below 1 the exact one is "
        "faster, and it has no variance.",
        "Hutchinson: one vector-Jacobian product with a probe drawn beforehand; on the same "
        "network by naive autograd, on the same in blocks, on an ordinary MLP with two hidden "
        "layers and as many parameters, on one of equal width. Against ordinary MLPs the hollow "
        "network, which does more work for its value alone, loses in many dimensions.",
    ),
    keys=("pass", "d"),
    quantity="exact / other",
    rows=_divergence,
)
