"""The same problems solved by DeepXDE, with PyTorch behind it."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hollowpde.bench.pde.cases import Case
from hollowpde.bench.pde.curve import Curve, Stopwatch
from hollowpde.bench.pde.recipes import Recipe
from hollowpde.problem.pde.conditions import Condition, Dirichlet, Initial, Periodic, spatial
from hollowpde.problem.pde.domain import Box
from hollowpde.problem.pde.problem import PDEProblem

# pip install deepxde
INSTALLED = importlib.util.find_spec("deepxde") is not None

# Steps of L-BFGS between two looks at the error and the clock; DeepXDE itself takes 1000.
_LBFGS_AT_ONCE = 20
# Between two looks the time grows by this factor and at least by so many seconds.
_GROWTH, _SECONDS = 1.02, 0.1


def solve(case: Case, recipe: Recipe, cap: float = math.inf, steps: int | None = None) -> Curve:
    """The error as training goes on.

    Arguments:
        case: what to solve.
        recipe: how.
        cap: seconds after which training ends, if the recipe has no fewer.
        steps: at most so many of each optimiser.
    """
    dde = _library()
    if steps is not None:
        recipe = replace(recipe, adam=min(recipe.adam, steps), lbfgs=min(recipe.lbfgs, steps))
    case.true  # noqa: B018  computed before the clock runs
    with _settings(dde, recipe):
        return _solve(dde, case, recipe, min(cap, recipe.cap))


def _library() -> Any:
    """The library, which chooses what is behind it and prints as it is imported."""
    os.environ["DDE_BACKEND"] = "pytorch"
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return importlib.import_module("deepxde")


@contextlib.contextmanager
def _settings(dde: Any, recipe: Recipe) -> Iterator[None]:
    """What DeepXDE keeps for the whole process, as the recipe asks for it, then as before."""
    options = dde.optimizers.config.LBFGS_options
    before, precision = dict(options), dde.config.default_float()
    dtype, generator = torch.get_default_dtype(), torch.get_rng_state()
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            dde.config.set_default_float(recipe.precision)
            dde.config.set_random_seed(0)
            dde.optimizers.set_LBFGS_options(maxiter=recipe.lbfgs)
            options["iter_per_step"] = min(_LBFGS_AT_ONCE, recipe.lbfgs)
            options["fun_per_step"] = math.ceil(1.25 * options["iter_per_step"])
            yield
        finally:
            options.update(before)
            dde.config.set_default_float(precision)
            torch.set_default_dtype(dtype)
            torch.set_rng_state(generator)


def _solve(dde: Any, case: Case, recipe: Recipe, cap: float) -> Curve:
    curve, watch = Curve(), Stopwatch()
    problem = case.problem
    net = _network(dde, problem, recipe)
    t, x = case.points
    inputs = _inputs(problem, t, x).to(torch.get_default_dtype())

    class Watched(dde.Model):
        def _test(self, verbose: int = 1) -> None:
            # What DeepXDE shows of its losses takes no time.
            with watch.paused():
                super()._test(verbose)

    class Watch(dde.callbacks.Callback):
        def on_epoch_end(self) -> None:
            at = watch.seconds
            last = curve.seconds[-1] if curve.seconds else 0.0
            ended = at > cap
            if ended or at > max(_GROWTH * last, last + _SECONDS):
                with watch.paused():
                    curve.note(at, case.error(lambda t, x: net(inputs).squeeze(-1)))
            if ended:
                self.model.stop_training = True

        def on_train_end(self) -> None:
            at = watch.seconds
            with watch.paused():
                curve.note(at, case.error(lambda t, x: net(inputs).squeeze(-1)))

    model = Watched(_data(dde, problem, recipe), net)
    callbacks = [Watch()]
    if recipe.resample:
        callbacks.append(dde.callbacks.PDEPointResampler(period=recipe.resample))
    model.compile("adam", lr=recipe.lr, decay=recipe.decay)
    # A step at which nothing is shown; the first and the last are always tested.
    silent = recipe.adam + 1
    model.train(recipe.adam, callbacks=callbacks, display_every=silent, verbose=0)
    if watch.seconds < cap and recipe.lbfgs:
        model.compile("L-BFGS")
        model.train(callbacks=[Watch()], verbose=0)
    curve.share = watch.share
    return curve


class DeepXDEJet:
    """What the equation asks of a solution, by DeepXDE's own derivatives; axes x, then t."""

    def __init__(self, dde: Any, points: Tensor, value: Tensor, dim: int) -> None:
        self._grad, self._points, self._column, self._dim = dde.grad, points, value, dim

    @property
    def value(self) -> Tensor:
        return self._column.squeeze(-1)

    @property
    def dt(self) -> Tensor:
        found: Tensor = self._grad.jacobian(self._column, self._points, i=0, j=self._dim)
        return found.squeeze(-1)

    @property
    def gradient(self) -> Tensor:
        found: Tensor = self._grad.jacobian(self._column, self._points, i=0)
        return found[:, : self._dim]

    @property
    def laplacian(self) -> Tensor:
        bends = [
            self._grad.hessian(self._column, self._points, i=k, j=k) for k in range(self._dim)
        ]
        return torch.stack(bends).sum(0).squeeze(-1)


def _data(dde: Any, problem: PDEProblem, recipe: Recipe) -> Any:
    """Points of training, the equation and the conditions that are terms of the loss."""
    box, equation = _box(problem), problem.equations["residual"]

    def residual(points: Tensor, value: Tensor) -> Tensor:
        jet: Any = DeepXDEJet(dde, points, value, box.dim)
        # What is known of the equation at the points needs no derivatives by them.
        x, t = points[:, : box.dim].detach(), points[:, box.dim :].detach()
        time = t.squeeze(-1) if problem.time else torch.zeros(len(x))
        return equation(jet, time, x).unsqueeze(-1)

    place = _geometry(dde, box)
    soft = [] if recipe.hard else list(problem.conditions.values())
    if problem.time is None:
        terms = [_condition(dde, place, c) for c in soft]
        return dde.data.PDE(place, residual, terms, recipe.domain, recipe.boundary)
    place = dde.geometry.GeometryXTime(place, dde.geometry.TimeDomain(*problem.time))
    return dde.data.TimePDE(
        place,
        residual,
        [_condition(dde, place, c) for c in soft],
        num_domain=recipe.domain,
        num_boundary=recipe.boundary,
        num_initial=recipe.initial,
    )


def _geometry(dde: Any, box: Box) -> Any:
    if box.dim == 1:
        return dde.geometry.Interval(box.low[0], box.high[0])
    return dde.geometry.Hypercube(list(box.low), list(box.high))


def _condition(dde: Any, place: Any, condition: Condition) -> Any:
    """A condition as a term of the loss."""
    if isinstance(condition, Initial):

        def start(points: np.ndarray) -> np.ndarray:
            x = torch.as_tensor(points[:, :-1])
            return spatial(condition.value, x).numpy()[:, None]

        return dde.icbc.IC(place, start, lambda _, on_initial: on_initial)
    if isinstance(condition, Dirichlet) and not callable(condition.value):
        wall = condition.value
        return dde.icbc.DirichletBC(place, lambda _: wall, lambda _, on_boundary: on_boundary)
    raise NotImplementedError(f"{condition!r} as a term of the loss")


def _network(dde: Any, problem: PDEProblem, recipe: Recipe) -> Any:
    """An FNN, which is periodic and meets the conditions if the recipe wants it so."""
    box = _box(problem)
    conditions = problem.conditions.values()
    periodic = any(isinstance(c, Periodic) for c in conditions)
    inputs = (2 if periodic else 1) * box.dim + (problem.time is not None)
    net = dde.nn.FNN([inputs, *recipe.hidden, 1], "tanh", recipe.initializer)
    if periodic:
        net.apply_feature_transform(_waves(box))
    if recipe.hard:
        net.apply_output_transform(_form(problem, box))
    return net


def _waves(box: Box) -> Callable[[Tensor], Tensor]:
    """The cosine and sine of every coordinate, one period to a side; then the time."""
    low, high = _corner(box.low), _corner(box.high)

    def features(points: Tensor) -> Tensor:
        x, t = points[:, : box.dim], points[:, box.dim :]
        angle = 2 * math.pi * (x - low.to(x)) / (high - low).to(x)
        return torch.cat([angle.cos(), angle.sin(), t], dim=-1)

    return features


def _form(problem: PDEProblem, box: Box) -> Callable[[Tensor, Tensor], Tensor]:
    """The output as a function that meets the conditions whatever the network is."""
    starts = [c.value for c in problem.conditions.values() if isinstance(c, Initial)]
    walls = any(isinstance(c, Dirichlet) for c in problem.conditions.values())
    low, high = _corner(box.low), _corner(box.high)

    def form(points: Tensor, value: Tensor) -> Tensor:
        x, t = points[:, : box.dim], points[:, box.dim :]
        if walls:
            # Each factor is 1 in the middle: without that the product is lost in many dimensions.
            bump = 4 * (x - low.to(x)) * (high.to(x) - x) / (high - low).to(x).square()
            value = value * bump.prod(-1, keepdim=True)
        if starts and problem.time:
            value = spatial(starts[0], x).unsqueeze(-1) + (t - problem.time[0]) * value
        return value

    return form


def _corner(numbers: Sequence[float]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def _inputs(problem: PDEProblem, t: Tensor, x: Tensor) -> Tensor:
    """Points as DeepXDE has them: x, then t if the problem has a time."""
    return torch.cat([x, t.unsqueeze(-1)], dim=-1) if problem.time else x


def _box(problem: PDEProblem) -> Box:
    if not isinstance(problem.domain, Box):
        raise NotImplementedError(f"{problem.domain!r} in DeepXDE")
    return problem.domain
