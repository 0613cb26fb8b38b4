"""How drift and diffusion are fitted: a first look, the likelihood it asks for, the diffusion."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from hollowpde.data import Pairs, Windows
from hollowpde.errors import InputError
from hollowpde.likelihoods import (
    Closure,
    EulerMaruyama,
    Filtered,
    MomentClosure,
    TransitionLikelihood,
)
from hollowpde.problem.sde.choice import Ladder, compare, ladder
from hollowpde.problem.sde.coefficients import Coefficients
from hollowpde.problem.sde.matching import WeakCriterion
from hollowpde.problem.sde.model import SDEModel
from hollowpde.problem.sde.rows import (
    always,
    batches,
    by_path,
    each,
    few_nats,
    first_pairs,
    mean_over,
    standard_error,
    transitions,
)
from hollowpde.problem.stage import LBFGS, Adam, EarlyStop, Stage

log = logging.getLogger(__name__)

Batches: TypeAlias = Callable[[torch.Generator, float], Pairs | Windows]


@dataclass(frozen=True)
class TransitionFit:
    r"""How drift and diffusion are fitted: by the likelihood of the transitions, and a ridge.

    $$ -\frac1N \sum_n \log p(x_{n+1} \mid x_n) + \frac{\lambda}{2N} |w|^2 $$

    with w the weights of the networks; what is linear, constant or the user's own is free. The
    ridge is chosen on held-out paths.

    Arguments:
        likelihood: of the transitions; None chooses one after a first look.
        first: the first look, by Euler-Maruyama and then by a coarse likelihood.
        whole: of up to `whole_pairs` pairs, all at once.
        optimiser: of more pairs, in batches, with the smallest ridge; half of the steps for each
            further candidate of the diffusion.
        ridge: values of lambda to try, from the largest down, each from where the last one ended.
        whole_pairs: how many are taken all at once.
        batch, late_batch: pairs in a batch, and in the last third of the steps.
        stop: see `EarlyStop`; L-BFGS validates at every step.
    """

    likelihood: TransitionLikelihood | None = None
    first: Adam = Adam(steps=1200, lr=1e-2)
    whole: LBFGS = LBFGS(steps=10)
    optimiser: Adam = Adam(steps=1600, lr=5e-3)
    ridge: tuple[float, ...] = (3.0, 0.5, 0.1)
    whole_pairs: int = 20_000
    batch: int = 256
    late_batch: int = 2048
    stop: EarlyStop = EarlyStop()

    def __post_init__(self) -> None:
        if self.batch < 1 or self.late_batch < 1:
            raise InputError(
                "batch and late_batch must be at least 1, but are "
                f"{self.batch} and {self.late_batch}."
            )
        if not self.ridge or min(self.ridge) < 0:
            raise InputError(
                f"ridge must hold at least one value, none negative, but is {self.ridge}."
            )


class CoefficientFit:
    """The stages that fit drift and diffusion, and the choices between them.

    Data are pairs, or windows where observations have noise: then a filter goes along them.
    `further` are moment equations of snapshots, whose chi-square counts as they do: in nats.
    """

    def __init__(
        self,
        setting: TransitionFit,
        model: SDEModel,
        train: Pairs | Windows,
        validation: Pairs | Windows,
        further: WeakCriterion | None = None,
    ) -> None:
        self.setting, self.model = setting, model
        self.train, self.validation, self.further = train, validation, further
        given = setting.likelihood
        _ = self.ladder  # raises before anything is written
        if isinstance(given, Closure):
            given.known(self.train.x[:1])
        if self.filtered and not isinstance(given, MomentClosure | None):
            raise InputError(
                "likelihood must be hp.MomentClosure(...) or None where observations have noise, "
                f"but is a {type(given).__name__}."
            )

    @property
    def filtered(self) -> bool:
        """Whether observations have noise."""
        return isinstance(self.train, Windows)

    @property
    def ladder(self) -> Ladder:
        return ladder(self.model.place.noisy, self.filtered)

    @property
    def likelihood(self) -> TransitionLikelihood:
        """The one given, or else the one chosen."""
        return self.setting.likelihood or self.ladder.rungs[int(self.model.likelihood)]

    @property
    def whole(self) -> bool:
        """Few enough pairs to take all at once."""
        return transitions(self.train) <= self.setting.whole_pairs

    def ridge(self, k: int) -> float:
        """The ridge that a pair of coefficients is fitted with."""
        ridges = self.setting.ridge
        return ridges[k % self.model.ridges] if self.whole else ridges[-1]

    def stages(self) -> Iterator[Stage]:
        model = self.model
        # A filter is too slow for a look; it starts from the best linear drift.
        if self.setting.first.steps and not self.filtered:
            yield self._first_look()
        if self.setting.likelihood is None and int(model.likelihood) < 0:
            self._choose_likelihood()
        # A ridge is of no consequence where there are no networks, or data are plenty.
        ridges = model.ridges if self.whole and model.pair(0).weights else 1
        for k in range(ridges):
            yield self._started(k)
        ridge = self._best(range(ridges))
        others = range(model.ridges + ridge, len(model.coefficients), model.ridges)
        for k in others:
            yield self._started(k)
        if int(model.chosen) < 0:
            self._choose([ridge, *others])

    def _started(self, k: int) -> Stage:
        """The stage of a pair of coefficients, which gets its start unless it has it."""
        model, pair = self.model, self.model.pair(k)
        ridge = k % model.ridges
        if not pair.begun:
            if k == ridge:  # of the first diffusion: from the larger ridge before
                if k:
                    pair.load_state_dict(model.pair(k - 1).state_dict())
            else:
                pair.start_from_fit(model.pair(ridge), first_pairs(self.validation))
            pair.begun.fill_(True)
        kind = k // model.ridges
        self._weigh(pair, kind * (model.ridges + 1) + ridge)
        return self._stage(k)

    def _weigh(self, pair: Coefficients, k: int) -> None:
        """Weigh the moment equations by what a stage starts from, kept for one that is resumed."""
        if self.further is None:
            return
        anchor = self.model.anchor(k)
        if not anchor.begun:
            anchor.load_state_dict(pair.state_dict())
            anchor.begun.fill_(True)
        self.further.weigh(anchor.drift, anchor.diffusion)

    def losses(
        self,
        k: int,
        pair: Coefficients,
        likelihood: TransitionLikelihood,
        rows: Pairs | Windows,
        counts: Tensor | None = None,
    ) -> Mapping[str, Tensor]:
        """What is minimised, of a pair of coefficients with the k-th one's ridge.

        Rows count once, or `counts` times, `(n,)`.
        """
        strength = self.ridge(k) / (2 * len(self.train.t))
        losses = {"transition": self.nll(pair, likelihood, rows, counts)}
        if self.further is not None:
            nats = self.further.nats(pair.drift, pair.diffusion)
            losses["moments"] = nats / len(self.train.t)
        weights = pair.weights
        if weights and strength:
            losses["ridge"] = strength * torch.stack([w.square().sum() for w in weights]).sum()
        return losses

    def nll(
        self,
        pair: Coefficients,
        likelihood: TransitionLikelihood,
        rows: Pairs | Windows,
        counts: Tensor | None = None,
    ) -> Tensor:
        """The mean negative log-likelihood of transitions, or of windows of them."""
        log_prob = self.log_prob(pair, likelihood, rows)
        return -log_prob.mean() if counts is None else -(counts * log_prob).sum() / counts.sum()

    def log_prob(
        self, pair: Coefficients, likelihood: TransitionLikelihood, rows: Pairs | Windows
    ) -> Tensor:
        """The log density of each transition or window, in standardised units, `(n,)`."""
        if isinstance(rows, Pairs):
            return likelihood.log_prob(
                pair.drift, pair.diffusion, rows.t, rows.x, rows.step, rows.x_next
            )
        assert isinstance(likelihood, MomentClosure) and pair.noise is not None
        return Filtered(likelihood).log_prob(pair.drift, pair.diffusion, pair.noise.variance, rows)

    def _first_look(self) -> Stage:
        """The first candidate by Euler-Maruyama, whose bias a coarse likelihood then takes out."""
        pair = self.model.pair(0)
        self._weigh(pair, self.model.ridges)
        second = self.setting.likelihood or self.ladder.first
        # Where a dimension has no noise, Euler-Maruyama has no density.
        first = EulerMaruyama() if all(self.model.place.noisy) else second

        def losses(batch: Pairs | Windows, progress: float) -> Mapping[str, Tensor]:
            return self.losses(0, pair, first if progress < 0.5 else second, batch)

        return Stage(
            name="first look",
            module=pair,
            batches=self.in_batches(self.setting.batch),
            losses=losses,
            validate=self._validation(pair, second),
            tie=few_nats(self.validation),
            optimiser=self.setting.first,
            stop=self.setting.stop,
        )

    def _choose_likelihood(self) -> None:
        rungs, pair = self.ladder.rungs, self.model.pair(0)
        rows = first_pairs(self.validation)
        seen = compare(rungs, self.ladder.reference, pair.drift, pair.diffusion, rows)
        self.model.likelihood.fill_(seen.choice)
        log.info(seen.reason(rungs))

    def _stage(self, k: int) -> Stage:
        pair, likelihood, setting = self.model.pair(k), self.likelihood, self.setting
        kind = k // self.model.ridges
        diffusion = "" if kind == 0 else f", diffusion {kind + 1}"
        return Stage(
            name=f"drift and diffusion{diffusion}, ridge {self.ridge(k):g}",
            module=pair,
            batches=self.batches(),
            losses=lambda batch, progress: self.losses(k, pair, likelihood, batch),
            validate=self._validation(pair, likelihood),
            tie=few_nats(self.validation),
            optimiser=setting.whole if self.whole else _shorter(setting.optimiser, k > 0),
            stop=replace(setting.stop, every=1) if self.whole else setting.stop,
        )

    def batches(self) -> Batches:
        """All pairs, if there are few, or batches of them."""
        return always(self.train) if self.whole else self.in_batches(self.setting.late_batch)

    def in_batches(self, late: int, among: Tensor | None = None) -> Batches:
        """Batches of so many transitions, of which a window has several; see `batches`."""
        share = len(self.train.t) / transitions(self.train)
        first, late = (math.ceil(share * n) for n in (self.setting.batch, late))
        return batches(self.train, first, late, among)

    def _validation(
        self, pair: Coefficients, likelihood: TransitionLikelihood
    ) -> Callable[[], float]:
        return lambda: mean_over(lambda rows: self.nll(pair, likelihood, rows), self.validation)

    def _best(self, among: Iterable[int]) -> int:
        """The pair of coefficients with the least held-out NLL."""
        return min(among, key=lambda k: self._path_nll(self.model.pair(k)).mean())

    def _choose(self, among: Sequence[int]) -> None:
        """Choose the diffusion, by held-out NLL."""
        scores = {k: self._path_nll(self.model.pair(k)) for k in among}
        chosen = self._smallest_good(scores)
        self.model.chosen.fill_(chosen)
        log.info(
            "diffusion: candidate %d of %d, the smallest as good as any by held-out NLL (%s); "
            "ridge %g",
            chosen // self.model.ridges + 1, len(scores),
            ", ".join(f"{score.mean():.4f}" for score in scores.values()), self.ridge(chosen),
        )  # fmt: skip

    def chosen_anew(self, generator: torch.Generator, times: int) -> list[int]:
        """What would have been chosen, had held-out paths been others: by resampling them."""
        model = self.model
        among = range(int(model.chosen) % model.ridges, len(model.coefficients), model.ridges)
        scores = {k: self._path_nll(model.pair(k)) for k in among}
        n = len(next(iter(scores.values())))
        drawn = [torch.randint(n, (n,), generator=generator).numpy() for _ in range(times)]
        return [self._smallest_good({k: s[rows] for k, s in scores.items()}) for rows in drawn]

    def _smallest_good(self, scores: Mapping[int, np.ndarray]) -> int:
        """The smallest model within one standard error of the best, over held-out paths.

        As in Breiman et al., Classification and Regression Trees (1984); a few nats over all
        pairs are no evidence either.
        """
        best = min(scores.values(), key=np.mean)
        few = few_nats(self.validation)
        good = [
            k
            for k, score in scores.items()
            if score.mean() - best.mean() <= max(few, standard_error(score - best))
        ]
        return min(good, key=lambda k: self.model.pair(k).size)

    def _path_nll(self, pair: Coefficients) -> np.ndarray:
        return -by_path(self.log_probs(pair, self.validation), self.validation.path)

    def log_probs(self, pair: Coefficients, rows: Pairs | Windows) -> Tensor:
        """`log_prob` by the likelihood of the fit, in parts that fit into memory."""
        return each(lambda part: self.log_prob(pair, self.likelihood, part), rows)


def _shorter(optimiser: Adam, half: bool) -> Adam:
    return replace(optimiser, steps=optimiser.steps // 2) if half else optimiser
