"""How an SDE is fitted to paired trajectories: transition likelihood first, density second."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hollowpde.data import Pairs, Points, Split, Windows, windows
from hollowpde.likelihoods import Filtered, MomentClosure, TransitionLikelihood
from hollowpde.problem.base import Compute, Fit, Metrics
from hollowpde.problem.panel import Panel
from hollowpde.problem.sde.bootstrap import EnsembleFit
from hollowpde.problem.sde.choice import name
from hollowpde.problem.sde.coefficient_fit import CoefficientFit
from hollowpde.problem.sde.density_fit import MixtureFit
from hollowpde.problem.sde.diagnostic_panels import Evidence, diagnostic_panels
from hollowpde.problem.sde.diagnostics import LikelihoodScore, likelihood_scores
from hollowpde.problem.sde.learned import LearnedSDE
from hollowpde.problem.sde.matching import Further, WeakCriterion
from hollowpde.problem.sde.metrics import (
    Resimulated,
    coverage,
    errors_against_truth,
    marginal_ks_ratio,
    parameter_metrics,
    residual_rel_rms,
    resimulate_seen,
)
from hollowpde.problem.sde.model import SDEModel
from hollowpde.problem.sde.rows import batches, each, mean_over, thinned, transitions
from hollowpde.problem.sde.verdict import Verdict, paired_verdict
from hollowpde.problem.sde.verdict.flows import velocity_of_many
from hollowpde.problem.sde.verdict.panels import verdict_panels
from hollowpde.problem.stage import Group, Stage

if TYPE_CHECKING:
    from hollowpde.problem.sde.problem import SDEProblem

# Transitions on which likelihoods are compared.
_SCORED = 4000


class SDEFit(Fit):
    """An SDE problem with its data, being fitted.

    `split` holds the data in the user's units; `logarithmic` holds them with the logarithms of
    positive coordinates taken, which is what is standardised and fitted to.
    """

    model: SDEModel

    def __init__(
        self,
        problem: SDEProblem,
        split: Split,
        logarithmic: Split,
        further: tuple[Further, ...],
        model: SDEModel,
        compute: Compute,
    ) -> None:
        self.problem, self.split, self.model, self.compute = problem, split, model, compute
        self.further = further
        units, dtype = model.standardisation, compute.dtype
        self.coefficients = CoefficientFit(
            problem.transition,
            model,
            self._seen(units.pairs(logarithmic.train, dtype)),
            thinned(self._seen(units.pairs(logarithmic.validation, dtype))),
            WeakCriterion(
                problem.matching.tests, None, None, problem.autonomous, compute.seed, further
            )
            if further
            else None,
        )
        self.mixture = MixtureFit(
            problem.density,
            model,
            units.points(logarithmic.train, dtype),
            thinned(units.points(logarithmic.validation, dtype)),
        )
        self.ensemble = EnsembleFit(problem.uncertainty, self.coefficients, compute.seed)
        self.test_pairs = units.pairs(logarithmic.test, dtype)
        self.test_points = units.points(logarithmic.test, dtype)

    @property
    def learned(self) -> LearnedSDE:
        return LearnedSDE(self.model)

    def fingerprint(self) -> str:
        parts = [part.fingerprint() for part in self.split]
        digest = hashlib.sha256("".join(parts).encode())
        for experiment in self.further:
            digest.update(experiment.points.x.cpu().numpy().tobytes())
        return digest.hexdigest()

    @cached_property
    def resimulated(self) -> Resimulated:
        """Held-out paths, and paths of the fitted SDE from the same starts; once it is fitted."""
        return resimulate_seen(self.learned, self.split.test, self.compute.seed)

    def stages(self) -> Iterator[Group]:
        yield from self.coefficients.stages()
        yield from self.mixture.stages()
        if self.problem.joint.optimiser.steps:
            yield self._joint_stage()
        yield from self.ensemble.stages()

    def metrics(self) -> Metrics:
        test, learned = self.split.test, self.learned
        metrics: Metrics = {}
        if self.problem.truth is not None:
            metrics |= errors_against_truth(learned, self.problem.truth, test)
            if learned.ensemble is not None:
                metrics |= coverage(learned.ensemble, self.problem.truth, test)
        metrics["density_nll"] = self._test_density_nll()
        metrics["transition_nll"] = self._test_transition_nll()
        metrics["residual_rel_rms"] = residual_rel_rms(learned, test)
        metrics["marginal_ks_ratio"] = marginal_ks_ratio(self.resimulated, self.compute.seed)
        metrics["components"] = int(self.model.components)
        metrics |= parameter_metrics(learned)
        return metrics | self.evidence.metrics() | self.verdict.metrics

    def headlines(self, metrics: Metrics) -> Mapping[str, str]:
        shown = {
            "drift error": ("drift_rel_l2", ".1%"),
            "diffusion error": ("diffusion_rel_l2", ".1%"),
            "density NLL (nats)": ("density_nll", ".4f"),
            "KS ratio (< 1: no difference found)": ("marginal_ks_ratio", ".2f"),
        }
        return {
            label: format(metrics[key], spec)
            for label, (key, spec) in shown.items()
            if key in metrics
        }

    def panels(self) -> list[Panel]:
        # The panels look at the fit, the fit need not know how.
        from hollowpde.problem.sde.panels import panels

        warned = verdict_panels(self.verdict) if self.verdict.sentences else []
        return [*warned, *panels(self), *diagnostic_panels(self.evidence)]

    def sentences(self) -> list[str]:
        return [*self.verdict.sentences, *velocity_of_many(self.model.density)]

    @cached_property
    def verdict(self) -> Verdict:
        """What can be known from these data, and what cannot; once all is fitted."""
        fit, pair = self.coefficients, self.model.best
        rows = thinned(fit.train, _SCORED)
        share = transitions(fit.train) / transitions(rows)

        def log_likelihood(factor: float) -> float:
            faster = pair.sped_up(factor)
            return share * float(
                each(lambda r: fit.log_prob(faster, fit.likelihood, r), rows).sum()
            )

        return paired_verdict(log_likelihood, self.evidence.extrapolated)

    @cached_property
    def evidence(self) -> Evidence:
        """What says whether the fit is to be trusted; once it is fitted."""
        return Evidence(
            self.learned.sde,
            self.split.train,
            self.split.test,
            self.resimulated,
            self._uniforms(),
            self._scores(),
            self.problem.autonomous,
            self.compute.seed,
        )

    def _seen(self, pairs: Pairs) -> Pairs | Windows:
        """The pairs themselves, or windows of them where observations have noise."""
        observation = self.problem.observation
        return windows(pairs, observation.window, observation.lead) if observation else pairs

    def _uniforms(self) -> Tensor:
        """Rosenblatt transforms of the held-out transitions."""
        pair, likelihood = self.model.best, self.coefficients.likelihood
        if pair.noise is not None:
            assert isinstance(likelihood, MomentClosure)
            seen, noise = Filtered(likelihood), pair.noise.variance
            rows = self._seen(self.test_pairs)
            assert isinstance(rows, Windows)
            return each(lambda r: seen.uniforms(pair.drift, pair.diffusion, noise, r), rows)

        def uniforms(rows: Pairs) -> Tensor:
            transition = likelihood.transition(
                pair.drift, pair.diffusion, rows.t, rows.x, rows.step
            )
            return transition.uniforms(rows.x_next)

        return each(uniforms, self.test_pairs)

    def _scores(self) -> dict[str, LikelihoodScore]:
        """Held-out log-likelihood under every likelihood there is to choose from."""
        if self.coefficients.filtered:
            return {}
        fit, pair, rows = self.coefficients, self.model.best, thinned(self.test_pairs, _SCORED)
        volume = float(self.model.standardisation.scale.log().sum())
        rungs = {name(rung): rung for rung in fit.ladder.rungs}
        rungs.setdefault(name(fit.likelihood), fit.likelihood)
        accurate = f"{name(fit.ladder.reference)}, fine"
        rungs[accurate] = fit.ladder.reference

        def log_prob(rung: TransitionLikelihood) -> Tensor:
            return each(lambda part: fit.log_prob(pair, rung, part), rows) - volume

        logs = {label: log_prob(rung) for label, rung in rungs.items()}
        return likelihood_scores(logs, rows.path, accurate)

    def _joint_stage(self) -> Stage:
        """All together; held-out NLL alone decides, and without ties: it must not rise."""
        setting, weight = self.problem.joint, self.problem.density.residual_weight
        model, fit, mixture = self.model, self.coefficients, self.mixture
        pair, likelihood = model.best, fit.likelihood
        # A window has several transitions: of both kinds of data as many are weighed alike.
        share = len(fit.train.t) / transitions(fit.train)

        def losses(batch: tuple[Pairs | Windows, Points], progress: float) -> Mapping[str, Tensor]:
            pairs, points = batch
            return {
                "transition": share * fit.nll(pair, likelihood, pairs),
                "density": mixture.nll(model.density, points),
                "residual": weight * mixture.squared_residual(points),
            }

        some = math.ceil(share * setting.batch)
        pair_batches = batches(fit.train, some, some)
        point_batches = batches(mixture.train, setting.batch, setting.batch)
        return Stage(
            name="joint",
            module=nn.ModuleList([pair, model.density]),
            batches=lambda generator, progress: (
                pair_batches(generator, progress),
                point_batches(generator, progress),
            ),
            losses=losses,
            validate=lambda: (
                share * mean_over(lambda rows: fit.nll(pair, likelihood, rows), fit.validation)
                + mean_over(lambda rows: mixture.nll(model.density, rows), mixture.validation)
            ),
            optimiser=setting.optimiser,
            stop=setting.stop,
        )

    def _test_transition_nll(self) -> float:
        """Per transition of the test paths, in the user's units."""
        rows = self._seen(self.test_pairs)
        total = -self.coefficients.log_probs(self.model.best, rows).sum()
        return float(total) / transitions(rows) + self.model.volume(self.test_pairs.x_next)

    @torch.no_grad()
    def _test_density_nll(self) -> float:
        """Per observation of the test paths, in the user's units."""
        mixture, rows = self.mixture, self.test_points
        inner = mean_over(lambda r: mixture.nll(self.model.density, r), rows)
        return inner + self.model.volume(rows.x)
