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
        conditioner=MaskedMLP(hidden=(48, 48), features=4),
        transformer=AffineGate(gates=1, own=4),
    )


_NETS: Mapping[str, Callable[[int], nn.Module]] = {
    "MLP 2x256": lambda dim: Ordinary(dim, 256),
    "hollow": hollow,
    "hollow, default": HollowNet,
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
    for target in (_wells, _couplings):
        for dim in budget.up_to(16, 64, 512):
            errors = {n: _error(make, target, dim, budget.steps) for n, make in _NETS.items()}
            yield {
                "target": target.__name__.strip("_"),
                "d": dim,
                **errors,
                "steps": budget.steps,
            }


def _wells(x: Tensor) -> Tensor:
    """A ring of linearly coupled wells in a common field."""
    return x - x**3 + (x.roll(1, -1) + x.roll(-1, -1) - 2 * x) / 2 + _field(x)


def _couplings(x: Tensor) -> Tensor:
    """A ring whose couplings saturate, in a common field."""
    return x.roll(1, -1).tanh() - x.roll(-1, -1).tanh() - x + _field(x)


def _field(x: Tensor) -> Tensor:
    return torch.tanh(x.sum(-1, keepdim=True) / x.shape[-1] ** 0.5)


def _error(
    make: Callable[[int], nn.Module], target: Callable[[Tensor], Tensor], dim: int, steps: int
) -> float:
    """The root mean square error on new points, relative to the target."""
    torch.manual_seed(0)
    net, t = make(dim), torch.zeros(())
    optimiser = torch.optim.Adam(net.parameters(), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1e-2, total_steps=steps)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x = torch.randn(BATCH, dim, generator=generator)
        optimiser.zero_grad()
        (net(t, x) - target(x)).square().mean().backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        x = torch.randn(4096, dim, generator=generator)
        y = target(x)
        return float(((net(t, x) - y).square().mean() / y.square().mean()).sqrt())


_NAMES = (
    "MLP 2x256: ordinary. Hollow: MaskedMLP 2x256 with 16 features, SharedMLP 2x32. Default: "
    "MaskedMLP 2x64, the rest the same. "
    "Slim: MaskedMLP 2x64 with 4 features, SharedMLP 2x24. "
    "Light: MaskedMLP 2x48 with 4 features, AffineGate with 1 gate and 4 units of its own."
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
        "On a ring, x standard normal. Wells: f_i = x_i - x_i^3 + (x_(i-1) + x_(i+1) - 2 x_i) / 2 "
        "+ tanh(sum_j x_j / sqrt d). Couplings: f_i = tanh x_(i-1) - tanh x_(i+1) - x_i "
        "+ the same.",
        f"Adam, one cycle up to a rate of 0.01, batch {BATCH}, one seed.",
    ),
    keys=("target", "d"),
    quantity="relative error",
    rows=_fit,
    bars=True,
    log=False,
)
