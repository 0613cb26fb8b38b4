"""Energy distance of re-simulated and held-out states, over all coordinates jointly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hollowpde.errors import InputError
from hollowpde.problem.panel import Array
from hollowpde.problem.sde.diagnostics.pool import pooled
from hollowpde.problem.sde.metrics import Resimulated

_PERMUTATIONS = 400
# Windows of time that are compared, and paths in each: the work grows with their square.
_WINDOWS = 12
_PATHS = 200


@dataclass(frozen=True, eq=False)
class EnergyTest:
    """Energy distances through time, and what they are when there is no difference.

    Arguments:
        times: `(windows,)`.
        distance: `(windows,)`, in standard deviations.
        lower, upper: the 5 % and 95 % quantiles under the null, `(windows,)`.
        p_values: of each window, `(windows,)`.
        p_value: of all together, by the mean of the distances, each relative to its own mean under
            the null: differences that last add up.
    """

    times: Array
    distance: Array
    lower: Array
    upper: Array
    p_values: Array
    p_value: float


def energy_test(
    pairs: Resimulated,
    seed: int,
    *,
    permutations: int = _PERMUTATIONS,
    windows: int = _WINDOWS,
    paths: int = _PATHS,
) -> EnergyTest:
    r"""Whether re-simulated and held-out states have the same joint distribution, time by time.

    $$ 2 E|X - Y| - E|X - X'| - E|Y - Y'| $$

    in Euclidean norm after division by the standard deviations of all states of a window: zero
    only between equal distributions. A re-simulated path and the held-out one of the same start
    change places at random: an exact permutation test, whatever the correlation along the paths.

    Arguments:
        pairs: held-out states and simulated ones in their place.
        seed: of the permutations, and of the paths that are compared if there are too many.
        permutations: how many.
        windows: the most windows of time that are compared, evenly chosen.
        paths: the most paths that are compared.

    Raises:
        InputError: fewer than two paths, or never two at about the same time.

    Source:
        Szekely and Rizzo, Energy statistics: a class of statistics based on distances (2013).
    """
    generator = np.random.default_rng(seed)
    pool = pooled(pairs)
    path, window = pairs.path.numpy(), pairs.window.numpy()
    numbers = np.unique(path)
    if len(numbers) < 2:
        raise InputError("pairs must hold at least two paths: one cannot be told from another.")
    if len(numbers) > paths:
        numbers = generator.choice(numbers, paths, replace=False)
    # Which replicate plays the observed one, of each path in each permutation; first, as it is.
    chosen = generator.integers(len(pool), size=(permutations + 1, path.max() + 1))
    chosen[0] = 0
    kept = np.isin(path, numbers)
    shown = (
        np.linspace(0, len(pairs.times) - 1, min(windows, len(pairs.times))).round().astype(int)
    )
    used, statistics = [], []
    for k in np.unique(shown):
        rows = kept & (window == k)
        if rows.sum() >= 2:
            used.append(k)
            statistics.append(_distances(pool[:, rows], chosen[:, path[rows]]))
    if not used:
        raise InputError("pairs must hold a window of time in which two paths are seen.")
    distances = np.array(statistics)  # (windows, 1 + permutations)
    # Each relative to its mean, so that no window of larger distances drowns the others.
    relative = (distances / distances.mean(1, keepdims=True)).mean(0)
    lower, upper = np.quantile(distances[:, 1:], (0.05, 0.95), axis=1)
    return EnergyTest(
        times=pairs.times.double().numpy()[used],
        distance=distances[:, 0],
        lower=lower,
        upper=upper,
        p_values=_p_value(distances),
        p_value=float(_p_value(relative[None])[0]),
    )


def _distances(pool: Array, chosen: NDArray[np.int64]) -> Array:
    """Energy distances `(p,)` of states `(replicates, n, d)`: the chosen `(p, n)` and the rest."""
    replicates, n, d = pool.shape
    points = pool.reshape(-1, d)
    spread = points.std(0)
    # A coordinate that does not vary tells no difference.
    scaled = torch.as_tensor(points / np.where(spread > 0, spread, 1), dtype=torch.float32)
    gaps = torch.cdist(scaled, scaled, compute_mode="donot_use_mm_for_euclid_dist")
    is_first = chosen[:, None, :] == np.arange(replicates)[None, :, None]
    first = torch.as_tensor(is_first.reshape(len(chosen), -1), dtype=torch.float32)
    # The distance is a quadratic form of the difference of the two empirical measures.
    signed = first / n - (1 - first) / (n * (replicates - 1))
    return -np.asarray(((signed @ gaps) * signed).sum(1).double().numpy())


def _p_value(statistics: Array) -> Array:
    """The share of permutations, with what was seen among them, that are at least as large."""
    return np.asarray((statistics >= statistics[:, :1]).mean(1))
