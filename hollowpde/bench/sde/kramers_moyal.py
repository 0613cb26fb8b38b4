"""The package `kramersmoyal` on one long path, which is what it is made for."""

from __future__ import annotations

import importlib
import importlib.util
import math

import numpy as np
import torch
from torch import Tensor

from hollowpde.bench.sde.cases import Case, Estimate, Task
from hollowpde.data import SDE, Trajectories
from hollowpde.problem.stage import derived_seed

# pip install kramersmoyal
_package = (
    importlib.import_module("kramersmoyal") if importlib.util.find_spec("kramersmoyal") else None
)

# Multiples of the bandwidth that the package would choose itself.
_BANDWIDTHS = (0.5, 1.0, 2.0, 4.0, 8.0)
_LONGEST = 0.01

# Those with one dimension and a stationary distribution, without which there is no long path.
_PROBLEMS = ("ou_process", "double_well", "cir")


def applies(case: Case) -> bool:
    return _package is not None and case.problem in _PROBLEMS


def kramers_moyal(task: Task, steps: int | None) -> Estimate:
    """Moments of the increments of one path, as long as all paths of the task together.

    The first 80 % are fitted to, the next 10 % choose the bandwidth by the squared error of the
    next value, and the errors are taken on the last 10 %: this path is seldom where the others
    start. The square of the mean increment is taken off the second moment.
    """
    path = long_path(task)
    train, validation, test = np.split(path, [len(path) * 8 // 10, len(path) * 9 // 10])
    fits = [_moments(train, task.case.dt, factor) for factor in _BANDWIDTHS]

    def wrong(fit: tuple[np.ndarray, np.ndarray, np.ndarray]) -> float:
        predicted = np.interp(validation[:-1], fit[0], fit[1]) * task.case.dt
        return float(np.square(np.diff(validation) - predicted).mean())

    at, drift, diffusion = min(fits, key=wrong)

    def field(values: np.ndarray, x: Tensor) -> Tensor:
        return torch.as_tensor(np.interp(x.numpy(), at, values)).to(x)

    points = Trajectories(
        task.case.dt * torch.arange(len(test), dtype=torch.float64),
        torch.as_tensor(test).unsqueeze(1),
        torch.zeros(len(test), dtype=torch.long),
    )
    return Estimate(lambda t, x: field(drift, x), lambda t, x: field(diffusion, x), points)


def _moments(
    path: np.ndarray, dt: float, factor: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the path went, and drift and squared diffusion there."""
    assert _package is not None
    width = factor * _package.silvermans_rule(path[:, None])
    moments, (at,) = _package.km(path, powers=2, bw=width)
    seen = moments[0] > 0
    mean, half_square = moments[1, seen], moments[2, seen]
    return at[seen], mean / dt, (2 * half_square - mean**2) / dt


@torch.no_grad()
def long_path(task: Task) -> np.ndarray:
    """One path with as many observations as the task has, by Euler's rule in small steps."""
    observations, dt = len(task.problem.data.load()), task.case.dt
    substeps = math.ceil(dt / _LONGEST)
    h = dt / substeps
    generator = torch.Generator().manual_seed(derived_seed(task.seed, "long path"))
    x0 = task.simulated.x0
    x = x0(1, generator) if callable(x0) else x0.reshape(-1, 1)[:1]
    noise = math.sqrt(h) * torch.randn(observations - 1, substeps, 1, 1, generator=generator)
    return _euler(task.truth, x, noise, h)


def _euler(sde: SDE, x: Tensor, noise: Tensor, h: float) -> np.ndarray:
    """The path at the ends of the intervals; noise `(intervals, substeps, 1, 1)`."""
    t = torch.zeros(())
    seen = [x]
    for interval in noise:
        for kick in interval:
            x = x + h * sde.f(t, x) + sde.g(t, x) * kick
        seen.append(x)
    return torch.cat(seen).squeeze(1).double().numpy()
