"""Figures that say how good a fitted SDE is, on held-out paths."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import ks_2samp
from torch import Tensor

from hollowpde.data import SDE, Trajectories, simulate
from hollowpde.errors import InputError
from hollowpde.operators.dimwise import time_derivative
from hollowpde.problem.base import Metrics
from hollowpde.problem.sde.model import LearnedSDE
from hollowpde.residuals import fokker_planck

# Re-simulated paths for each held-out one: more make the comparison sharper, up to a point.
_REPLICATES = 4
_PERMUTATIONS = 400


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
            value = getattr(truth, name)(t, y)
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
    for name, field, true in zip(
        ("drift", "diffusion"), fields, truth_at(truth, held_out), strict=True
    ):
        wrong = (field(held_out.t, held_out.x) - true).double().square().mean(0)
        size = true.double().square().mean(0)
        metrics[f"{name}_rel_l2"] = float((wrong.sum() / size.sum()).sqrt())
        metrics[f"{name}_rel_l2_worst"] = float((wrong / size).sqrt().max())
    return metrics


@torch.no_grad()
def residual_rel_rms(learned: LearnedSDE, held_out: Trajectories) -> float:
    """The Fokker-Planck residual over d/dt log p, root mean squares at the held-out points."""
    fields = [learned.density, learned.sde.drift, learned.sde.diffusion]
    residual = fokker_planck()(fields, held_out.t, held_out.x)
    change = time_derivative(learned.density, held_out.t, held_out.x)
    return float((residual.double().square().mean() / change.double().square().mean()).sqrt())


def resimulate(sde: SDE, held_out: Trajectories, seed: int) -> list[tuple[Tensor, Tensor]]:
    """For each group of held-out paths with the same times: these, and paths of the fitted SDE.

    Each pair is `(observed (n, T, d), simulated (replicates, n, T, d))`; the simulated paths
    start where the observed ones do.
    """
    groups: dict[tuple[float, ...], list[Tensor]] = {}
    for t, x in held_out.each():
        if len(t) > 1:
            groups.setdefault(tuple(t.tolist()), []).append(x)
    pairs = []
    for index, (times, paths) in enumerate(groups.items()):
        observed = torch.stack(paths)
        starts = observed[:, 0].repeat(_REPLICATES, 1)
        simulated = simulate(
            sde, starts, torch.tensor(times, dtype=held_out.t.dtype), len(starts), seed + index
        )
        pairs.append((observed, simulated.x.reshape(_REPLICATES, *observed.shape)))
    return pairs


def marginal_ks_ratio(groups: list[tuple[Tensor, Tensor]], seed: int) -> float:
    """The largest two-sample KS distance of the marginals, over its 95 % level under the null.

    The largest distance between re-simulated and held-out paths over dimensions and times, and
    the 95 % quantile of the same number when a re-simulated path and the held-out one with the
    same start change places at random: an exact permutation test, whatever the correlation along
    the paths. A ratio below 1 means that no difference was found.
    """
    generator = np.random.default_rng(seed)
    observed_largest = 0.0
    null_largest = np.zeros(_PERMUTATIONS)
    for observed, simulated in groups:
        pool = torch.cat([observed[None], simulated]).double().numpy()  # (1 + r, n, T, d)
        r, n = pool.shape[:2]
        chosen = generator.integers(r, size=(_PERMUTATIONS, n))
        chosen = np.concatenate([np.zeros((1, n), dtype=chosen.dtype), chosen])
        # is_observed[p, k, i]: in permutation p, replicate k of path i plays the observed one.
        is_observed = chosen[:, None, :] == np.arange(r)[None, :, None]
        for values in pool[:, :, 1:].reshape(r * n, -1).T:
            distance = _ks_distances(values, is_observed.reshape(len(chosen), r * n))
            observed_largest = max(observed_largest, float(distance[0]))
            null_largest = np.maximum(null_largest, distance[1:])
    return observed_largest / float(np.quantile(null_largest, 0.95))


def _ks_distances(values: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Two-sample KS distances for many labellings `first` (p, n) of the same values (n,)."""
    label = first[:, np.argsort(values)].astype(np.float32)
    size = label.sum(1, keepdims=True)
    below_first = np.cumsum(label, 1) / size
    below_second = np.cumsum(1.0 - label, 1) / (label.shape[1] - size)
    return np.asarray(np.abs(below_first - below_second).max(1))


def ks_by_time(observed: Tensor, simulated: Tensor, dimension: int) -> list[float]:
    """KS distance of one coordinate at each time after the start."""
    return [
        float(
            ks_2samp(
                observed[:, k, dimension].numpy(), simulated[:, :, k, dimension].flatten().numpy()
            ).statistic
        )
        for k in range(1, observed.shape[1])
    ]
