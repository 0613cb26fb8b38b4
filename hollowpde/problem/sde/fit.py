"""How an SDE is fitted to paired trajectories: transition likelihood first, density second."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from hollowpde.data import Pairs, Points, Split
from hollowpde.densities import Density
from hollowpde.likelihoods import EulerMaruyama, TransitionLikelihood
from hollowpde.problem.base import Compute, Fit, Metrics
from hollowpde.problem.panel import Panel
from hollowpde.problem.sde.metrics import (
    Resimulated,
    errors_against_truth,
    marginal_ks_ratio,
    residual_rel_rms,
    resimulate,
)
from hollowpde.problem.sde.model import LearnedSDE, SDEModel
from hollowpde.problem.stage import Stage
from hollowpde.residuals import fokker_planck

if TYPE_CHECKING:
    from hollowpde.problem.sde.problem import SDEProblem

log = logging.getLogger(__name__)

# Held-out rows by which weights are chosen: enough for a steady value, few enough to be quick.
_VALIDATION_ROWS = 20_000
_CHUNK = 8192

Rows = TypeVar("Rows", Pairs, Points)


class SDEFit(Fit):
    """An SDE problem with its data, being fitted."""

    model: SDEModel

    def __init__(
        self, problem: SDEProblem, split: Split, model: SDEModel, compute: Compute
    ) -> None:
        self.problem, self.split, self.model, self.compute = problem, split, model, compute
        units = model.standardisation
        self.train_pairs = units.pairs(split.train, compute.dtype)
        self.validation_pairs = _thin(units.pairs(split.validation, compute.dtype))
        self.train_points = units.points(split.train, compute.dtype)
        self.validation_points = _thin(units.points(split.validation, compute.dtype))
        self.residual = fokker_planck()

    @property
    def learned(self) -> LearnedSDE:
        return LearnedSDE(self.model)

    def fingerprint(self) -> str:
        parts = [part.fingerprint() for part in self.split]
        return hashlib.sha256("".join(parts).encode()).hexdigest()

    @cached_property
    def resimulated(self) -> Resimulated:
        """Held-out paths, and paths of the fitted SDE from the same starts; once it is fitted."""
        return resimulate(self.learned.sde, self.split.test, self.compute.seed)

    def stages(self) -> Iterator[Stage]:
        yield self._transition_stage()
        if int(self.model.components) == 0:
            yield from self._choose_density()
        if self.problem.density.refine.steps:
            yield self._residual_stage()
        if self.problem.joint.optimiser.steps:
            yield self._joint_stage()

    def metrics(self) -> Metrics:
        test, learned = self.split.test, self.learned
        metrics: Metrics = {}
        if self.problem.truth is not None:
            metrics |= errors_against_truth(learned, self.problem.truth, test)
        with torch.no_grad():
            precise = test.double()
            log_p = learned.density.log_prob(precise.t, precise.x)
            metrics["density_nll"] = -float(log_p.mean())
        metrics["transition_nll"] = self._test_transition_nll()
        metrics["residual_rel_rms"] = residual_rel_rms(learned, test)
        metrics["marginal_ks_ratio"] = marginal_ks_ratio(self.resimulated, self.compute.seed)
        metrics["components"] = int(self.model.components)
        return metrics

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

        return panels(self)

    def _transition_stage(self) -> Stage:
        """Drift and diffusion by a transition likelihood, Euler-Maruyama at first."""
        setting = self.problem.transition
        model = self.model

        def losses(batch: Pairs, progress: float) -> Mapping[str, Tensor]:
            early = progress < setting.euler_share
            likelihood = EulerMaruyama() if early else setting.likelihood
            return {"transition": self._transition_nll(likelihood, batch)}

        def validate() -> float:
            return _mean(
                lambda rows: self._transition_nll(setting.likelihood, rows),
                self.validation_pairs,
            )

        return Stage(
            name="drift and diffusion",
            module=nn.ModuleList([model.drift, model.diffusion]),
            batches=_batches(self.train_pairs, setting.batch, setting.late_batch),
            losses=losses,
            validate=validate,
            tie=_one_nat(self.validation_pairs),
            optimiser=setting.optimiser,
            stop=setting.stop,
        )

    def _choose_density(self) -> Iterator[Stage]:
        """Fit mixtures of growing size until two in a row are no better; keep the smallest good.

        The rule of one standard error: the smallest mixture is kept whose held-out NLL exceeds
        the best one's by less than the standard error of that difference over the paths
        (Breiman et al., Classification and Regression Trees, 1984).
        """
        scores: dict[int, np.ndarray] = {}
        in_vain = 0
        for components in sorted(self.problem.density.components):
            yield self._density_stage(components)
            nll = self._path_nll(self.model.candidate(components))
            if scores:
                best = min(scores.values(), key=np.mean)
                better = nll.mean() < best.mean() - _standard_error(nll - best)
                in_vain = 0 if better else in_vain + 1
            scores[components] = nll
            if in_vain == 2:
                break
        best = min(scores.values(), key=np.mean)
        chosen = next(
            k for k, v in scores.items() if v.mean() - best.mean() <= _standard_error(v - best)
        )
        self.model.components.fill_(chosen)
        log.info(
            "density: %d components, by held-out NLL %s",
            chosen,
            ", ".join(f"{k}: {v.mean():.4f}" for k, v in scores.items()),
        )

    def _density_stage(self, components: int) -> Stage:
        setting = self.problem.density
        density = self.model.candidate(components)
        return Stage(
            name=f"density of {components} component{'s' if components > 1 else ''}",
            module=density,
            batches=_batches(self.train_points, setting.batch, setting.batch),
            losses=lambda batch, progress: {"density": _nll(density, batch)},
            validate=lambda: _mean(lambda rows: _nll(density, rows), self.validation_points),
            tie=_one_nat(self.validation_points),
            optimiser=setting.optimiser,
            stop=setting.stop,
        )

    def _residual_stage(self) -> Stage:
        """The density once more, with the Fokker-Planck residual and drift, diffusion held."""
        setting = self.problem.density
        density = self.model.density

        def losses(batch: Points, progress: float) -> Mapping[str, Tensor]:
            return {
                "density": _nll(density, batch),
                "residual": setting.residual_weight * self._squared_residual(batch),
            }

        def validate() -> float:
            return _mean(
                lambda rows: torch.stack(list(losses(rows, 1.0).values())).sum(),
                self.validation_points,
            )

        return Stage(
            name="density with Fokker-Planck residual",
            module=density,
            batches=_batches(self.train_points, setting.batch, setting.batch),
            losses=losses,
            validate=validate,
            tie=_one_nat(self.validation_points),
            optimiser=setting.refine,
            stop=setting.stop,
        )

    def _joint_stage(self) -> Stage:
        """All together; held-out NLL alone decides, and without ties: it must not rise."""
        setting, weight = self.problem.joint, self.problem.density.residual_weight
        model = self.model
        likelihood = self.problem.transition.likelihood

        def losses(batch: tuple[Pairs, Points], progress: float) -> Mapping[str, Tensor]:
            pairs, points = batch
            return {
                "transition": self._transition_nll(likelihood, pairs),
                "density": _nll(model.density, points),
                "residual": weight * self._squared_residual(points),
            }

        pair_batches = _batches(self.train_pairs, setting.batch, setting.batch)
        point_batches = _batches(self.train_points, setting.batch, setting.batch)
        return Stage(
            name="joint",
            module=nn.ModuleList([model.drift, model.diffusion, model.density]),
            batches=lambda generator, progress: (
                pair_batches(generator, progress),
                point_batches(generator, progress),
            ),
            losses=losses,
            validate=lambda: (
                _mean(lambda rows: self._transition_nll(likelihood, rows), self.validation_pairs)
                + _mean(lambda rows: _nll(model.density, rows), self.validation_points)
            ),
            optimiser=setting.optimiser,
            stop=setting.stop,
        )

    def _transition_nll(self, likelihood: TransitionLikelihood, rows: Pairs) -> Tensor:
        log_prob = likelihood.log_prob(
            self.model.drift, self.model.diffusion, rows.t, rows.x, rows.step, rows.x_next
        )
        return -log_prob.mean()

    def _squared_residual(self, rows: Points) -> Tensor:
        fields = [self.model.density, self.model.drift, self.model.diffusion]
        return self.residual(fields, rows.t, rows.x).square().mean()

    def _path_nll(self, density: Density) -> np.ndarray:
        """Held-out NLL, averaged along each path: the paths are independent, their points not."""
        rows = self.validation_points
        with torch.no_grad():
            nll = -density.log_prob(rows.t, rows.x).double()
        _, label = rows.path.unique(return_inverse=True)
        return (torch.bincount(label, nll) / torch.bincount(label)).cpu().numpy()

    def _test_transition_nll(self) -> float:
        units = self.model.standardisation
        rows = units.pairs(self.split.test, self.compute.dtype)
        likelihood = self.problem.transition.likelihood
        inner = _mean(lambda part: self._transition_nll(likelihood, part), rows)
        return inner + float(units.scale.log().sum())


def _nll(density: Density, rows: Points) -> Tensor:
    return -density.log_prob(rows.t, rows.x).mean()


def _batches(rows: Rows, size: int, late_size: int) -> Callable[[torch.Generator, float], Rows]:
    """Rows drawn with replacement; larger batches late, where gradient noise limits the fit."""
    n = len(rows.t)

    def draw(generator: torch.Generator, progress: float) -> Rows:
        wanted = size if progress < 2 / 3 else late_size
        index = torch.randint(n, (min(wanted, n),), generator=generator).to(rows.t.device)
        return type(rows)(*(column[index] for column in rows))

    return draw


def _mean(loss: Callable[[Rows], Tensor], rows: Rows) -> float:
    """The mean of a mean loss over all rows, in chunks that fit into memory."""
    total, n = 0.0, len(rows.t)
    with torch.no_grad():
        for start in range(0, n, _CHUNK):
            part = type(rows)(*(column[start : start + _CHUNK] for column in rows))
            total += float(loss(part)) * len(part.t)
    return total / n


def _one_nat(rows: Pairs | Points) -> float:
    """The difference of mean NLL that makes one nat over all rows: less is no evidence."""
    return 1 / len(rows.t)


def _thin(rows: Rows) -> Rows:
    """At most `_VALIDATION_ROWS` rows, evenly spread."""
    n = len(rows.t)
    if n <= _VALIDATION_ROWS:
        return rows
    keep = torch.linspace(0, n - 1, _VALIDATION_ROWS).long().to(rows.t.device)
    return type(rows)(*(column[keep] for column in rows))


def _standard_error(differences: np.ndarray) -> float:
    n = len(differences)
    # One path tells nothing of the spread: the best is taken at its word.
    return float(differences.std(ddof=1) / np.sqrt(n)) if n > 1 else 0.0
