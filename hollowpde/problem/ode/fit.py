"""How an equation is learned from paths: by multiple shooting through a solver."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from hollowpde.data import Points, Split, Trajectories
from hollowpde.errors import TrainingError
from hollowpde.likelihoods.phi import phi
from hollowpde.nets import KnownFunction
from hollowpde.operators.dimwise import dimwise
from hollowpde.operators.field import Field
from hollowpde.problem.base import Compute, Fit, Metrics
from hollowpde.problem.ode.learned import LearnedODE, ODEModel
from hollowpde.problem.ode.settings import Matching, Shooting
from hollowpde.problem.ode.stretch import Solver
from hollowpde.problem.panel import Panel
from hollowpde.problem.stage import Stage
from hollowpde.solvers import DenseNewton, JacobiNewtonBDF

if TYPE_CHECKING:
    from hollowpde.problem.ode.problem import ODEProblem

# Paths by which weights are chosen.
_VALIDATION = 16
_MAX_STEPS = 20_000
# How the truth is solved.
_EXACTLY = Solver(JacobiNewtonBDF(inner=DenseNewton()), 1e-7, 1e-9, 100_000)


class Predicted(NamedTuple):
    """Held-out paths, solved from their first observations."""

    x: Tensor  # (M, d), at every observation
    n_f: int
    why: str  # empty if all were solved


@dataclass(frozen=True)
class Bundle:
    """Paths side by side, for one solve.

    Arguments:
        t, x: where each begins, `(P,)` and `(P, d)`.
        length: of each, `(P,)`.
        share, place: of each row, how far along its path it is, and the number of the path.
    """

    t: Tensor
    x: Tensor
    length: Tensor
    share: Tensor
    place: Tensor

    @classmethod
    def of(cls, points: Points) -> Bundle:
        _, place, count = points.path.unique_consecutive(return_inverse=True, return_counts=True)
        last = count.cumsum(0) - 1
        first = last - count + 1
        start, length = points.t[first], points.t[last] - points.t[first]
        length = torch.where(length > 0, length, 1.0)  # of a single observation
        share = (points.t - start[place]) / length[place]
        return cls(start, points.x[first], length, share.clamp(0, 1), place)

    @torch.no_grad()
    def solved(self, field: Field, solver: Solver) -> Predicted:
        at, which = self.share.unique(return_inverse=True)
        y, found = solver.solve(field, self.t, self.x, self.length, at.tolist())
        why = "" if bool(found.success.all()) else found.status
        return Predicted(y[which, self.place], found.stats.n_f, why)

    @torch.no_grad()
    def along(self, field: Field, solver: Solver, shares: Sequence[float], paths: int) -> Tensor:
        """The first paths at shares of their lengths, `(T, P, d)`; nan where they do not get."""
        some = slice(paths)
        return solver.solve(field, self.t[some], self.x[some], self.length[some], shares)[0]


class ODEFit(Fit):
    """An equation with its data, being learned; `split` holds them in the user's units."""

    model: ODEModel

    def __init__(
        self, problem: ODEProblem, split: Split, model: ODEModel, compute: Compute
    ) -> None:
        self.problem, self.split, self.model, self.compute = problem, split, model, compute
        units = model.standardisation
        self.train = units.points(split.train, compute.dtype)
        self.validation = self._bundle(_some(split.validation))
        self.test = self._bundle(split.test)
        setting = problem.shooting
        self.solver = Solver(setting.method, setting.rtol, setting.atol, setting.max_steps)
        self.evaluation = Solver(problem.method, problem.rtol, problem.atol, _MAX_STEPS)
        # Of the last validation, for the history.
        self._error, self._n_f = math.nan, 0

    @property
    def learned(self) -> LearnedODE:
        return LearnedODE(self.model)

    @cached_property
    def predicted(self) -> Predicted:
        """The test paths by the fitted field, in the user's units."""
        return self._physical(self.test.solved(self.model.field, self.evaluation))

    @cached_property
    def true(self) -> Tensor | None:
        """The test paths by the true field from the same places, `(M, d)`."""
        if self.problem.truth is None:
            return None
        return self._seen.solved(KnownFunction(self.problem.truth), _EXACTLY).x

    @cached_property
    def _seen(self) -> Bundle:
        """The test paths in the user's units."""
        test = self.split.test.double()
        return Bundle.of(Points(test.t, test.x, test.path))

    def curves(self, shares: Sequence[float], paths: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """The first test paths at shares of their lengths, in the user's units.

        Returns:
            Times since the start `(T, P)`, values `(T, P, d)` by the fitted and the true field.
        """
        since = torch.tensor(shares, dtype=torch.float64)[:, None] * self._seen.length[:paths]
        units = self.model.standardisation
        fitted = self.test.along(self.model.field, self.evaluation, shares, paths)
        fitted = units.shift + units.scale * fitted.double()
        if self.problem.truth is None:
            return since, fitted, None
        exact = self._seen.along(KnownFunction(self.problem.truth), _EXACTLY, shares, paths)
        return since, fitted, exact

    def fingerprint(self) -> str:
        parts = [part.fingerprint() for part in self.split]
        return hashlib.sha256("".join(parts).encode()).hexdigest()

    def stages(self) -> Iterator[Stage]:
        matching, shooting = self.problem.matching, self.problem.shooting
        if matching.optimiser.steps:
            yield self._stage("matching", matching, 1, self.matching_losses)
        if shooting.optimiser.steps:
            for length in shooting.lengths:
                name = f"shooting, {length} interval{'s' if length > 1 else ''}"
                yield self._stage(name, shooting, length, partial(self.losses, length))

    def _stage(
        self,
        name: str,
        setting: Matching | Shooting,
        length: int,
        losses: Callable[[Tensor, float], Mapping[str, Tensor]],
    ) -> Stage:
        return Stage(
            name=name,
            module=self.model.field,
            batches=self._batches(length, setting.batch),
            losses=losses,
            validate=self._validate,
            optimiser=setting.optimiser,
            stop=setting.stop,
            monitor=lambda: {"evaluations": float(self._n_f), "error": self._error},
        )

    def matching_losses(self, rows: Tensor, progress: float) -> Mapping[str, Tensor]:
        """The mean squared gap between an exponential step and the next observation."""
        points = self.train
        both = torch.cat([rows, rows + 1])
        value, slope = dimwise(self.model.field, points.t[both], points.x[both], order=1)
        t0, t1 = points.t[both].chunk(2)
        (z0, z1), (d0, d1), (f0, f1) = (part.chunk(2) for part in (points.x[both], slope, value))
        h, D = (t1 - t0).unsqueeze(-1), (d0 + d1) / 2
        rest0, rest1 = f0 - D * z0, f1 - D * z1
        predicted = (
            (h * D).exp() * z0 + h * phi(h * D, 1) * rest0 + h * phi(h * D, 2) * (rest1 - rest0)
        )
        return {"squared error": (predicted - z1).square().mean()}

    def losses(self, length: int, rows: Tensor, progress: float) -> Mapping[str, Tensor]:
        """The mean squared gap between solutions from some rows and the observations that follow.

        Raises:
            TrainingError: no stretch can be solved.
        """
        points, gaps = self.train, []
        x, solved = points.x[rows], torch.ones(len(rows), dtype=torch.bool)
        for k in range(length):
            t, following = points.t[rows + k], rows + k + 1
            (x,), found = self.solver.solve(self.model.field, t, x, points.t[following] - t)
            solved = solved & found.success
            if not solved.any():
                raise TrainingError(
                    f"no stretch of the batch could be solved by {self.solver.method}: "
                    f"{found.status} Lower shooting.optimiser.lr, raise shooting.max_steps, or "
                    "take a method for stiff systems."
                )
            x = torch.where(solved.unsqueeze(-1), x, points.x[following])
            gaps.append((x - points.x[following])[solved].square().mean())
        return {"squared error": torch.stack(gaps).mean()}

    def metrics(self) -> Metrics:
        """Figures on the test paths, each solved from its first observation.

        `rel_error` is the relative L2 error over all their observations, component by component
        and in the mean square over components; from the true solution that starts at the same
        place where the truth is known, else from the data. `rel_error_data` is from the data,
        noise included, `rel_error_worst` that of the worst component.
        """
        found = self.predicted
        metrics: Metrics = {"n_f": found.n_f}
        if found.why:
            return metrics
        data = self.split.test.x.double()
        errors = relative(found.x, data if self.true is None else self.true)
        metrics |= {
            "rel_error": float(errors.square().mean().sqrt()),
            "rel_error_worst": float(errors.max()),
            "rel_error_data": float(relative(found.x, data).square().mean().sqrt()),
        }
        return metrics

    def headlines(self, metrics: Metrics) -> Mapping[str, str]:
        shown = {
            "held-out error": ("rel_error", ".2%"),
            "from the data, noise included": ("rel_error_data", ".2%"),
            "evaluations for all held-out paths": ("n_f", ".0f"),
        }
        return {
            label: format(metrics[key], spec)
            for label, (key, spec) in shown.items()
            if key in metrics
        }

    def sentences(self) -> list[str]:
        why = self.predicted.why
        return [f"held-out paths could not be solved by the fitted field: {why}"] if why else []

    @torch.no_grad()
    def panels(self) -> list[Panel]:
        # The panels look at the fit, the fit need not know how.
        from hollowpde.problem.ode.fit_panels import panels

        return panels(self)

    def _bundle(self, data: Trajectories) -> Bundle:
        return Bundle.of(self.model.standardisation.points(data, self.compute.dtype))

    def _batches(self, length: int, batch: int) -> Callable[[torch.Generator, float], Tensor]:
        path = self.train.path
        starts = (path[:-length] == path[length:]).nonzero()[:, 0]
        size = min(batch, len(starts))

        def drawn(generator: torch.Generator, progress: float) -> Tensor:
            return starts[torch.randint(len(starts), (size,), generator=generator)]

        return drawn

    def _validate(self) -> float:
        """The error on held-out paths; infinite where they cannot be solved."""
        found = self.validation.solved(self.model.field, self.evaluation)
        self._n_f = found.n_f
        if found.why:
            self._error = math.inf
            return math.inf
        units = self.model.standardisation
        data = _some(self.split.validation).x.double()
        predicted = self._physical(found)
        gap = ((predicted.x - data) / units.scale).square().mean()
        self._error = float(relative(predicted.x, data).square().mean().sqrt())
        return float(gap)

    def _physical(self, found: Predicted) -> Predicted:
        units = self.model.standardisation
        return found._replace(x=units.shift + units.scale * found.x.double())


def relative(x: Tensor, exact: Tensor) -> Tensor:
    """The relative L2 error of each component, `(d,)`."""
    size = exact.square().mean(0).sqrt()
    return (x - exact).square().mean(0).sqrt() / torch.where(size > 0, size, 1.0)


def _some(data: Trajectories) -> Trajectories:
    """The first paths."""
    paths = data.path.unique_consecutive()[:_VALIDATION]
    return data.select(torch.isin(data.path, paths))
