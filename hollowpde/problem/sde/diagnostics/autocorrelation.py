"""Autocorrelation along held-out paths and along re-simulated ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from hollowpde.data import Trajectories
from hollowpde.errors import InputError
from hollowpde.problem.panel import Array
from hollowpde.problem.sde.diagnostics.pool import pooled
from hollowpde.problem.sde.metrics import Resimulated

Integers = NDArray[np.int64]

_LAGS = 24
_DRAWS = 300


@dataclass(frozen=True, eq=False)
class Autocorrelation:
    """Autocorrelations at lags `(L,)`: of held-out paths, and of re-simulated ones, `(L, d)`.

    `lower` and `upper` hold 95 % of what as many paths of the fitted equation show, at each lag;
    `p_value` is of the mean square deviation over all lags and coordinates.
    """

    lags: Array
    observed: Array
    expected: Array
    lower: Array
    upper: Array
    p_value: float


def autocorrelation(pairs: Resimulated, held_out: Trajectories, seed: int) -> Autocorrelation:
    """Autocorrelations pooled over paths and times, with their spread by re-simulation.

    Observations of a path whose distance in time is nearest to a lag, and within half of the
    median step of it, make the pairs: of regular paths exactly those at that lag. Lags are
    multiples of the median step up to half of the longest path, in geometric progression where
    that is many. The band comes from drawing one of the re-simulated paths for each start.

    Arguments:
        pairs: what `resimulate` gave of `held_out`.
        held_out: the observed paths.
        seed: of the draws.

    Raises:
        InputError: no path has three observations, or `held_out` is not what `pairs` came from.
    """
    _, path = held_out.path.unique_consecutive(return_inverse=True)
    later = np.ones(len(path), dtype=bool)
    later[0] = False
    later[1:] = (path[1:] == path[:-1]).numpy()
    t = held_out.t.double().numpy()[later]
    number = pairs.path.numpy()
    if len(t) != len(number):
        raise InputError("held_out must be the paths of which pairs were simulated, but is not.")
    step, lags = _lags(t, number)
    pool = pooled(pairs)
    pool = pool - pool[0].mean(0)
    partners = [_partners(t, number, lag, step / 2) for lag in lags]
    # Of irregular paths some lag may have no pair.
    lags = lags[[len(i) > 0 for i, _ in partners]]
    sums = [_sums(pool, number, i, j) for i, j in partners if len(i)]
    whole = _moments(pool, number)
    replicates, n = whole.shape[1:3]
    generator = np.random.default_rng(seed)
    chosen = generator.integers(1, replicates, size=(_DRAWS, n))
    chosen = np.concatenate([np.zeros((1, n), dtype=np.int64), chosen])
    curves = _correlations(sums, whole, chosen)
    observed, drawn = curves[0], curves[1:]
    expected = drawn.mean(0)
    # A draw of one in r deviates from the mean of all by less than an independent one would:
    # (1 - 1/r) of the variance, where that of the held-out paths has (1 + 1/r).
    r = replicates - 1
    drawn = expected + (drawn - expected) * np.sqrt((r + 1) / max(r - 1, 1))
    lower, upper = np.quantile(drawn, (0.025, 0.975), axis=0)
    spread = drawn.std(0)
    spread = np.where(spread > 0, spread, 1)
    far, usual = ((((rho - expected) / spread) ** 2).mean((-2, -1)) for rho in (observed, drawn))
    p_value = float((1 + (usual >= far).sum()) / (1 + len(drawn)))
    return Autocorrelation(lags, observed, expected, lower, upper, p_value)


def _lags(t: Array, path: Integers) -> tuple[float, Array]:
    """The median step, and the lags."""
    gaps = np.diff(t)[path[1:] == path[:-1]]
    if not len(gaps):
        raise InputError("no path has three observations: there is no lag after the first.")
    step = float(np.median(gaps))
    last = np.flatnonzero(np.append(path[1:] != path[:-1], True))
    first = np.append(0, last[:-1] + 1)
    longest = float((t[last] - t[first]).max())
    count = max(1, int(longest / 2 / step + 1e-6))
    multiples = (
        np.unique(np.geomspace(1, count, _LAGS).round())
        if count > _LAGS
        else np.arange(1.0, count + 1)
    )
    return step, multiples * step


def _partners(t: Array, path: Integers, lag: float, within: float) -> tuple[Integers, Integers]:
    """Rows i and j of the same path with `t_j - t_i` nearest to the lag, and near enough."""
    since = t - t.min()
    # Paths one after the other on one axis of time, so far apart that none reaches the next.
    apart = 4 * (since.max() + lag + within)
    key = path * apart + since
    place = np.searchsorted(key, key + lag)
    before, after = np.clip(place - 1, 0, len(t) - 1), np.clip(place, 0, len(t) - 1)
    target = key + lag
    j = np.where(np.abs(key[before] - target) < np.abs(key[after] - target), before, after)
    # Never i itself: a lag is at least one step, and half of one is near.
    i = np.flatnonzero(np.abs(key[j] - target) <= within * (1 + 1e-6))
    return i, j[i]


def _sums(pool: Array, path: Integers, i: Integers, j: Integers) -> Array:
    """Sums over the pairs of each path of 1, x_i, x_j, x_i x_j: `(4, 1 + r, paths, d)`."""
    x, y = pool[:, i], pool[:, j]
    return _by_path(np.stack([np.ones_like(x), x, y, x * y]), path[i], int(path.max()) + 1)


def _moments(pool: Array, path: Integers) -> Array:
    """Sums over each path of 1, x, x^2: `(3, 1 + r, paths, d)`."""
    return _by_path(np.stack([np.ones_like(pool), pool, pool**2]), path, int(path.max()) + 1)


def _by_path(values: Array, path: Integers, paths: int) -> Array:
    """Sums of `(..., rows, d)` over the rows of each path, `(..., paths, d)`."""
    rows = np.moveaxis(values, -2, 0)
    of_path = csr_array((np.ones(len(path)), (path, np.arange(len(path)))), (paths, len(path)))
    sums = of_path @ rows.reshape(len(path), -1)
    return np.moveaxis(sums.reshape(paths, *rows.shape[1:]), 0, -2)


def _correlations(sums: list[Array], whole: Array, chosen: Integers) -> Array:
    """Autocorrelations `(draws, L, d)` where path k is played by replicate `chosen[draw, k]`."""
    plays = (chosen[:, None, :] == np.arange(whole.shape[1])[None, :, None]).astype(float)

    def drawn(part: Array) -> Array:
        return np.tensordot(part, plays, axes=((1, 2), (1, 2))).swapaxes(1, 2)

    count, total, square = drawn(whole)  # each (draws, d)
    mean = total / count
    variance = square / count - mean**2
    # A coordinate that does not vary is correlated with nothing.
    variance = np.where(variance > 0, variance, np.inf)
    out = []
    for part in sums:
        pairs, x, y, xy = drawn(part)
        out.append((xy - mean * (x + y) + pairs * mean**2) / pairs / variance)
    return np.stack(out, axis=1)
