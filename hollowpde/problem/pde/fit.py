"""How a PDE problem is solved: its stages, and its figures."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hollowpde.optim import linearise
from hollowpde.problem.base import Compute, Fit, Metrics
from hollowpde.problem.panel import Panel
from hollowpde.problem.pde.conditions import Batch, Observed, Place
from hollowpde.problem.pde.learned import LearnedPDE
from hollowpde.problem.pde.metrics import figures, monitored
from hollowpde.problem.pde.model import PDEModel
from hollowpde.problem.pde.samplers import ResidualAdaptive
from hollowpde.problem.pde.terms import Group, means
from hollowpde.problem.stage import LBFGS, Adam, EarlyStop, GaussNewton, Stage, derived_seed

if TYPE_CHECKING:
    from hollowpde.problem.pde.problem import PDEProblem

# Points of each group from which the balance of the terms is computed.
_BALANCING = 128


class PDEFit(Fit):
    """A PDE problem with its model, being solved."""

    model: PDEModel

    def __init__(
        self,
        problem: PDEProblem,
        model: PDEModel,
        groups: Sequence[Group],
        place: Place,
        compute: Compute,
    ) -> None:
        self.problem, self.model, self.groups, self.place = problem, model, groups, place
        self.compute = compute
        self.terms = list(dict.fromkeys(name for g in groups for name in g.columns))
        self.apart = self.cast(self._draw(self._generator("apart")))

    @property
    def learned(self) -> LearnedPDE:
        return LearnedPDE(self.model.solution)

    @cached_property
    def test(self) -> Batch:
        """Points (t, x) of the domain, at which errors are taken; in double precision."""
        n = 4096
        return self.place.sampler.draw(
            self.place.domain, self.place.time, n, self._generator("test")
        )

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for condition in self.problem.conditions.values():
            if isinstance(condition, Observed):
                for part in condition.draw(self.place, 0, torch.Generator()):
                    digest.update(part.numpy().tobytes())
        return digest.hexdigest()

    def stages(self) -> Iterator[Stage]:
        solve = self.problem.solve
        wanted: dict[str, Adam | LBFGS | GaussNewton] = {
            "Adam": solve.adam, "L-BFGS": solve.lbfgs, "Gauss-Newton": solve.gauss_newton,
        }  # fmt: skip
        for index, (name, optimiser) in enumerate(wanted.items(), start=1):
            if optimiser.steps:
                self._balance(index)
                yield self._stage(name, optimiser)

    def _stage(self, name: str, optimiser: Adam | LBFGS | GaussNewton) -> Stage:
        solve = self.problem.solve
        fixed = isinstance(optimiser, LBFGS)

        def batches(generator: torch.Generator, progress: float) -> Mapping[str, Batch]:
            step = round(progress * optimiser.steps)
            if step == 0 or (step % solve.refresh == 0 and not fixed):
                self.model.keep(self._draw(generator))
            return self.cast(self.model.batch())

        return Stage(
            name=name,
            module=self.model.solution,
            batches=batches,
            losses=lambda batch, progress: self.losses(batch),
            validate=lambda: float(torch.stack(list(self._apart().values())).sum()),
            optimiser=optimiser,
            stop=EarlyStop(max(1, optimiser.steps // solve.checks), 2 * solve.checks),
            linearise=self.linearised,
            monitor=lambda: monitored(self),
        )

    def losses(self, batch: Mapping[str, Batch]) -> dict[str, Tensor]:
        """The weighted mean square of each term."""
        found = means(self.groups, self.model.solution, batch)
        weights = dict(zip(self.terms, self.model.weights, strict=True))
        return {name: weights[name].to(value) * value for name, value in found.items()}

    def linearised(self, batch: Mapping[str, Batch]) -> tuple[Tensor, Tensor]:
        """Weighted residuals whose squares add up to the losses, and their Jacobian."""
        weights = dict(zip(self.terms, self.model.weights.tolist(), strict=True))
        parts = []
        for group in self.groups:
            points = batch[group.name]
            r, J = linearise(self.model.solution, group.rows, points)
            each = torch.tensor([weights[name] for name in group.columns]).to(r)
            root = (each / len(points[0])).sqrt().repeat(len(points[0]))
            parts.append((root * r, root.unsqueeze(-1) * J))
        return torch.cat([r for r, _ in parts]), torch.cat([J for _, J in parts])

    def metrics(self) -> Metrics:
        return figures(self)

    def headlines(self, metrics: Metrics) -> Mapping[str, str]:
        shown = {
            "relative L2 error": ("rel_l2", ".2e"),
            "relative maximum error": ("rel_linf", ".2e"),
            "value at the point": ("point_value", ".6g"),
            "its relative error": ("point_rel_error", ".2e"),
            "residual (root mean square)": ("residual_rms", ".2e"),
        }
        found = {
            label: format(metrics[key], spec)
            for label, (key, spec) in shown.items()
            if key in metrics
        }
        for name in self.problem.unknowns:
            if name in metrics:
                low, high = (metrics.get(f"{name}_{end}") for end in ("low", "high"))
                interval = "" if low is None else f" [{low:.4g}, {high:.4g}]"
                found[name] = f"{metrics[name]:.4g}{interval}"
        return found

    @torch.no_grad()
    def panels(self) -> list[Panel]:
        # The panels look at the fit, the fit need not know how.
        from hollowpde.problem.pde.panels import panels

        return panels(self)

    @torch.no_grad()
    def _apart(self) -> dict[str, Tensor]:
        return self.losses(self.apart)

    def _balance(self, stage: int) -> None:
        r"""Weigh the terms so that each moves the parameters alike, once for each stage.

        $$ w_k = \mathrm{tr} K_1 / \mathrm{tr} K_k, \quad \mathrm{tr} K_k = \frac1{n_k}
           \sum_n |\partial r_{kn} / \partial \theta|^2 $$

        Source: Wang, Yu and Perdikaris, When and why PINNs fail to train (2022).
        """
        if int(self.model.balanced) >= stage:  # a resumed fit
            return
        traces = dict.fromkeys(self.terms, 0.0)
        factors = dict.fromkeys(self.terms, 1.0)
        for group in self.groups:
            points = tuple(part[:_BALANCING] for part in self.apart[group.name])
            _, J = linearise(self.model.solution, group.rows, points)
            squares = J.square().sum(-1).reshape(-1, len(group.columns)).mean(0)
            for name, trace in zip(group.columns, squares.tolist(), strict=True):
                traces[name] += trace
                factors[name] = group.factor
        first = traces[self.terms[0]]
        for k, name in enumerate(self.terms):
            known = traces[name] > 0 and first > 0
            self.model.weights[k] = factors[name] * (first / traces[name] if known else 1.0)
        self.model.balanced.fill_(stage)

    def _draw(self, generator: torch.Generator) -> dict[str, Batch]:
        """Fresh points of every group, in double precision."""
        solve, place = self.problem.solve, self.place
        sampler = place.sampler
        out: dict[str, Batch] = {}
        n = solve.interior
        if isinstance(sampler, ResidualAdaptive):
            t, x = sampler.draw(place.domain, place.time, n * sampler.candidates, generator)
            chosen = sampler.choose(self._size(t, x), n, generator)
            out["interior"] = t[chosen], x[chosen]
        else:
            out["interior"] = sampler.draw(place.domain, place.time, n, generator)
        for group in self.groups[1:]:
            condition = self.problem.conditions[group.name]
            out[group.name] = condition.draw(place, solve.boundary, generator)
        return out

    @torch.no_grad()
    def _size(self, t: Tensor, x: Tensor) -> Tensor:
        """The size of the residual at points, `(n,)`."""
        points = self.cast({"interior": (t, x)})["interior"]
        return self.groups[0].rows(self.model.solution, *points).norm(dim=-1).double().cpu()

    def cast(self, batch: Mapping[str, Batch]) -> dict[str, Batch]:
        """Points as the networks take them."""
        device, dtype = self.compute.device, self.compute.dtype
        return {name: tuple(p.to(device, dtype) for p in parts) for name, parts in batch.items()}

    def _generator(self, purpose: str) -> torch.Generator:
        return torch.Generator().manual_seed(derived_seed(self.compute.seed, purpose))
