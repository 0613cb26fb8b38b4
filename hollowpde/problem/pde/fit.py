"""How a PDE problem is solved: its stages, and its figures."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hollowpde.operators.field import Field
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
# Points at which errors are taken, and how many are evaluated at once.
_TEST = 4096
_ROWS = 1024
# A loss so many times as large apart from the points of training is worth a warning.
_OVERFITTED = 100.0


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
        generator = self._generator("apart")
        self.apart = self.cast([group.draw(generator) for group in groups])

    @property
    def learned(self) -> LearnedPDE:
        return LearnedPDE(self.model.solution)

    @cached_property
    def test(self) -> Batch:
        """Points (t, x) of the domain, at which errors are taken; in double precision."""
        place, generator = self.place, self._generator("test")
        t, x = place.sampler.draw(place.domain, place.time, _TEST, generator)
        # In no order: some samplers sort their points by time.
        shuffled = torch.randperm(_TEST, generator=generator)
        return t[shuffled], x[shuffled]

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

        def batches(generator: torch.Generator, progress: float) -> list[Batch]:
            step = round(progress * optimiser.steps)
            if step == 0 or (step % solve.refresh == 0 and not fixed):
                self.model.keep(self._fresh(generator))
            return self.cast(self.model.batch)

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

    def losses(self, batch: Sequence[Batch]) -> dict[str, Tensor]:
        """The weighted mean square of each term."""
        found = means(self.groups, self.model.solution, batch)
        weights = dict(zip(self.terms, self.model.weights, strict=True))
        return {name: weights[name].to(value) * value for name, value in found.items()}

    def linearised(self, batch: Sequence[Batch]) -> tuple[Tensor, Tensor]:
        """Weighted residuals whose squares add up to the losses, and their Jacobian."""
        weights = dict(zip(self.terms, self.model.weights.tolist(), strict=True))
        parts = []
        for group, points in zip(self.groups, batch, strict=True):
            r, J = linearise(self.model.solution, group.rows, points)
            each = torch.tensor([weights[name] for name in group.columns]).to(r)
            root = (each / len(points[0])).sqrt().repeat(len(points[0]))
            # J is large, and nobody else's.
            parts.append((root * r, J.mul_(root.unsqueeze(-1))))
        if len(parts) == 1:
            return parts[0]
        return torch.cat([r for r, _ in parts]), torch.cat([J for _, J in parts])

    @torch.no_grad()
    def values(self, field: Field, t: Tensor, x: Tensor) -> Tensor:
        """A field at points in double precision, evaluated in the precision of the networks."""
        blocks = zip(t.split(_ROWS), x.split(_ROWS), strict=True)
        parts = [field(*points) for points in self.cast([*blocks])]
        return torch.cat([part.double().cpu() for part in parts])

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

    def sentences(self) -> list[str]:
        """A warning where the equation is met at the points of training, and not between them."""
        with torch.no_grad():
            total = sum(self.losses(self.cast(self.model.batch)).values(), torch.zeros(()))
        apart = float(sum(self._apart().values(), torch.zeros(())))
        if apart <= _OVERFITTED * float(total):
            return []
        return [
            f"the loss is {apart:.1e} at points apart from those of training, and "
            f"{float(total):.1e} at these: the network has more freedom than solve.interior "
            "points take away. Take more points, or a smaller network."
        ]

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
        generator = self._generator("balance")
        for group, points in zip(self.groups, self.apart, strict=True):
            # At random: points of a boundary come side by side, measurements by time.
            some = torch.randperm(len(points[0]), generator=generator)[:_BALANCING]
            few = tuple(part[some] for part in points)
            _, J = linearise(self.model.solution, group.rows, few)
            squares = J.square().sum(-1).reshape(-1, len(group.columns)).mean(0)
            for name, trace in zip(group.columns, squares.tolist(), strict=True):
                traces[name] += trace
                factors[name] = group.factor
        first = traces[self.terms[0]]
        for k, name in enumerate(self.terms):
            known = traces[name] > 0 and first > 0
            self.model.weights[k] = factors[name] * (first / traces[name] if known else 1.0)
        self.model.balanced.fill_(stage)

    def _fresh(self, generator: torch.Generator) -> list[Batch]:
        """Points of every group for training, in double precision."""
        equations, *conditions = self.groups
        return [self._interior(equations, generator), *(g.draw(generator) for g in conditions)]

    @torch.no_grad()
    def _interior(self, group: Group, generator: torch.Generator) -> Batch:
        """Those of the equations, more of them where the residual is large if that is asked."""
        sampler, n = self.place.sampler, self.problem.solve.interior
        if not isinstance(sampler, ResidualAdaptive):
            return group.draw(generator)
        many = n * sampler.candidates
        t, x = sampler.draw(self.place.domain, self.place.time, many, generator)
        (points,) = self.cast([(t, x)])
        size = group.rows(self.model.solution, *points).norm(dim=-1)
        chosen = sampler.choose(size.double().cpu(), n, generator)
        return t[chosen], x[chosen]

    def cast(self, batch: Sequence[Batch]) -> list[Batch]:
        """Points as the networks take them."""
        device, dtype = self.compute.device, self.compute.dtype
        return [tuple(part.to(device, dtype) for part in points) for points in batch]

    def _generator(self, purpose: str) -> torch.Generator:
        return torch.Generator().manual_seed(derived_seed(self.compute.seed, purpose))
