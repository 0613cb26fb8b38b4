"""A plain network: what one would write without the library."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from rich.console import Console
from torch import Tensor, nn

from hollowpde.bench.sde.cases import Estimate, Task
from hollowpde.data import Pairs, Trajectories
from hollowpde.problem import Adam, EarlyStop, Stage
from hollowpde.training import Progress, Trainer

_WIDTH = 64
_STEPS = 4000
_RATES = (3e-3, 1e-2)
_BATCH, _LATE_BATCH = 512, 4096


class PlainSDE(nn.Module):
    """Drift and log D, one ordinary network each, of standardised x."""

    shift: Tensor
    scale: Tensor
    level: Tensor

    def __init__(self, shift: Tensor, scale: Tensor, level: Tensor) -> None:
        super().__init__()
        self.register_buffer("shift", shift)
        self.register_buffer("scale", scale)
        self.register_buffer("level", level)
        self.f, self.log_d = _mlp(len(shift)), _mlp(len(shift))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Drift and squared diffusion; where the networks are zero D is `level`."""
        z = (x - self.shift) / self.scale
        return self.level.sqrt() * self.f(z), self.level * self.log_d(z).exp()


def plain_mlp(task: Task, steps: int | None) -> Estimate:
    """Euler-Maruyama likelihood by Adam, as ours is optimised; the rate by held-out likelihood."""
    fits = [_fit(task, rate, _STEPS if steps is None else steps) for rate in _RATES]
    net = min(fits, key=lambda fit: fit[0])[1]

    def field(k: int, x: Tensor) -> Tensor:
        return net(x.float())[k].detach().to(x)

    return Estimate(lambda t, x: field(0, x), lambda t, x: field(1, x))


def _fit(task: Task, rate: float, steps: int) -> tuple[float, PlainSDE]:
    """The held-out value that was reached, and the network."""
    train, validation = (_float(part) for part in task.split[:2])
    level = (train.x_next - train.x).square().mean(0) / train.step.mean()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(task.seed)
        net = PlainSDE(train.x.mean(0), train.x.std(0), level)

    def losses(batch: Pairs, progress: float) -> Mapping[str, Tensor]:
        return {"transition": _nll(net, batch)}

    def draw(generator: torch.Generator, progress: float) -> Pairs:
        size = _BATCH if progress < 2 / 3 else _LATE_BATCH
        rows = torch.randint(len(train.t), (min(size, len(train.t)),), generator=generator)
        return Pairs(*(column[rows] for column in train))

    @torch.no_grad()
    def validate() -> float:
        return float(_nll(net, validation))

    stage = Stage(
        name="plain network",
        module=net,
        batches=draw,
        losses=losses,
        validate=validate,
        tie=1 / len(validation.t),
        optimiser=Adam(steps=steps, lr=rate),
        stop=EarlyStop(),
    )
    quiet = Progress(Console(quiet=True), lambda sentence: None)
    Trainer(net, task.seed, lambda state: None, quiet).run([stage])
    return validate(), net


def _nll(net: PlainSDE, rows: Pairs) -> Tensor:
    drift, diffusion = net(rows.x)
    h = rows.step.unsqueeze(1)
    variance = h * diffusion
    z2 = (rows.x_next - rows.x - h * drift).square() / variance
    return 0.5 * (z2 + variance.log() + math.log(2 * math.pi)).sum(1).mean()


def _mlp(dim: int) -> nn.Sequential:
    last = nn.Linear(_WIDTH, dim)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(
        nn.Linear(dim, _WIDTH), nn.SiLU(), nn.Linear(_WIDTH, _WIDTH), nn.SiLU(), last
    )


def _float(data: Trajectories) -> Pairs:
    pairs = data.pairs()
    return Pairs(pairs.t, pairs.x.float(), pairs.step.float(), pairs.x_next.float(), pairs.path)
