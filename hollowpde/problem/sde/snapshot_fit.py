"""How an SDE is fitted to snapshots: density first, then the equation matched to the samples."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hollowpde.data import Points, Split, Trajectories
from hollowpde.problem.base import Compute, Fit, Metrics
from hollowpde.problem.panel import Panel
from hollowpde.problem.sde.density_fit import MixtureFit
from hollowpde.problem.sde.diagnostics import extrapolation_share
from hollowpde.problem.sde.learned import LearnedSDE
from hollowpde.problem.sde.longrun.panels import (
    exit_time_chart,
    potential_chart,
    stationary_charts,
)
from hollowpde.problem.sde.matching import Further, WeakCriterion
from hollowpde.problem.sde.matching_fit import MatchingFit
from hollowpde.problem.sde.metrics import (
    Resimulated,
    errors_against_truth,
    marginal_ks_ratio,
    parameter_metrics,
    residual_rel_rms,
    resimulate,
)
from hollowpde.problem.sde.model import SDEModel
from hollowpde.problem.sde.rows import batches, mean_over, thinned
from hollowpde.problem.sde.verdict import Verdict, is_stationary, refusal, snapshot_verdict
from hollowpde.problem.sde.verdict.flows import velocity_of_many
from hollowpde.problem.sde.verdict.panels import verdict_panels
from hollowpde.problem.stage import Stage, derived_seed

if TYPE_CHECKING:
    from hollowpde.problem.sde.problem import SDEProblem

log = logging.getLogger(__name__)

# Held-out samples that are compared with as many re-simulated ones, and of them at each time.
_COMPARED = 4000


class SnapshotFit(Fit):
    """An SDE problem with data of which no two observations are of one path, being fitted.

    `split` holds the data in the user's units; `logarithmic` holds them with the logarithms of
    positive coordinates taken, which is what is standardised and fitted to; `further` holds other
    experiments with the same equation, in standardised units.
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
        train = units.points(logarithmic.train, dtype)
        held_out = units.points(logarithmic.validation, dtype)
        self.test_points = units.points(logarithmic.test, dtype)
        self.mixture = MixtureFit(problem.density, model, train, thinned(held_out))
        # What verdicts are based on, whatever form is matched.
        self.equations = WeakCriterion(
            problem.matching.tests, train, held_out, problem.autonomous, compute.seed, further
        )
        self.matching = MatchingFit(
            problem.matching,
            model,
            problem.matching.criterion(self.equations, model, compute.seed),
        )

    @property
    def learned(self) -> LearnedSDE:
        return LearnedSDE(self.model)

    def fingerprint(self) -> str:
        parts = [part.fingerprint() for part in self.split]
        digest = hashlib.sha256("".join(parts).encode())
        for experiment in self.further:
            digest.update(experiment.points.x.cpu().numpy().tobytes())
        return digest.hexdigest()

    def stages(self) -> Iterator[Stage]:
        model, joint = self.model, self.problem.joint
        yield from self.mixture.choose()
        known = not any(p.requires_grad for p in model.pair(0).diffusion.parameters())
        if not known and not self.further and is_stationary(self.equations):
            model.refused.fill_(True)
            log.warning(refusal(self.split.train))
            return
        yield from self.matching.stages()
        yield from self.mixture.refine()
        if joint.optimiser.steps:
            yield self._joint_stage()

    @property
    def refused(self) -> bool:
        """Whether drift and diffusion cannot be known from these data."""
        return bool(self.model.refused)

    @cached_property
    def verdict(self) -> Verdict:
        """What can be known from these data, and what cannot; once all is fitted."""
        return snapshot_verdict(self)

    def sentences(self) -> list[str]:
        return [*self.verdict.sentences, *velocity_of_many(self.model.density)]

    @cached_property
    def resimulated(self) -> Resimulated:
        """Held-out samples, and paths of the fitted SDE, each from a sample of the first time."""
        generator = torch.Generator().manual_seed(derived_seed(self.compute.seed, "starts"))
        test, train = self.split.test, self.split.train
        later = torch.where(test.t > train.t.min())[0]
        if len(later) > _COMPARED:
            later = later[torch.randperm(len(later), generator=generator)[:_COMPARED].sort()[0]]
        first = train.x[train.t == train.t.min()]
        start = first[torch.randint(len(first), (len(later),), generator=generator)]
        path = torch.arange(len(later)).repeat_interleave(2)
        t = torch.stack([train.t.min().expand(len(later)), test.t[later]], 1).reshape(-1)
        x = torch.stack([start, test.x[later]], 1).reshape(-1, test.dim)
        pairs = Trajectories(t, x, path, test.names)
        return resimulate(self.learned.sde, pairs, self.compute.seed)

    def metrics(self) -> Metrics:
        test, learned = self.split.test, self.learned
        metrics: Metrics = {}
        if self.problem.truth is not None and not self.refused:
            metrics |= errors_against_truth(learned, self.problem.truth, test)
        metrics["density_nll"] = self._test_density_nll()
        metrics["components"] = int(self.model.components)
        if not self.refused:
            metrics["residual_rel_rms"] = residual_rel_rms(learned, test)
            metrics["marginal_ks_ratio"] = marginal_ks_ratio(self.resimulated, self.compute.seed)
            simulated = self.resimulated.simulated.flatten(0, 1)
            metrics["extrapolation_share"] = extrapolation_share(self.split.train.x, simulated)
            metrics |= parameter_metrics(learned)
        return metrics | self.verdict.metrics

    def headlines(self, metrics: Metrics) -> Mapping[str, str]:
        shown = {
            "drift error": ("drift_rel_l2", ".1%"),
            "diffusion error": ("diffusion_rel_l2", ".1%"),
            "density NLL (nats)": ("density_nll", ".4f"),
            "KS ratio (< 1: no difference found)": ("marginal_ks_ratio", ".2f"),
            "warnings": ("warnings", "d"),
        }
        return {
            label: format(metrics[key], spec)
            for label, (key, spec) in shown.items()
            if key in metrics
        }

    def panels(self) -> list[Panel]:
        # The panels look at the fit, the fit need not know how.
        from hollowpde.problem.sde.panels import density_panels, panels

        own = verdict_panels(self.verdict)
        if self.refused:
            return [*own, *density_panels(self)]
        return [*own, *panels(self), *self._long_run()]

    def _long_run(self) -> list[Panel]:
        data, sde = self.split.train.double(), self.learned.sde
        if not self.problem.autonomous:
            return []
        if data.dim == 1:
            low, high = float(data.x.min()), float(data.x.max())
            last = data.x[data.t == data.t.max()]
            charts = [
                *stationary_charts(sde, data.names[0], low, high, last),
                exit_time_chart(sde, data.names[0], low, high),
            ]
        elif data.dim == 2:
            charts = [potential_chart(sde, data.x, (data.names[0], data.names[1]))]
        else:
            charts = []
        return [chart for chart in charts if chart is not None]

    def _joint_stage(self) -> Stage:
        """All together; held-out NLL of the density decides, without ties: it must not rise."""
        setting, weight = self.problem.joint, self.problem.density.residual_weight
        model, mixture, matching = self.model, self.mixture, self.matching
        pair = model.best
        matching.weigh_chosen()
        n = len(mixture.train.t)

        def losses(batch: Points, progress: float) -> Mapping[str, Tensor]:
            return {
                "density": mixture.nll(model.density, batch),
                "residual": weight * mixture.squared_residual(batch),
                "matching": matching.criterion.nats(pair.drift, pair.diffusion) / n,
            }

        return Stage(
            name="joint",
            module=nn.ModuleList([pair.drift, pair.diffusion, model.density]),
            batches=batches(mixture.train, setting.batch, setting.batch),
            losses=losses,
            validate=lambda: mean_over(
                lambda rows: mixture.nll(model.density, rows), mixture.validation
            ),
            optimiser=setting.optimiser,
            stop=setting.stop,
        )

    @torch.no_grad()
    def _test_density_nll(self) -> float:
        """Per observation of the held-out samples, in the user's units."""
        mixture, rows = self.mixture, self.test_points
        inner = mean_over(lambda r: mixture.nll(self.model.density, r), rows)
        return inner + self.model.volume(rows.x)
