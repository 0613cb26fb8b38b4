"""How the density is fitted: mixtures of growing size, then the Fokker-Planck residual."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from hollowpde.data import Points
from hollowpde.densities import CorrelatedMixture, DensityModel, GaussianMixture
from hollowpde.errors import InputError
from hollowpde.problem.sde.model import SDEModel
from hollowpde.problem.sde.rows import batches, by_path, each, few_nats, mean_over, standard_error
from hollowpde.problem.stage import Adam, EarlyStop, Stage
from hollowpde.residuals import fokker_planck

log = logging.getLogger(__name__)


# A covariance has some d^2 / 2 numbers: more dimensions than these are taken as independent within
# each component.
_MOST_CORRELATED = 8

# Builds a density for a dimension and a size.
Family: TypeAlias = Callable[[int, int], DensityModel]


@dataclass(frozen=True)
class DensityFit:
    """How the density is fitted.

    Arguments:
        components: sizes of mixture to try; held-out NLL chooses.
        family: called as `family(dim, components)`; `hp.CorrelatedMixture` or
            `hp.GaussianMixture`, or a `DensityModel` of your own. By default the first in two to
            eight dimensions and the second elsewhere.
        batch: observations in a batch.
        optimiser, stop: of each mixture, by negative log-likelihood.
        refine: of the chosen one, with the Fokker-Planck residual added; no steps leave it out.
        residual_weight: of the mean squared residual, in standardised units.
    """

    components: tuple[int, ...] = (1, 2, 3, 5, 8)
    family: Family | None = None
    batch: int = 2048
    optimiser: Adam = Adam(steps=1000, lr=5e-3)
    stop: EarlyStop = EarlyStop()
    refine: Adam = Adam(steps=1000, lr=2e-3)
    residual_weight: float = 0.03

    def __post_init__(self) -> None:
        if not self.components or min(self.components) < 1:
            raise InputError(
                f"components must hold at least one size, all positive, but is {self.components}."
            )
        if self.batch < 1:
            raise InputError(f"batch must be at least 1, but is {self.batch}.")
        if self.residual_weight < 0:
            raise InputError(
                f"residual_weight must not be negative, but is {self.residual_weight}."
            )

    def build(self, dim: int) -> dict[int, DensityModel]:
        """A density of each size."""
        correlated = 1 < dim <= _MOST_CORRELATED
        family = self.family or (CorrelatedMixture if correlated else GaussianMixture)
        return {k: family(dim, k) for k in self.components}


class MixtureFit:
    """The stages that fit the density, and the choice of its size."""

    def __init__(
        self, setting: DensityFit, model: SDEModel, train: Points, validation: Points
    ) -> None:
        self.setting, self.model = setting, model
        self.train, self.validation = train, validation
        self.residual = fokker_planck()

    def stages(self) -> Iterator[Stage]:
        yield from self.choose()
        yield from self.refine()

    def choose(self) -> Iterator[Stage]:
        """By likelihood alone, and of which size."""
        if int(self.model.components) == 0:
            yield from self._choose()

    def refine(self) -> Iterator[Stage]:
        """Once drift and diffusion are known: with the residual of their equation."""
        if self.setting.refine.steps:
            yield self._residual_stage()

    def squared_residual(self, rows: Points) -> Tensor:
        """The mean square of the Fokker-Planck residual."""
        fields = [self.model.density, self.model.drift, self.model.diffusion]
        return self.residual(fields, rows.t, rows.x).square().mean()

    def _choose(self) -> Iterator[Stage]:
        """Fit mixtures of growing size until two in a row are no better; keep the smallest good.

        The rule of one standard error: the smallest mixture is kept whose held-out NLL exceeds
        the best one's by less than the standard error of that difference over the paths
        (Breiman et al., Classification and Regression Trees, 1984).
        """
        scores: dict[int, np.ndarray] = {}
        in_vain = 0
        for components in sorted(self.setting.components):
            yield self._stage(components)
            nll = self._path_nll(self.model.candidate(components))
            if scores:
                best = min(scores.values(), key=np.mean)
                better = nll.mean() < best.mean() - standard_error(nll - best)
                in_vain = 0 if better else in_vain + 1
            scores[components] = nll
            if in_vain == 2:
                break
        best = min(scores.values(), key=np.mean)
        chosen = next(
            k for k, v in scores.items() if v.mean() - best.mean() <= standard_error(v - best)
        )
        self.model.components.fill_(chosen)
        log.info(
            "density: %d components, by held-out NLL %s",
            chosen,
            ", ".join(f"{k}: {v.mean():.4f}" for k, v in scores.items()),
        )

    def _stage(self, components: int) -> Stage:
        setting = self.setting
        density = self.model.candidate(components)
        return Stage(
            name=f"density of {components} component{'s' if components > 1 else ''}",
            module=density,
            batches=batches(self.train, setting.batch, setting.batch),
            losses=lambda batch, progress: {"density": self.nll(density, batch)},
            validate=lambda: mean_over(lambda rows: self.nll(density, rows), self.validation),
            tie=few_nats(self.validation),
            optimiser=setting.optimiser,
            stop=setting.stop,
        )

    def _residual_stage(self) -> Stage:
        """The density once more, with the Fokker-Planck residual and drift, diffusion held."""
        setting = self.setting
        density = self.model.density

        def losses(batch: Points, progress: float) -> Mapping[str, Tensor]:
            return {
                "density": self.nll(density, batch),
                "residual": setting.residual_weight * self.squared_residual(batch),
            }

        def validate() -> float:
            return mean_over(
                lambda rows: torch.stack(list(losses(rows, 1.0).values())).sum(),
                self.validation,
            )

        return Stage(
            name="density with Fokker-Planck residual",
            module=density,
            batches=batches(self.train, setting.batch, setting.batch),
            losses=losses,
            validate=validate,
            tie=few_nats(self.validation),
            optimiser=setting.refine,
            stop=setting.stop,
        )

    def nll(self, density: DensityModel, rows: Points) -> Tensor:
        """The mean negative log-likelihood of observations."""
        return -self.log_prob(density, rows).mean()

    def log_prob(self, density: DensityModel, rows: Points) -> Tensor:
        """The log density of observations, with their noise if there is any, `(n,)`."""
        noise = self.model.noise
        if noise is None:
            return density.log_prob(rows.t, rows.x)
        return density.noisy_log_prob(rows.t, rows.x, noise.variance.detach())

    def _path_nll(self, density: DensityModel) -> np.ndarray:
        rows = self.validation
        return -by_path(each(lambda r: self.log_prob(density, r), rows), rows.path)
