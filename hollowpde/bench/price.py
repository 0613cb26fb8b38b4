"""The price of hollowness: a hollow network against an ordinary one, and how well both fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from hollowpde.bench.subjects import BATCH, TERMS, Ordinary, hollow, points, task
from hollowpde.bench.tables import Budget, Row, Table
from hollowpde.bench.timing import Ratio
from hollowpde.nets import AffineGate, HollowNet, MaskedMLP, SharedMLP


def _slim(dim: int) -> HollowNet:
    return HollowNet(
        dim,
        conditioner=MaskedMLP(hidden=(64, 64), features=4),
        transformer=SharedMLP(hidden=(24, 24)),
    )


def _light(dim: int) -> HollowNet:
    return HollowNet(
        dim,
        conditioner=MaskedMLP(hidden=(64, 64), features=4),
        transformer=AffineGate(gates=1, own=8),
    )


_NETS: Mapping[str, Callable[[int], nn.Module]] = {
    "MLP 2x256": lambda dim: Ordinary(dim, 256),
    "hollow": hollow,
    "hollow, slim": _slim,
    "hollow, light": _light,
}


def _price(budget: Budget) -> Iterator[Row]:
    for training in (False, True):
        for dim in budget.up_to(16, 64, 512):
            x, t = points(dim), torch.zeros(())
            nets = [make(dim) for make in _NETS.values()]
            ordinary, *hollows = budget.time(
                task(net, partial(_value, net, t, x), training) for net in nets
            )
            yield {
                "pass": "training" if training else "forward",
                "d": dim,
                **{
                    name: Ratio.of(y, ordinary)
                    for name, y in zip(list(_NETS)[1:], hollows, strict=True)
                },
            }


def _value(net: nn.Module, t: Tensor, x: Tensor) -> list[Tensor]:
    return [net(t, x)]


def _fit(budget: Budget) -> Iterator[Row]:
    for dim in budget.up_to(16, 64):
        yield {
            "d": dim,
            **{name: _error(make, dim, budget.steps) for name, make in _NETS.items()},
            "steps": budget.steps,
        }


def _target(x: Tensor) -> Tensor:
    """A ring of coupled wells in a common field."""
    coupling = (x.roll(1, -1) + x.roll(-1, -1) - 2 * x) / 2
    return x - x**3 + coupling + torch.tanh(x.sum(-1, keepdim=True) / x.shape[-1] ** 0.5)


def _error(make: Callable[[int], nn.Module], dim: int, steps: int) -> float:
    """The root mean square error on new points, relative to the target."""
    torch.manual_seed(0)
    net, t = make(dim), torch.zeros(())
    optimiser = torch.optim.Adam(net.parameters(), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1e-2, total_steps=steps)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x = torch.randn(BATCH, dim, generator=generator)
        optimiser.zero_grad()
        (net(t, x) - _target(x)).square().mean().backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        x = torch.randn(4096, dim, generator=generator)
        y = _target(x)
        return float(((net(t, x) - y).square().mean() / y.square().mean()).sqrt())


_NAMES = (
    "MLP 2x256: ordinary. Hollow: MaskedMLP 2x256 with 16 features, SharedMLP 2x32. "
    "Slim: MaskedMLP 2x64 with 4 features, SharedMLP 2x24. "
    "Light: MaskedMLP 2x64 with 4 features, AffineGate with 1 gate and 8 units of its own."
)

PRICE = Table(
    name="price",
    title="The value alone: hollow networks against an ordinary MLP",
    notes=(
        f"{_NAMES} {TERMS}",
        "As multiples of the ordinary MLP; derivatives are not asked for.",
    ),
    keys=("pass", "d"),
    quantity="multiples of an ordinary MLP",
    rows=_price,
    log=False,
    bars=True,
)

FIT = Table(
    name="fit",
    title="How well the same networks fit",
    notes=(
        f"{_NAMES} Root mean square error relative to the target, on 4096 new points.",
        "Target f_i = x_i - x_i^3 + (x_(i-1) + x_(i+1) - 2 x_i) / 2 + tanh(sum_j x_j / sqrt d) on "
        f"a ring, x standard normal. Adam, one cycle up to a rate of 0.01, batch {BATCH}.",
    ),
    keys=("d",),
    quantity="relative error",
    rows=_fit,
    bars=True,
    log=False,
)
