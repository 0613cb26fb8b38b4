"""Kernel density estimates put into the Fokker-Planck equation: what needs no optimiser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import linalg, special
from torch import Tensor

from hollowpde.bench.sde.cases import Estimate, Task
from hollowpde.data import Trajectories
from hollowpde.problem.stage import derived_seed

Array = NDArray[np.float64]

# Bandwidths of densities, in those of Scott's rule.
_FACTORS = (0.3, 0.5, 0.7, 1.0, 1.4, 2.0)
# On a line: points of the grid, and bandwidths of the regression in standard deviations of x.
_GRID = 200
_WIDTHS = (0.02, 0.04, 0.08, 0.15, 0.3, 0.6)
# In the plane: points at each time, features along each direction of the drift, and ridges.
_POINTS = 300
_FEATURES = 60
_RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
_FOLDS = 5


def kernels(task: Task, steps: int | None) -> Estimate:
    """Drift and a constant D, from kernel density estimates at each time.

    The bandwidth of each density is chosen by held-out likelihood and widened as its derivatives
    need it, everything else is chosen by leaving out times.
    """
    train, validation = (part.double() for part in task.split[:2])
    densities = [
        Density.chosen(own, held_out, order=1 if train.dim == 1 else 2)
        for own, held_out in zip(_by_time(train), _by_time(validation), strict=True)
    ]
    times = np.unique(train.t.numpy())
    if train.dim == 1:
        return _on_a_line(times, densities)
    return _in_the_plane(times, densities, np.random.default_rng(derived_seed(task.seed, "kde")))


class Derivatives(NamedTuple):
    """p, its gradient and its second derivatives along the axes: `(n,)`, `(n, d)`, `(n, d)`."""

    p: Array
    first: Array
    second: Array


@dataclass(frozen=True)
class Density:
    """Gaussian kernels around samples `(n, d)`, of widths `(d,)`."""

    samples: Array
    width: Array

    @classmethod
    def chosen(cls, samples: Array, held_out: Array, order: int) -> Density:
        """With the multiple of Scott's rule under which held-out samples are likeliest.

        Widened for derivatives of some order, as the normal reference rule says.
        """
        n, d = samples.shape
        scott = samples.std(0) * n ** (-1 / (d + 4))
        tried = [cls(samples, factor * scott) for factor in _FACTORS]
        best = max(tried, key=lambda density: float(np.log(density(held_out) + 1e-300).mean()))
        return cls(samples, best.width * _reference(n, d, order) / _reference(n, d, 0))

    def __call__(self, x: Array) -> Array:
        """The density at points `(m, d)`."""
        return np.asarray(self._kernels(self._away(x)).mean(1))

    def below(self, x: Array) -> Array:
        """The probability of what is less, on a line."""
        return np.asarray(special.ndtr(self._away(x)[0]).mean(1))

    def derivatives(self, x: Array) -> Derivatives:
        """Of the density, at points `(m, d)`."""
        u = self._away(x)
        k = self._kernels(u)
        first = -(k * u).mean(2).T / self.width
        second = (k * (u**2 - 1)).mean(2).T / self.width**2
        return Derivatives(k.mean(1), first, second)

    def _away(self, x: Array) -> Array:
        """In widths, `(d, m, n)`."""
        return (x.T[:, :, None] - self.samples.T[:, None]) / self.width[:, None, None]

    def _kernels(self, u: Array) -> Array:
        volume = np.prod(self.width * np.sqrt(2 * np.pi))
        return np.asarray(np.exp(-0.5 * (u**2).sum(0)) / volume)


def _reference(n: int, d: int, order: int) -> float:
    """The bandwidth for derivatives of a normal density, in its standard deviations.

    Source:
        Chacon, Duong and Wand, Asymptotics for general multivariate kernel density derivative
        estimators (2011).
    """
    return float((4 / (d + 2 * order + 2) / n) ** (1 / (d + 2 * order + 4)))


def _on_a_line(times: Array, densities: Sequence[Density]) -> Estimate:
    r"""From the velocity of probability, v = -d_t F / p, that is f - D/2 d_x log p.

    Both v and the score are freed of what is a function of x alone, by kernel regression; what is
    left of v over what is left of the score is -D/2 (Robinson, Root-n-consistent semiparametric
    regression, 1988). All is weighted by p^2, by which the flux is fitted.
    """
    pooled = np.concatenate([density.samples for density in densities])
    low, high = np.quantile(pooled, [0.0005, 0.9995])
    grid = np.linspace(low, high, _GRID)
    at = grid[:, None]
    rate = np.gradient(np.stack([d.below(at) for d in densities]), times, axis=0, edge_order=2)
    values = [density.derivatives(at) for density in densities]
    p = np.stack([value.p for value in values]) + 1e-12 / np.ptp(grid)
    v = -rate / p
    score = np.stack([value.first[:, 0] for value in values]) / p
    weight = p**2
    numerators = weight, weight * v, weight * score

    def regress(width: float) -> tuple[float, float, Array]:
        """How wrong it is at times left out, D / 2, and the drift on the grid."""
        kernel = np.exp(-0.5 * ((grid[:, None] - grid) / (width * pooled.std())) ** 2)
        # Sums over all other times; those over the own one as well, for the drift in the end.
        w, wv, ws = (part @ kernel for part in numerators)
        own = [np.maximum(w.sum(0) - w, 1e-300), wv.sum(0) - wv, ws.sum(0) - ws]
        v_left, s_left = v - own[1] / own[0], score - own[2] / own[0]
        half = -float((weight * v_left * s_left).sum() / (weight * s_left**2).sum())
        wrong = float((weight * (v_left + half * s_left) ** 2).sum())
        total = np.maximum(w.sum(0), 1e-300)
        return wrong, half, (wv.sum(0) + half * ws.sum(0)) / total

    _, half, drift = min((regress(width) for width in _WIDTHS), key=lambda found: found[0])

    def f(t: Tensor, x: Tensor) -> Tensor:
        return torch.as_tensor(np.interp(x.double().numpy(), grid, drift))

    return Estimate(f, lambda t, x: torch.full_like(x.double(), 2 * half))


def _in_the_plane(
    times: Array, densities: Sequence[Density], generator: np.random.Generator
) -> Estimate:
    r"""By least squares of the equation divided by p, at samples.

    $$ \frac{\partial_t p}{p} = -\nabla \cdot f - f \cdot \frac{\nabla p}{p}
       + \sum_i \frac{D_i}{2} \frac{\partial_{ii} p}{p} $$

    The drift is linear in a constant, x and Gaussian bumps around samples, with a ridge on the
    bumps: of flows that leave no trace it takes the smallest. D is constant.
    """
    pooled = np.concatenate([density.samples for density in densities])
    features = _Features(pooled, generator)
    design, target, fold = [], [], []
    for k, density in enumerate(densities):
        chosen = generator.permutation(len(density.samples))[:_POINTS]
        x = density.samples[chosen]
        p, first, second = density.derivatives(x)
        low = max(0, min(k - 1, len(times) - 3))
        near = slice(low, low + 3)
        nearby = np.stack([other(x) for other in densities[near]])
        rate = np.gradient(nearby, times[near], axis=0, edge_order=2)[k - low]
        value, gradient = features(x)
        rows = [-gradient[:, :, i] - value * (first[:, i] / p)[:, None] for i in range(x.shape[1])]
        design.append(np.concatenate([*rows, 0.5 * second / p[:, None]], axis=1))
        target.append(rate / p)
        fold.append(np.full(len(x), k % _FOLDS))
    A, y, of = np.concatenate(design), np.concatenate(target), np.concatenate(fold)
    penalty = np.concatenate(
        [np.tile(features.penalty, pooled.shape[1]), np.zeros(pooled.shape[1])]
    )

    def solved(rows: NDArray[np.bool_], ridge: float) -> Array:
        left = A[rows]
        normal = left.T @ left / len(left) + np.diag(ridge * penalty + 1e-9)
        return np.asarray(linalg.solve(normal, left.T @ y[rows] / len(left), assume_a="pos"))

    def wrong(ridge: float) -> float:
        parts = [(of == k, solved(of != k, ridge)) for k in range(_FOLDS)]
        return sum(float(((y[rows] - A[rows] @ c) ** 2).sum()) for rows, c in parts)

    found = solved(of >= 0, min(_RIDGES, key=wrong))
    d = pooled.shape[1]
    coefficients, D = found[:-d].reshape(d, -1), torch.as_tensor(found[-d:])

    def f(t: Tensor, x: Tensor) -> Tensor:
        return torch.as_tensor(features(x.double().numpy())[0] @ coefficients.T)

    return Estimate(f, lambda t, x: D.expand(x.shape))


class _Features:
    """One, x, and bumps around some of the samples, all of standardised x."""

    def __init__(self, samples: Array, generator: np.random.Generator) -> None:
        self.shift, self.scale = samples.mean(0), samples.std(0)
        chosen = generator.permutation(len(samples))[:_FEATURES]
        self.centres = (samples[chosen] - self.shift) / self.scale
        linear = 1 + samples.shape[1]
        self.penalty = np.concatenate([np.zeros(linear), np.ones(_FEATURES)])

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Values `(n, K)` and gradients `(n, K, d)`."""
        z = (x - self.shift) / self.scale
        away = z[:, None] - self.centres
        bumps = np.exp(-0.5 * (away**2).sum(2))
        value = np.concatenate([np.ones_like(z[:, :1]), z, bumps], axis=1)
        flat = np.zeros((len(x), 1 + x.shape[1], x.shape[1]))
        flat[:, 1:] = np.eye(x.shape[1])
        gradient = np.concatenate([flat, -away * bumps[:, :, None]], axis=1) / self.scale
        return value, gradient


def _by_time(data: Trajectories) -> list[Array]:
    """The samples of each time."""
    return [data.x[data.t == t].numpy() for t in data.t.unique()]
