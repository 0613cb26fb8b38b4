"""How drift and diffusion are fitted: a first look, the likelihood it asks for, the diffusion."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from hollowpde.data import Pairs
from hollowpde.errors import InputError
from hollowpde.likelihoods import EulerMaruyama, TransitionLikelihood
from hollowpde.problem.sde.choice import Ladder, compare, ladder
from hollowpde.problem.sde.model import Coefficients, SDEModel
from hollowpde.problem.sde.rows import batches, by_path, each, few_nats, mean_over, standard_error
from hollowpde.problem.stage import Adam, EarlyStop, Stage

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TransitionFit:
    """How drift and diffusion are fitted.

    Arguments:
        likelihood: of the transitions; None chooses one after a first look.
        first: the first look, by Euler-Maruyama and then by a coarse likelihood.
        optimiser: of drift and diffusion by the likelihood chosen.
        again: of each further candidate of the diffusion, from the drift found so far.
        batch, late_batch: pairs in a batch, and in the last third of the steps.
        stop: see `EarlyStop`.
    """

    likelihood: TransitionLikelihood | None = None
    first: Adam = Adam(steps=1500, lr=1e-2)
    optimiser: Adam = Adam(steps=1500, lr=5e-3)
    again: Adam = Adam(steps=700, lr=5e-3)
    batch: int = 256
    late_batch: int = 2048
    stop: EarlyStop = EarlyStop()

    def __post_init__(self) -> None:
        if self.batch < 1 or self.late_batch < 1:
            raise InputError(
                "batch and late_batch must be at least 1, but are "
                f"{self.batch} and {self.late_batch}."
            )


class CoefficientFit:
    """The stages that fit drift and diffusion, and the choices between them."""

    def __init__(
        self, setting: TransitionFit, model: SDEModel, train: Pairs, validation: Pairs
    ) -> None:
        self.setting, self.model = setting, model
        self.train, self.validation = train, validation

    @property
    def ladder(self) -> Ladder:
        return ladder(self.model.place.noisy)

    @property
    def likelihood(self) -> TransitionLikelihood:
        """The one given, or else the one chosen."""
        return self.setting.likelihood or self.ladder.rungs[int(self.model.likelihood)]

    def stages(self) -> Iterator[Stage]:
        model = self.model
        if self.setting.first.steps:
            yield self._first_look()
        if self.setting.likelihood is None and int(model.likelihood) < 0:
            self._choose_likelihood()
        for k in range(len(model.coefficients)):
            if int(model.begun) <= k:
                model.pair(k).start_from_fit(model.pair(0), self.validation)
                model.begun.fill_(k + 1)
            yield self._stage(k)
        if int(model.chosen) < 0:
            self._choose_diffusion()

    def nll(self, pair: Coefficients, likelihood: TransitionLikelihood, rows: Pairs) -> Tensor:
        """The mean negative log-likelihood of transitions."""
        return -self.log_prob(pair, likelihood, rows).mean()

    def log_prob(
        self, pair: Coefficients, likelihood: TransitionLikelihood, rows: Pairs
    ) -> Tensor:
        """The log density of each transition, in standardised units, `(n,)`."""
        return likelihood.log_prob(
            pair.drift, pair.diffusion, rows.t, rows.x, rows.step, rows.x_next
        )

    def _first_look(self) -> Stage:
        """The first candidate by Euler-Maruyama, whose bias a coarse likelihood then takes out."""
        pair = self.model.pair(0)
        second = self.setting.likelihood or self.ladder.first
        # Where a dimension has no noise, Euler-Maruyama has no density.
        first = EulerMaruyama() if all(self.model.place.noisy) else second

        def losses(batch: Pairs, progress: float) -> Mapping[str, Tensor]:
            return {"transition": self.nll(pair, first if progress < 0.5 else second, batch)}

        return Stage(
            name="first look",
            module=pair,
            batches=batches(self.train, self.setting.batch, self.setting.batch),
            losses=losses,
            validate=self._validation(pair, second),
            tie=few_nats(self.validation),
            optimiser=self.setting.first,
            stop=self.setting.stop,
        )

    def _choose_likelihood(self) -> None:
        rungs, pair = self.ladder.rungs, self.model.pair(0)
        seen = compare(rungs, self.ladder.reference, pair.drift, pair.diffusion, self.validation)
        self.model.likelihood.fill_(seen.choice)
        log.info(seen.reason(rungs))

    def _stage(self, k: int) -> Stage:
        pair, likelihood = self.model.pair(k), self.likelihood
        setting = self.setting
        return Stage(
            name="drift and diffusion" if k == 0 else f"drift and diffusion, candidate {k + 1}",
            module=pair,
            batches=batches(self.train, setting.batch, setting.late_batch),
            losses=lambda batch, progress: {"transition": self.nll(pair, likelihood, batch)},
            validate=self._validation(pair, likelihood),
            tie=few_nats(self.validation),
            optimiser=setting.again if k else setting.optimiser,
            stop=setting.stop,
        )

    def _validation(
        self, pair: Coefficients, likelihood: TransitionLikelihood
    ) -> Callable[[], float]:
        return lambda: mean_over(lambda rows: self.nll(pair, likelihood, rows), self.validation)

    def _choose_diffusion(self) -> None:
        """The smallest model within one standard error of the best, over held-out paths.

        As in Breiman et al., Classification and Regression Trees (1984).
        """
        pairs = [self.model.pair(k) for k in range(len(self.model.coefficients))]
        scores = [self._path_nll(pair) for pair in pairs]
        best = min(scores, key=np.mean)
        good = [
            k
            for k, score in enumerate(scores)
            if score.mean() - best.mean() <= standard_error(score - best)
        ]
        chosen = min(good, key=lambda k: pairs[k].size)
        self.model.chosen.fill_(chosen)
        if len(pairs) > 1:
            log.info(
                "diffusion: candidate %d of %d, the smallest as good as any by held-out NLL (%s)",
                chosen + 1, len(pairs), ", ".join(f"{s.mean():.4f}" for s in scores),
            )  # fmt: skip

    def _path_nll(self, pair: Coefficients) -> np.ndarray:
        rows = self.validation
        values = each(lambda part: self.log_prob(pair, self.likelihood, part), rows)
        return -by_path(values, rows.path)
