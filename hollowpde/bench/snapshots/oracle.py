"""Moment equations with the true functional form: what the best informed could get.

Made without anything of the library's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import interpolate, linalg
from torch import Tensor

from hollowpde.bench.sde.cases import Estimate, Task
from hollowpde.errors import InputError
from hollowpde.problem.stage import derived_seed

Array = NDArray[np.float64]
Term = Callable[[Array], Array]

# Cosines that are drawn, and the shortest and longest of their lengths in standard deviations.
_COSINES = 96
_LENGTHS = (0.3, 2.5)
# Combinations of them that vary less than this share of the strongest are dropped.
_CUT = 1e-3
# Added to the variances that the equations are weighed by, as a share of each: where all samples
# are close together they tell little of how much functions vary.
_RIDGE = 1e-2
_ROUNDS = 8


@dataclass(frozen=True)
class Form:
    """An equation but for its coefficients, in which it is linear.

    Arguments:
        drift: terms `(i, h)`: some multiple of h(x) is part of the drift of coordinate i.
        diffusion: the same of the squared diffusion.
    """

    drift: Sequence[tuple[int, Term]]
    diffusion: Sequence[tuple[int, Term]]

    def __call__(self, coefficients: Sequence[float], x: Array) -> tuple[Array, Array]:
        """Drift and squared diffusion at x `(n, d)`; coefficients in the order of the terms."""
        f, D = np.zeros_like(x), np.zeros_like(x)
        terms = [(f, *term) for term in self.drift] + [(D, *term) for term in self.diffusion]
        for c, (out, i, h) in zip(coefficients, terms, strict=True):
            out[:, i] += c * h(x)
        return f, D


def oracle(task: Task, steps: int | None) -> Estimate:
    """Generalised least squares of the moment equations over the coefficients of the truth."""
    if task.case.problem not in FORMS:
        raise InputError(f"the oracle does not know the form of {task.case.problem!r}.")
    form = FORMS[task.case.problem]
    train = task.split.train.double()
    times, label = np.unique(train.t.numpy(), return_inverse=True)
    x = train.x.numpy()
    samples = [x[label == k] for k in range(len(times))]
    found = coefficients(form, times, samples, derived_seed(task.seed, "oracle"))

    def field(k: int, at: Tensor) -> Tensor:
        return torch.as_tensor(form(found.tolist(), at.double().numpy())[k])

    return Estimate(lambda t, x: field(0, x), lambda t, x: field(1, x))


def coefficients(form: Form, times: Array, samples: Sequence[Array], seed: int) -> Array:
    r"""Those with which the mean of every test function changes as the equation says.

    Between neighbouring times, `E phi(X_b) - E phi(X_a) = int E L phi(X_t) dt`, the integral by
    cubic splines: `y = A c` plus noise of a covariance V that depends on c. A has noise too,
    correlated with that of y - A c, so that `A' V^-1 (y - A c)` has another expectation than
    zero: it is taken off. And V has noise, so that each half of the samples is weighed by the
    covariance of the other.

    Source:
        Hansen (1982); of the bias, Newey and Smith, Higher order properties of GMM and
        generalized empirical likelihood estimators (2004).
    """
    generator = np.random.default_rng(seed)
    functions = _Functions(np.concatenate(samples), generator)
    mixed = [own[generator.permutation(len(own))] for own in samples]
    halves = [_Equations(form, functions, times, [own[k::2] for own in mixed]) for k in (0, 1)]
    c = np.zeros(len(form.drift) + len(form.diffusion))
    for _ in range(_ROUNDS):
        inverses = [linalg.inv(half.covariance(c)) for half in halves]
        pairs = list(zip(halves, reversed(inverses), strict=True))
        bias = np.sum([half.bias(inverse) for half, inverse in pairs], axis=0)
        left = np.sum([half.A.T @ inverse @ half.A for half, inverse in pairs], axis=0)
        right = np.sum([half.A.T @ inverse @ half.y for half, inverse in pairs], axis=0)
        c = linalg.solve(left - bias[:, 1:], right - bias[:, 0])
    return np.asarray(c)


class _Functions:
    """Cosines of random directions, lengths and phases, made uncorrelated on samples."""

    def __init__(self, x: Array, generator: np.random.Generator) -> None:
        d, (low, high) = x.shape[1], np.log(_LENGTHS)
        self.shift = x.mean(0)
        lengths = np.exp(generator.uniform(low, high, (_COSINES, 1))) * np.sqrt(d)
        self.omega = generator.normal(size=(_COSINES, d)) / lengths / x.std(0)
        self.phase = generator.uniform(0, 2 * np.pi, _COSINES)
        variance, direction = linalg.eigh(np.cov(np.cos(self._angle(x)).T))
        kept = variance > _CUT * variance[-1]
        self.mixing = direction[:, kept] / np.sqrt(variance[kept])

    def __call__(self, form: Form, x: Array) -> Array:
        """The functions, and what each term makes of them: `(n, 1 + terms, M)`."""
        angle = self._angle(x)
        value, slope = np.cos(angle), -np.sin(angle)
        rows = [value]
        rows += [slope * self.omega[:, i] * h(x)[:, None] for i, h in form.drift]
        rows += [-value * self.omega[:, i] ** 2 / 2 * h(x)[:, None] for i, h in form.diffusion]
        return np.stack([row @ self.mixing for row in rows], axis=1)

    def _angle(self, x: Array) -> Array:
        return np.asarray((x - self.shift) @ self.omega.T + self.phase)


class _Equations:
    """The moment equations of some samples, `y = A c`, and the noise in them."""

    def __init__(
        self, form: Form, functions: _Functions, times: Array, samples: Sequence[Array]
    ) -> None:
        means, covariances = [], []
        for own in samples:
            values = functions(form, own)
            shape = values.shape[1:]
            means.append(values.mean(0))
            spread = np.cov(values.reshape(len(own), -1).T) / len(own)
            covariances.append(spread.reshape(shape * 2))
        mean, self.spread = np.stack(means), np.stack(covariances)
        n = len(times)
        spline = interpolate.make_interp_spline(times, np.eye(n), k=3).antiderivative()
        self.change, self.integral = np.diff(np.eye(n), axis=0), np.diff(spline(times), axis=0)
        self.y = (self.change @ mean[:, 0]).reshape(-1)
        self.A = np.einsum("kj,jam->kma", self.integral, mean[:, 1:]).reshape(len(self.y), -1)

    def covariance(self, c: Array) -> Array:
        """Of y - A c."""
        change, integral, spread = self.change, self.integral, self.spread
        both = np.einsum("jmbn,b->jmn", spread[:, 0, :, 1:], c)
        of_sums = np.einsum("a,jambn,b->jmn", c, spread[:, 1:, :, 1:], c, optimize=True)
        V = np.einsum("kj,lj,jmn->kmln", change, change, spread[:, 0, :, 0], optimize=True)
        V += np.einsum("kj,lj,jmn->kmln", integral, integral, of_sums, optimize=True)
        cross = np.einsum("kj,lj,jmn->kmln", change, integral, both, optimize=True)
        V -= cross + cross.transpose(2, 3, 0, 1)
        V = V.reshape(len(self.y), -1)
        return np.asarray(V + _RIDGE * np.diag(V.diagonal()))

    def bias(self, inverse: Array) -> Array:
        """What noise adds to `A' V^-1 y` and to `A' V^-1 A` on average, `(terms, 1 + terms)`."""
        W = inverse.reshape(len(self.change), -1, len(self.change), self.spread.shape[2])
        out = []
        for other, columns in ((self.change, slice(0, 1)), (self.integral, slice(1, None))):
            weight = np.einsum("kj,lj,kmln->jmn", self.integral, other, W, optimize=True)
            out.append(np.einsum("jmn,jambn->ab", weight, self.spread[:, 1:, :, columns]))
        return np.concatenate(out, axis=1)


def _one(x: Array) -> Array:
    return np.ones(len(x))


def _x1(x: Array) -> Array:
    return x[:, 0]


def _x2(x: Array) -> Array:
    return x[:, 1]


def _cube(x: Array) -> Array:
    return np.asarray(x[:, 0] ** 3)


def _squared_times(x: Array) -> Array:
    return np.asarray(x[:, 0] ** 2 * x[:, 1])


_CONSTANT = ((0, _one), (1, _one))

FORMS = {
    "ou_process": Form(((0, _x1),), ((0, _one),)),
    "double_well": Form(((0, _x1), (0, _cube)), ((0, _one),)),
    "cir": Form(((0, _one), (0, _x1)), ((0, _x1),)),
    "ou_2d": Form(((0, _x1), (0, _x2), (1, _x1), (1, _x2)), _CONSTANT),
    "van_der_pol": Form(((0, _x2), (1, _x2), (1, _squared_times), (1, _x1)), _CONSTANT),
    "double_well_2d": Form(((0, _x1), (0, _cube), (0, _x2), (1, _x1), (1, _x2)), _CONSTANT),
}
