"""Uncertainty: an ensemble fitted to bootstrap resamples of the paths."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from hollowpde.data import Pairs, Windows
from hollowpde.errors import InputError
from hollowpde.problem.sde.coefficient_fit import Batches, CoefficientFit
from hollowpde.problem.sde.coefficients import Coefficients
from hollowpde.problem.sde.rows import always, mean_over, take, transitions
from hollowpde.problem.stacked import losses_and_gradients
from hollowpde.problem.stage import (
    LBFGS,
    Adam,
    Group,
    SideBySide,
    Stage,
    Together,
    derived_seed,
)

log = logging.getLogger(__name__)

# Transitions in a step, times dimensions, up to which members are cheaper at once: with networks,
# and for formulas of a few operations. Measured with 16 members: 1.4 to 3 times as fast below,
# hardly faster at twice as many, slower at ten times.
_FEW = 512
_FEW_FOR_FORMULAS = 2048
# The largest relative difference of losses and gradients that is rounding.
_SAME = 1e-4
# Evaluations by which the cost is measured before it is spent.
_TRIALS = 3


@dataclass(frozen=True)
class Bootstrap:
    """How uncertain the fit is: members fitted anew to resampled paths.

    Each member also chooses its diffusion anew, on resampled held-out paths: so that the choice,
    which is uncertain too, does not make bands narrower than they should be.

    Where steps are small (up to 512 transitions times dimensions, 2048 without networks) members
    are trained at once on stacked parameters, each with an optimiser and an end of its own.

    Arguments:
        members: how many; 0 leaves it out, 16 give sensible bands.
        processes: in how many processes at a time, where steps are larger. A script that asks for
            more than one must have its code under `if __name__ == "__main__":`, as all that start
            processes.
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

    def stages(self) -> Iterator[Group]:
        model, setting = self.fit.model, self.setting
        if not setting.members:
            return
        generator = torch.Generator().manual_seed(derived_seed(self.seed, "choices"))
        choices = self.fit.chosen_anew(generator, setting.members)
        for k in range(model.begun, setting.members):
            model.kinds[k] = choices[k] // model.ridges
            model.member(k).load_state_dict(model.pair(choices[k]).state_dict())
        stages = self._stages()
        groups = [
            Together([stages[k] for k in (model.kinds == kind).nonzero().flatten()], self._losses)
            for kind in model.kinds.unique()
        ]
        if self._few and all(map(_agree, groups)):
            self._announce(sum(_seconds(partial(_at_once, g)) for g in groups), "at once")
            yield from groups
        else:
            n = setting.processes
            how = f"in {n} processes" if n > 1 else "one by one"
            self._announce(len(stages) * _seconds(partial(_alone, stages[0])), how)
            yield SideBySide(stages, n)

    def _stages(self) -> list[Stage]:
        fit, members = self.fit, range(self.setting.members)
        drawn = [resampled(fit.train, derived_seed(self.seed, f"bootstrap {k}")) for k in members]
        most = max(len(rows.unique()) for rows in drawn)
        return [
            Stage(
                name=f"member {k + 1} of {self.setting.members}",
                module=fit.model.member(k),
                batches=always(counted(fit.train, rows, most))
                if fit.whole
                else partial(_once, fit.in_batches(fit.setting.late_batch, rows)),
                losses=partial(self._losses_of, k),
                validate=partial(self._validate, k),
                # The last weights, whatever they validate to: the best would favour the start.
                tie=math.inf,
                optimiser=self.setting.whole if fit.whole else self.setting.optimiser,
                stop=fit.setting.stop,
            )
            for k, rows in enumerate(drawn)
        ]

    def _losses_of(self, k: int, batch: Drawn, progress: float) -> Mapping[str, Tensor]:
        return self._losses(self.fit.model.member(k), batch)

    def _losses(self, member: Coefficients, batch: Drawn) -> Mapping[str, Tensor]:
        fit = self.fit
        return fit.losses(int(fit.model.chosen), member, fit.likelihood, batch.rows, batch.counts)

    def _validate(self, k: int) -> float:
        fit, pair = self.fit, self.fit.model.member(k)
        return mean_over(lambda part: fit.nll(pair, fit.likelihood, part), fit.validation)

    @property
    def _few(self) -> bool:
        """Whether a step takes so little that members are cheaper at once."""
        fit = self.fit
        if fit.further is not None:
            return False  # equations that are weighed by one pair of coefficients
        taken = transitions(fit.train) if fit.whole else fit.setting.late_batch
        limit = _FEW if fit.model.best.weights else _FEW_FOR_FORMULAS
        return taken * fit.train.x.shape[-1] <= limit

    def _announce(self, each: float, how: str) -> None:
        """Say what it will cost, by the time of one evaluation for all members."""
        setting = self.setting
        if self.fit.whole:
            steps = setting.whole.steps * (setting.whole.iterations + 1)
        else:
            steps = setting.optimiser.steps
        log.info(
            "uncertainty: %d members of %d steps each, about %.0f s in all, %s",
            setting.members, steps, each * steps, how,
        )  # fmt: skip


class Drawn(NamedTuple):
    """Rows, and how often each was drawn."""

    rows: Pairs | Windows
    counts: Tensor  # (n,)


def counted(rows: Pairs | Windows, drawn: Tensor, most: int) -> Drawn:
    """Each of the rows drawn once with its count, and so many that others can be stacked on it."""
    index, counts = drawn.unique(return_counts=True)
    filled = index.new_full((most - len(index),), int(index[0]))
    return Drawn(
        take(rows, torch.cat([index, filled])),
        torch.cat([counts, torch.zeros_like(filled)]).to(rows.x.dtype),
    )


def _once(batches: Batches, generator: torch.Generator, progress: float) -> Drawn:
    """A batch whose rows count as they come."""
    rows = batches(generator, progress)
    return Drawn(rows, torch.ones_like(rows.x[:, 0]))


def _first_batch(stage: Stage) -> Drawn:
    batch: Drawn = stage.batches(torch.Generator().manual_seed(0), 0.0)
    return batch


def _alone(stage: Stage) -> tuple[Mapping[str, Tensor], Sequence[Tensor]]:
    """Losses of a member's first step, and the gradient of their sum."""
    losses = stage.losses(_first_batch(stage), 0.0)
    trained = [p for p in stage.module.parameters() if p.requires_grad]
    total = torch.stack(list(losses.values())).sum()
    return losses, torch.autograd.grad(total, trained, materialize_grads=True)


def _at_once(group: Together) -> list[tuple[dict[str, Tensor], list[Tensor]]]:
    """The same of all members."""
    batches = [_first_batch(stage) for stage in group.stages]
    return losses_and_gradients(group.losses, [s.module for s in group.stages], batches)


def _agree(group: Together) -> bool:
    """Whether at once comes what comes one by one: a module of the user's may not allow it."""
    try:
        together = _at_once(group)
    except Exception as error:  # whatever the user's own module raises
        log.info(
            "uncertainty: not all members at once, since the losses do not allow it: %s", error
        )
        return False
    for stage, (losses, gradients) in zip(group.stages, together, strict=True):
        expected, slopes = _alone(stage)
        pairs = [(losses[name], value) for name, value in expected.items()]
        pairs += zip(gradients, slopes, strict=True)
        if not all(_same(a, b) for a, b in pairs):
            log.info(
                "uncertainty: not all members at once, since it changes their losses: rows of a "
                "batch may depend on each other, or a module on what it was called with before."
            )
            return False
    return True


def _same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors differ by no more than rounding, of their largest entries or of one."""
    size = max(1.0, float(b.detach().abs().max()))
    return float((a - b).detach().abs().max()) <= _SAME * size


def _seconds(evaluate: Callable[[], object]) -> float:
    """Of an evaluation, by a few of them; they change nothing."""
    start = time.perf_counter()
    for _ in range(_TRIALS):
        evaluate()
    return (time.perf_counter() - start) / _TRIALS


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
