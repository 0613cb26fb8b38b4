"""How a density is fitted: flow matching, then maximum likelihood."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from hollowpde.data import Split
from hollowpde.densities.cnf import CNF
from hollowpde.errors import SolverError
from hollowpde.problem.base import Compute, Fit, Metrics
from hollowpde.problem.density.learned import FlowModel, LearnedDensity
from hollowpde.problem.panel import Panel
from hollowpde.problem.stage import Stage

if TYPE_CHECKING:
    from hollowpde.problem.density.problem import DensityProblem

log = logging.getLogger(__name__)

# Held-out samples by which weights are chosen, and samples of one solve.
_VALIDATION, _CHUNK = 2000, 2500
# Of a coordinate with more repeated values than this share a density is doubtful.
_REPEATED = 0.2
# Samples that come back no nearer than this are not solved for.
_ROUND_TRIP = 0.01


class Drawn(NamedTuple):
    """A batch: samples in standardised units, and the seed of what else is drawn for them."""

    x: Tensor
    seed: int


class Solved(NamedTuple):
    """Densities of samples, in the user's units."""

    log_prob: Tensor  # (n,)
    nfe: float  # the mean over solves


class DensityProblemFit(Fit):
    """A density problem with its data, being fitted; `split` holds them in the user's units."""

    model: FlowModel

    def __init__(
        self, problem: DensityProblem, split: Split, model: FlowModel, compute: Compute
    ) -> None:
        self.problem, self.split, self.model, self.compute = problem, split, model, compute
        units, dtype = model.standardisation, compute.dtype
        self.train, self.validation, self.test = (
            units.points(part, dtype).x.to(compute.device) for part in split
        )
        self.validation = self.validation[:_VALIDATION]
        self.log_scale = float(units.scale.log().sum())
        setting = problem.likelihood
        # The same weights, by the trace and the solver of training.
        self.training = model.flow.using(setting.trace, setting.solver)
        # Of the last validation, for the history.
        self._nll, self._nfe = math.nan, 0.0
        self._stiffness: Mapping[str, float] = {}

    @property
    def learned(self) -> LearnedDensity:
        return LearnedDensity(self.model)

    @cached_property
    def solved(self) -> Solved:
        """The densities of the test samples, once all is fitted."""
        return self.densities(self.model.flow, self.test)

    @cached_property
    @torch.no_grad()
    def round_trip(self) -> float:
        """How far some test samples are from themselves, after a way to the base and back.

        The largest root mean square over dimensions, in standardised units.
        """
        flow, x = self.model.flow, self.test[:_VALIDATION]
        back = flow.push_forward(flow.end, flow.pull_back(flow.end, x).x)
        return float((back - x).square().mean(-1).sqrt().max())

    def fingerprint(self) -> str:
        parts = [part.fingerprint() for part in self.split]
        return hashlib.sha256("".join(parts).encode()).hexdigest()

    def stages(self) -> Iterator[Stage]:
        matching, likelihood = self.problem.matching, self.problem.likelihood
        for name, setting, losses in (
            ("flow matching", matching, self.matching_losses),
            ("likelihood", likelihood, self.likelihood_losses),
        ):
            if setting.optimiser.steps:
                yield Stage(
                    name=name,
                    module=self.model.flow,
                    batches=self._batches(setting.batch),
                    losses=losses,
                    validate=self._validate,
                    optimiser=setting.optimiser,
                    stop=setting.stop,
                    monitor=lambda: {
                        "evaluations": self._nfe,
                        "NLL": self._nll,
                        **self._stiffness,
                    },
                )

    def matching_losses(self, batch: Drawn, progress: float) -> Mapping[str, Tensor]:
        """The gap to the velocities of straight lines from the base to the data."""
        x1, generator = batch.x, self._generator(batch.seed)
        x0 = torch.randn(x1.shape, dtype=x1.dtype, device=x1.device, generator=generator)
        t = torch.rand(len(x1), dtype=x1.dtype, device=x1.device, generator=generator)
        share = t.unsqueeze(-1)
        velocity = self.model.flow.velocity(t, (1 - share) * x0 + share * x1)
        return {"velocity": (velocity - (x1 - x0)).square().mean()}

    def likelihood_losses(self, batch: Drawn, progress: float) -> Mapping[str, Tensor]:
        """The NLL in the user's units, and the penalties with their weights."""
        penalties = self.problem.likelihood.penalties
        value, costs = self.training.with_penalties(
            self.training.end, batch.x, penalties, self._generator(batch.seed)
        )
        losses = {"NLL": self.log_scale - value.mean()}
        for k, (penalty, cost) in enumerate(zip(penalties, costs, strict=True)):
            name = type(penalty).__name__
            losses[name if name not in losses else f"{name} {k}"] = penalty.weight * cost.mean()
        return losses

    @torch.no_grad()
    def densities(self, flow: CNF, x: Tensor) -> Solved:
        """log p of samples `(n, d)` in standardised units, as that of the user's units."""
        generator, values, nfe = self._generator(0), [], []
        for part in x.split(_CHUNK):
            values.append(flow.log_prob(part, generator=generator).double())
            nfe.append(flow.nfe)
        return Solved(torch.cat(values) - self.log_scale, sum(nfe) / len(nfe))

    def metrics(self) -> Metrics:
        """Figures on the test samples.

        `nll` is the mean negative log-likelihood in nats, in the user's units, `nll_error` its
        standard error, `nll_gap` how far it is above the entropy, where that is known; `nfe` are
        the evaluations of the velocity for the densities of a batch, by `evaluation`, and
        `round_trip` says how well these equations are solved.
        """
        value = -self.solved.log_prob
        metrics: Metrics = {
            "nll": float(value.mean()),
            "nll_error": float(value.std()) / math.sqrt(len(value)),
            "nfe": self.solved.nfe,
            "round_trip": self.round_trip,
        }
        if self.problem.entropy is not None:
            metrics["nll_gap"] = metrics["nll"] - self.problem.entropy
        return metrics

    def headlines(self, metrics: Metrics) -> Mapping[str, str]:
        shown = {
            "NLL (nats)": ("nll", ".4f"),
            "above the entropy": ("nll_gap", ".4f"),
            "evaluations of the velocity": ("nfe", ".0f"),
        }
        return {
            label: format(metrics[key], spec)
            for label, (key, spec) in shown.items()
            if key in metrics
        }

    def sentences(self) -> list[str]:
        return [*self._badly_solved(), *self._repeated()]

    def _badly_solved(self) -> list[str]:
        if self.round_trip < _ROUND_TRIP:
            return []
        return [
            f"the flow is not solved well: samples that go to the base and back end up to "
            f"{self.round_trip:.2g} standard deviations away, and the NLL means little. Train "
            "with more steps (likelihood.solver.steps), a lower learning rate or "
            "hp.KineticEnergy(), and lower the tolerances of evaluation.solver."
        ]

    def _repeated(self) -> list[str]:
        names = []
        for name, column in zip(self.split.train.names, self.split.train.x.unbind(1), strict=True):
            if len(column.unique()) < (1 - _REPEATED) * len(column):
                names.append(name)
        if not names:
            return []
        some = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
        return [
            f"many values of {some} are repeated exactly: no density is too high there, and the "
            "NLL means little. Add uniform noise of the width of the rounding to such data."
        ]

    @torch.no_grad()
    def panels(self) -> list[Panel]:
        # The panels look at the fit, the fit need not know how.
        from hollowpde.problem.density.panels import panels

        return panels(self)

    def _batches(self, size: int) -> Callable[[torch.Generator, float], Drawn]:
        train = self.train

        def drawn(generator: torch.Generator, progress: float) -> Drawn:
            rows = torch.randint(len(train), (min(size, len(train)),), generator=generator)
            seed = int(torch.randint(2**62, (), generator=generator))
            return Drawn(train[rows.to(train.device)], seed)

        return drawn

    def _validate(self) -> float:
        """The NLL of held-out samples; infinite where the flow cannot be solved."""
        try:
            solved = self.densities(self.model.flow, self.validation)
        except SolverError as error:
            log.warning("held-out samples: %s", error)
            self._nll = math.inf
        else:
            self._nll, self._nfe = -float(solved.log_prob.mean()), solved.nfe
            self._stiffness = self._compared()
        return self._nll

    def _compared(self) -> Mapping[str, float]:
        """Solvers on the present weights; a flow that cannot be solved does not end the fit."""
        try:
            return self.problem.stiffness.measure(self.model.flow, self.validation)
        except SolverError as error:
            log.warning("solvers are not compared: %s", error)
            return {}

    def _generator(self, seed: int) -> torch.Generator:
        return torch.Generator(self.compute.device).manual_seed(seed)
