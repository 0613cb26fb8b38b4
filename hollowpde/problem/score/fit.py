"""How a score is fitted: exact implicit score matching."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hollowpde.data import Points, Split
from hollowpde.errors import InputError
from hollowpde.operators.dimwise import dimwise
from hollowpde.operators.field import Field
from hollowpde.problem.base import Compute, Fit, Metrics
from hollowpde.problem.panel import Panel
from hollowpde.problem.score.learned import LearnedScore, ScoreModel
from hollowpde.problem.score.metrics import Stein, errors_against_truth, stein
from hollowpde.problem.sde.rows import batches, each, mean_over, thinned
from hollowpde.problem.stage import Adam, EarlyStop, Stage

if TYPE_CHECKING:
    from hollowpde.problem.score.problem import ScoreProblem


@dataclass(frozen=True)
class ScoreMatching:
    r"""How the score is fitted: by implicit score matching, and a ridge.

    $$ \frac1N \sum_n \tfrac12 |s(t_n, z_n)|^2 + \nabla \cdot s(t_n, z_n)
       + \frac{\lambda}{2N} |w|^2 $$

    in standardised units, with w the weights of the network, so that the ridge draws the score
    towards that of a standard normal.

    Arguments:
        batch: observations in a batch.
        ridge: values of lambda, from the largest down: a stage for each, which starts where the
            last one ended and keeps what does best on held-out paths by the same criterion.
        optimiser, stop: of each stage.
    """

    batch: int = 256
    ridge: tuple[float, ...] = (500.0, 50.0, 5.0)
    optimiser: Adam = Adam(steps=2000, lr=3e-3)
    stop: EarlyStop = EarlyStop(patience=6)

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise InputError(f"batch must be at least 1, but is {self.batch}.")
        if not self.ridge or min(self.ridge) < 0:
            raise InputError(
                f"ridge must hold at least one value, none negative, but is {self.ridge}."
            )


def implicit_objective(field: Field, t: Tensor, x: Tensor) -> Tensor:
    r"""The objective of implicit score matching at each point, `(...)`.

    $$ \tfrac12 |s|^2 + \nabla \cdot s, \quad
       \mathbb{E}[\tfrac12 |s|^2 + \nabla \cdot s] = \tfrac12 \mathbb{E} |s - \nabla \log p|^2
       - \tfrac12 \mathbb{E} |\nabla \log p|^2 $$

    Its mean over data is an unbiased estimate of the Fisher divergence from the data's own score,
    but for a constant: no density is needed, and with an exact divergence nothing is random.

    Source:
        Hyvarinen, Estimation of Non-Normalized Statistical Models by Score Matching (2005).

    Example:
        >>> implicit_objective(hp.nets.LinearField(2), torch.zeros(3), torch.ones(3, 2))
        tensor([0., 0., 0.], grad_fn=<AddBackward0>)
    """
    score, slope = dimwise(field, t, x, order=1)
    return 0.5 * score.square().sum(-1) + slope.sum(-1)


class ScoreFit(Fit):
    """A score problem with its data, being fitted; `split` holds them in the user's units."""

    model: ScoreModel

    def __init__(
        self, problem: ScoreProblem, split: Split, model: ScoreModel, compute: Compute
    ) -> None:
        self.problem, self.split, self.model, self.compute = problem, split, model, compute
        units, dtype = model.standardisation, compute.dtype
        self.train = units.points(split.train, dtype)
        self.validation = thinned(units.points(split.validation, dtype))
        self.test = units.points(split.test, dtype)

    @property
    def learned(self) -> LearnedScore:
        return LearnedScore(self.model)

    @cached_property
    def stein(self) -> Stein:
        """How far the fitted score is from Stein's identities on the test paths."""
        score = each(lambda r: self.model.field(r.t, r.x), self.test)
        return stein(score, self.test.x.double(), self.test.path)

    def fingerprint(self) -> str:
        parts = [part.fingerprint() for part in self.split]
        return hashlib.sha256("".join(parts).encode()).hexdigest()

    def stages(self) -> Iterator[Stage]:
        setting = self.problem.fit
        if setting.optimiser.steps:
            yield from map(self._stage, sorted(set(setting.ridge), reverse=True))

    def _stage(self, ridge: float) -> Stage:
        setting = self.problem.fit
        return Stage(
            name=f"score, ridge {ridge:g}",
            module=self.model.field,
            batches=batches(self.train, setting.batch, setting.batch),
            losses=lambda batch, progress: self.losses(batch, ridge),
            validate=lambda: mean_over(self.objective, self.validation),
            optimiser=setting.optimiser,
            stop=setting.stop,
        )

    def losses(self, rows: Points, ridge: float) -> Mapping[str, Tensor]:
        """What is minimised."""
        losses = {"score": self.objective(rows)}
        weights = [p for p in self.model.field.parameters() if p.ndim > 1]
        if weights and ridge:
            strength = ridge / (2 * len(self.train.t))
            losses["ridge"] = strength * torch.stack([w.square().sum() for w in weights]).sum()
        return losses

    def objective(self, rows: Points) -> Tensor:
        """The mean objective, in standardised units."""
        return implicit_objective(self.model.field, rows.t, rows.x).mean()

    def metrics(self) -> Metrics:
        """Figures on the test paths.

        `score_objective` is in standardised units, so that units of measurement do not matter: it
        is -d/2 for the score of a standard normal, and the lower the better. `stein_worst` is
        defined by `Stein`; errors against the truth are in the user's units.
        """
        metrics: Metrics = {"score_objective": mean_over(self.objective, self.test)}
        if self.problem.truth is not None:
            metrics |= errors_against_truth(
                self.learned.field, self.problem.truth, self.split.test
            )
        if self.stein.paths > 1:
            metrics["stein_worst"] = self.stein.worst
        return metrics

    def headlines(self, metrics: Metrics) -> Mapping[str, str]:
        shown = {
            "score error": ("score_rel_l2", ".1%"),
            "score-matching objective": ("score_objective", ".4f"),
            "Stein ratio (< 1: no departure found)": ("stein_worst", ".2f"),
        }
        return {
            label: format(metrics[key], spec)
            for label, (key, spec) in shown.items()
            if key in metrics
        }

    @torch.no_grad()
    def panels(self) -> list[Panel]:
        # The panels look at the fit, the fit need not know how.
        from hollowpde.problem.score.panels import panels

        return panels(self)
