"""Training, which may be broken off after any epoch and gone on with as if it had not been."""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from torch import Tensor, nn

from hollowpde.bench.vae.images import Split
from hollowpde.bench.vae.images.split import binarised
from hollowpde.bench.vae.judge import bound
from hollowpde.bench.vae.model import build
from hollowpde.bench.vae.settings import Settings
from hollowpde.errors import TrainingError


class Training:
    """An autoencoder in training.

    Batches, binary images and the noise of codes are the same for every posterior of a seed; what
    else is random, the probes, comes from elsewhere.

    Arguments:
        kind: of the posterior.
        data: its parts.
        settings: of the training.
        seed: of weights and all that is random.
        device: a torch device.
    """

    def __init__(
        self, kind: str, data: Split, settings: Settings, seed: int, device: str = "cpu"
    ) -> None:
        self.settings, self.device = settings, torch.device(device)
        self.train = data.train
        self.validation = data.validation[: settings.validated].to(self.device)
        self.vae = build(kind, seed).to(self.device)
        self.optimiser = torch.optim.Adam(self.vae.parameters(), settings.rate, fused=True)
        self.common = torch.Generator().manual_seed(seed)
        self.own = torch.Generator(self.device).manual_seed(seed)
        #: Seconds of training, without looks (of the processor's time where that trains, which
        #: other work does not disturb), and -ELBO of validation images, after each epoch.
        self.seconds: list[float] = []
        self.bounds: list[float] = []
        #: The weights after the epoch of the least of these.
        self.best: dict[str, Tensor] = {}

    @property
    def epochs(self) -> int:
        """Those that are over."""
        return len(self.bounds)

    def epoch(self) -> None:
        """Train for one more, and look at the validation images.

        Raises:
            TrainingError: a loss that is not finite.
        """
        clock = time.process_time if self.device.type == "cpu" else time.perf_counter
        start = clock()
        order = torch.randperm(len(self.train), generator=self.common)[: self.settings.images]
        # A last batch that is smaller than the others is left out, unless it is the only one.
        batches = order.split(self.settings.batch)
        if len(batches) > 1 and len(batches[-1]) < self.settings.batch:
            batches = batches[:-1]
        rise = self.settings.warmup * self.settings.epochs
        for number, batch in enumerate(batches):
            over = self.epochs + (number + 1) / len(batches)
            self._step(batch, min(1.0, over / rise) if rise else 1.0)
        spent = clock() - start + (self.seconds[-1] if self.seconds else 0.0)
        value = bound(self.vae, self.validation)
        if not math.isfinite(value):
            raise TrainingError(f"the bound is {value} after {self.epochs + 1} epochs.")
        if not self.bounds or value < min(self.bounds):
            self.best = {k: v.detach().clone() for k, v in self.vae.state_dict().items()}
        self.seconds.append(round(spent, 3))
        self.bounds.append(value)

    def _step(self, batch: Tensor, beta: float) -> None:
        x = binarised(self.train[batch], self.common).to(self.device)
        noise = torch.randn(len(x), self.vae.posterior.dim, generator=self.common).to(x)
        self.optimiser.zero_grad()
        (-self.vae.terms(x, noise, self.own).weight(beta).mean()).backward()
        norm = nn.utils.clip_grad_norm_(self.vae.parameters(), self.settings.clip)
        if not math.isfinite(float(norm)):
            raise TrainingError(f"a gradient is {float(norm)} in epoch {self.epochs + 1}.")
        self.optimiser.step()

    def state(self) -> dict[str, Any]:
        """All that it takes to go on, or, when it is over, to use the result."""
        state: dict[str, Any] = {
            "settings": str(self.settings),
            "seconds": self.seconds,
            "bounds": self.bounds,
            "best": self.best,
        }
        if self.epochs < self.settings.epochs:
            state |= {
                "weights": self.vae.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "common": self.common.get_state(),
                "own": self.own.get_state(),
            }
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.seconds, self.bounds = list(state["seconds"]), list(state["bounds"])
        self.best = state["best"]
        if "weights" in state:
            self.vae.load_state_dict(state["weights"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.common.set_state(state["common"].cpu())
            self.own.set_state(state["own"].cpu())
