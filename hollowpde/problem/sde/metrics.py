"""Figures that say how good a fitted SDE is, on held-out paths."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from hollowpde.data import SDE, Integrator, Trajectories
from hollowpde.errors import InputError
from hollowpde.operators.dimwise import time_derivative
from hollowpde.problem.base import Metrics
from hollowpde.problem.sde.ensemble import Ensemble
from hollowpde.problem.sde.learned import LearnedSDE
from hollowpde.problem.stage import derived_seed
from hollowpde.residuals import fokker_planck

# Re-simulated paths for each held-out one: more make the comparison sharper, up to a point.
_REPLICATES = 4
_PERMUTATIONS = 400
# Distinct times that are simulated exactly, and windows of time in which marginals are compared.
_INSTANTS = 400
_WINDOWS = 40
# The fewest paths of which a marginal is compared.
_FEWEST = 20


def truth_at(truth: SDE, points: Trajectories) -> tuple[Tensor, Tensor]:
    """True drift and squared diffusion at points, called as torchsde calls: one t at a time.

    Raises:
        InputError: truth.f or truth.g returns another shape than that of y.
    """
    drift, diffusion = torch.empty_like(points.x), torch.empty_like(points.x)
    for t in points.t.unique():
        rows = points.t == t
        y = points.x[rows]
        for name, out in (("f", drift), ("g", diffusion)):
            value = getattr(truth, name)(t.to(y.dtype), y)
            if value.shape != y.shape:
                raise InputError(
                    f"truth.{name} must return the shape {tuple(y.shape)} of y, but returned "
                    f"{tuple(value.shape)}."
                )
            out[rows] = value
    return drift, diffusion.square()


@torch.no_grad()
def errors_against_truth(learned: LearnedSDE, truth: SDE, held_out: Trajectories) -> Metrics:
    """Relative L2 errors of drift and squared diffusion over the held-out points.

    `sqrt(mean |estimate - true|^2 / mean |true|^2)`, pooled over time and dimensions, and for
    the worst single dimension.
    """
    metrics: Metrics = {}
    fields = (learned.sde.drift, learned.sde.diffusion)
    precise = held_out.double()
    for name, field, true in zip(
        ("drift", "diffusion"), fields, truth_at(truth, held_out), strict=True
    ):
        wrong = (field(precise.t, precise.x) - true).square().mean(0)
        size = true.double().square().mean(0)
        # Relative to a truth that is zero throughout, an error has no size.
        if size.sum() > 0:
            metrics[f"{name}_rel_l2"] = float((wrong.sum() / size.sum()).sqrt())
        if (size > 0).all():
            metrics[f"{name}_rel_l2_worst"] = float((wrong / size).sqrt().max())
    return metrics


@torch.no_grad()
def coverage(ensemble: Ensemble, truth: SDE, held_out: Trajectories) -> Metrics:
    """The share of held-out points, and dimensions, at which the 90 % band holds the truth."""
    precise = held_out.double()
    bands = (ensemble.drift, ensemble.diffusion)
    metrics: Metrics = {}
    for name, band, true in zip(
        ("drift", "diffusion"), bands, truth_at(truth, held_out), strict=True
    ):
        low, high = band(precise.t, precise.x)
        metrics[f"{name}_coverage"] = float(((low <= true) & (true <= high)).double().mean())
    return metrics


@torch.no_grad()
def parameter_metrics(learned: LearnedSDE) -> Metrics:
    """The user's own parameters, and the ends of their 90 % intervals if there is an ensemble."""
    intervals = {} if learned.ensemble is None else learned.ensemble.intervals()
    metrics: Metrics = {}
    for name in learned.parameters:
        low, high = intervals.get(name, (None, None))
        for suffix, numbers in (("_low", low), ("_high", high)):
            if numbers is not None:
                metrics |= {f"{label}{suffix}": end for label, end in entries(name, numbers)}
    # Last: an estimate is not lost to the end of another one's interval.
    for name, value in learned.parameters.items():
        metrics |= dict(entries(name, value))
    return metrics


def entries(name: str, values: Tensor) -> list[tuple[str, float]]:
    """Each number of a parameter, by name and place."""
    flat = values.flatten().tolist()
    return [(name if len(flat) == 1 else f"{name}[{k}]", v) for k, v in enumerate(flat)]


@torch.no_grad()
def residual_rel_rms(learned: LearnedSDE, held_out: Trajectories) -> float:
    """The Fokker-Planck residual over d/dt log p, root mean squares at the held-out points."""
    fields = [learned.density, learned.sde.drift, learned.sde.diffusion]
    precise = held_out.double()
    residual = fokker_planck()(fields, precise.t, precise.x)
    change = time_derivative(learned.density, precise.t, precise.x)
    return float((residual.square().mean() / change.square().mean()).sqrt())


@dataclass(frozen=True)
class Resimulated:
    """Held-out observations, and what the fitted SDE gives in their place.

    Each row is an observation after the first one of its path; the simulated paths start where
    the observed ones do and are seen at the same times. Rows of one window are compared.
    """

    path: Tensor  # (M,), counted from 0
    window: Tensor  # (M,)
    times: Tensor  # (windows,)
    observed: Tensor  # (M, d)
    simulated: Tensor  # (replicates, M, d)


@torch.no_grad()
def resimulate_seen(learned: LearnedSDE, held_out: Trajectories, seed: int) -> Resimulated:
    """Held-out paths re-simulated as they are observed.

    Where observations have noise, paths start from states that may have been seen as the starts,
    and are seen with noise of their own.
    """
    if learned.observation is None:
        return resimulate(learned.sde, held_out, seed)
    generator = torch.Generator().manual_seed(derived_seed(seed, "observe"))
    first, precise = _firsts(held_out), held_out.double()
    t, y = precise.t[first].repeat(_REPLICATES), precise.x[first].repeat(_REPLICATES, 1)
    starts = learned.observation.state(learned.density, t, y, generator).to(held_out.x)
    exact = resimulate(learned.sde, held_out, seed, starts)
    return replace(exact, simulated=learned.observation.seen(exact.simulated, generator))


def _firsts(data: Trajectories) -> Tensor:
    """Which rows are the first of their path, `(n,)`."""
    first = torch.ones(len(data.path), dtype=torch.bool)
    first[1:] = data.path[1:] != data.path[:-1]
    return first


@torch.no_grad()
def resimulate(
    sde: SDE, held_out: Trajectories, seed: int, starts: Tensor | None = None
) -> Resimulated:
    """Paths of the fitted SDE from the starts of the held-out paths, seen at the same times.

    Up to `_INSTANTS` distinct times are kept exactly; more are moved to the nearest of as many
    equidistant ones. All paths are carried along together, each from its own start. One path at
    least must have two observations. Other `starts` may be given, replicates one after another.
    """
    _, path = held_out.path.unique_consecutive(return_inverse=True)
    first = _firsts(held_out)
    if starts is None:
        starts = held_out.x[first].repeat(_REPLICATES, 1)
    grid, at = held_out.t.double().unique(return_inverse=True)
    if len(grid) > _INSTANTS:
        even = torch.linspace(float(grid[0]), float(grid[-1]), _INSTANTS, dtype=torch.float64)
        at = ((grid - even[0]) / (even[1] - even[0])).round().long()[at]
        grid = even
    begins = at[first].repeat(_REPLICATES)
    longest = float(grid.diff().median()) / 10
    noise_seed = derived_seed(seed, "resimulate")
    paths = Integrator(sde, starts, float(grid[0]), float(grid[-1]), noise_seed, longest, "srk")
    y = starts
    states = [y]
    for k in range(len(grid) - 1):
        y = paths.advance(y, float(grid[k]), float(grid[k + 1]))
        # Before its start a path only waits.
        y = torch.where((begins >= k + 1).unsqueeze(1), starts, y)
        states.append(y)
    simulated = torch.stack(states).unflatten(1, (_REPLICATES, -1))  # (T, r, n, d)
    later = ~first
    window = at[later] if len(grid) <= _WINDOWS else at[later] * _WINDOWS // len(grid)
    windows, window = window.unique(return_inverse=True)
    t = held_out.t[later].double()
    times = torch.stack([t[window == k].mean() for k in range(len(windows))])
    return Resimulated(
        path[later],
        window,
        times,
        held_out.x[later],
        simulated[at[later], :, path[later]].transpose(0, 1),
    )


def marginal_ks_ratio(pairs: Resimulated, seed: int) -> float:
    """The largest two-sample KS distance of the marginals, over its 95 % level under the null.

    The largest distance between re-simulated and held-out paths over dimensions and times, and
    the 95 % quantile of the same number when a re-simulated path and the held-out one with the
    same start change places at random: an exact permutation test, whatever the correlation along
    the paths. A ratio below 1 means that no difference was found. Times at which fewer than
    `_FEWEST` paths are seen are left out while there are others: any two so small samples are far
    apart, and would hide what the others show.
    """
    generator = np.random.default_rng(seed)
    replicates, n = 1 + len(pairs.simulated), int(pairs.path.max()) + 1
    chosen = generator.integers(replicates, size=(_PERMUTATIONS, n))
    chosen = np.concatenate([np.zeros((1, n), dtype=chosen.dtype), chosen])
    pool = torch.cat([pairs.observed[None], pairs.simulated]).double().numpy()  # (1 + r, M, d)
    counts = [len(pairs.path[pairs.window == k].unique()) for k in range(len(pairs.times))]
    largest = np.zeros(len(chosen))
    for k in range(len(pairs.times)):
        rows = (pairs.window == k).numpy()
        path = pairs.path.numpy()[rows]
        if counts[k] < min(_FEWEST, max(counts)):
            continue
        # is_observed[p, k, i]: in permutation p, replicate k of row i plays the observed one.
        is_observed = chosen[:, path][:, None, :] == np.arange(replicates)[None, :, None]
        first = is_observed.reshape(len(chosen), -1)
        for values in pool[:, rows].reshape(first.shape[1], -1).T:
            largest = np.maximum(largest, _ks_distances(values, first))
    return float(largest[0] / np.quantile(largest[1:], 0.95))


def _ks_distances(values: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Two-sample KS distances for many labellings `first` (p, n) of the same values (n,)."""
    label = first[:, np.argsort(values)].astype(np.float32)
    size = label.sum(1, keepdims=True)
    below_first = np.cumsum(label, 1) / size
    below_second = np.cumsum(1.0 - label, 1) / (label.shape[1] - size)
    return np.asarray(np.abs(below_first - below_second).max(1))
