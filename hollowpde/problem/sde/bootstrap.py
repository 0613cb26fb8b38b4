"""Uncertainty: an ensemble fitted to bootstrap resamples of the paths."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from hollowpde.data import Pairs, Windows
from hollowpde.errors import InputError
from hollowpde.problem.sde.coefficient_fit import CoefficientFit
from hollowpde.problem.sde.rows import mean_over
from hollowpde.problem.stage import LBFGS, Adam, SideBySide, Stage, derived_seed

log = logging.getLogger(__name__)

# Steps by which the cost is measured before it is spent.
_TRIAL_STEPS = 3


@dataclass(frozen=True)
class Bootstrap:
    """How uncertain the fit is: members fitted anew to resampled paths.

    Each member also chooses its diffusion anew, on resampled held-out paths: so that the choice,
    which is uncertain too, does not make bands narrower than they should be.

    Arguments:
        members: how many; 0 leaves it out, 16 give sensible bands.
        processes: in how many processes at a time. A script that asks for more than one must
            have its code under `if __name__ == "__main__":`, as all that start processes.
        whole: of each, where there are few enough pairs to take all at once.
        optimiser: of each, where there are more.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap (1993).
    """

    members: int = 0
    processes: int = 1
    whole: LBFGS = LBFGS(steps=8)
    optimiser: Adam = Adam(steps=800, lr=5e-3)

    def __post_init__(self) -> None:
        if self.members < 0 or self.members == 1:
            raise InputError(f"members must be 0, or at least 2, but is {self.members}.")
        if self.processes < 1:
            raise InputError(f"processes must be at least 1, but is {self.processes}.")


class EnsembleFit:
    """The stages that fit the members."""

    def __init__(self, setting: Bootstrap, fit: CoefficientFit, seed: int) -> None:
        self.setting, self.fit, self.seed = setting, fit, seed

    def stages(self) -> Iterator[Stage | SideBySide]:
        model, setting = self.fit.model, self.setting
        if not setting.members:
            return
        generator = torch.Generator().manual_seed(derived_seed(self.seed, "choices"))
        choices = self.fit.chosen_anew(generator, setting.members)
        for k in range(model.begun, setting.members):
            model.kinds[k] = choices[k] // model.ridges
            model.member(k).load_state_dict(model.pair(choices[k]).state_dict())
        stages = [self._stage(k) for k in range(setting.members)]
        self._announce(stages[0])
        yield SideBySide(stages, setting.processes)

    def _stage(self, k: int) -> Stage:
        fit = self.fit
        rows = resampled(fit.train, derived_seed(self.seed, f"bootstrap {k}"))
        return Stage(
            name=f"member {k + 1} of {self.setting.members}",
            module=fit.model.member(k),
            batches=fit.batches(rows),
            losses=partial(self._losses, k),
            validate=partial(self._validate, k),
            # The last weights, whatever they validate to: the best of all would favour the start.
            tie=math.inf,
            optimiser=self.setting.whole if fit.whole else self.setting.optimiser,
            stop=fit.setting.stop,
        )

    def _losses(self, k: int, batch: Pairs | Windows, progress: float) -> Mapping[str, Tensor]:
        fit = self.fit
        return fit.losses(int(fit.model.chosen), fit.model.member(k), fit.likelihood, batch)

    def _validate(self, k: int) -> float:
        fit, pair = self.fit, self.fit.model.member(k)
        return mean_over(lambda part: fit.nll(pair, fit.likelihood, part), fit.validation)

    def _announce(self, stage: Stage) -> None:
        """Say what it will cost, by the time of a few steps that change nothing."""
        generator = torch.Generator().manual_seed(0)
        start = time.perf_counter()
        for k in range(_TRIAL_STEPS):
            progress = k / _TRIAL_STEPS
            losses = stage.losses(stage.batches(generator, progress), progress)
            torch.autograd.grad(
                torch.stack(list(losses.values())).sum(),
                [p for p in stage.module.parameters() if p.requires_grad],
                allow_unused=True,
            )
        each = (time.perf_counter() - start) / _TRIAL_STEPS
        members, processes = self.setting.members, self.setting.processes
        if isinstance(stage.optimiser, LBFGS):
            steps = stage.optimiser.steps * (stage.optimiser.iterations + 1)
        else:
            steps = stage.optimiser.steps
        log.info(
            "uncertainty: %d members of %d steps each, about %.0f s%s",
            members, steps, each * members * steps,
            f" in all, in {processes} processes" if processes > 1 else "",
        )  # fmt: skip


def resampled(pairs: Pairs | Windows, seed: int) -> Tensor:
    """The rows of as many paths as there are, drawn with replacement.

    >>> path = torch.tensor([0, 0, 1, 2])
    >>> pairs = hp.data.Pairs(*[torch.zeros(4)] * 4, path)
    >>> sorted(set(resampled(pairs, 0).tolist())) != [0, 1, 2, 3]
    True
    """
    _, label, length = pairs.path.unique_consecutive(return_inverse=True, return_counts=True)
    n = len(length)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(n, (n,), generator=generator).to(length.device)
    # A row for each time its path was drawn.
    times = torch.bincount(drawn, minlength=n)[label]
    return torch.arange(len(label), device=label.device).repeat_interleave(times)
