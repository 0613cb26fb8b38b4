r"""Linear multistep methods in differences: everything a step does is a matrix that is a constant.

A sample's state S `(R, d)` holds its value and past as (scaled) backward differences. For an
order k, with rows p and q, a number g and a matrix A_k of the method,

$$ y_p = p \cdot S, \quad y = q \cdot S + g h f(t + h, y), \quad
   \begin{pmatrix} S^+ \\ e \end{pmatrix} = A_k \begin{pmatrix} S \\ y \end{pmatrix} $$

with the local errors e at the orders k - 1, k and k + 1. A change of the step size is a matrix
too. So samples of different orders and step sizes are stepped together.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Rows of a state: differences up to two orders above the highest.
HIGHEST = 5
ROWS = HIGHEST + 3
_EYE = np.eye(ROWS).ravel()


@dataclass(frozen=True)
class Tables:
    """A method, for each order 0..HIGHEST (0 is unused).

    Arguments:
        predict: rows p and q, `(K, 2, R)`.
        gain: numbers g, `(K,)`.
        advance: matrices A, `(K, R + 3, R + 1)`.
        first: the first row that holds differences that scale with h; those before are left alone
            by a change of step size.
        scaled: whether the differences carry a factor h besides.
    """

    predict: Array
    gain: Array
    advance: Array
    first: int
    scaled: bool

    def rescaled(self, order: NDArray[np.int64], by: Array) -> Array:
        """The matrices `(n, R, R)` that change the step size of states by factors `(n,)`."""
        powers, mine = _rescaling(self.first, self.scaled)
        # A product for each sample, whose rounding does not depend on the others.
        matrices = (by[:, None, None] ** np.arange(len(powers)) @ powers)[:, 0]
        # Of an order k only its own differences are changed, by each other.
        # A sample that changes nothing is not touched by rounding either.
        touched = mine[order] & (by != 1.0)[:, None]
        return np.where(touched, matrices, _EYE).reshape(-1, ROWS, ROWS)

    def between(self, order: NDArray[np.int64], s: Array) -> Array:
        """The rows `(n, R)` that interpolate a state at the times t + s h, -1 <= s <= 0."""
        powers = s[:, None] ** np.arange(ROWS + 1)
        weights = powers @ (_integrals() if self.scaled else _binomials()).T
        if self.scaled:
            out = np.concatenate([np.ones((len(s), 1)), weights[:, : ROWS - 1]], axis=1)
            return np.where(np.arange(ROWS) <= order[:, None], out, 0.0)
        return np.where(np.arange(ROWS) <= order[:, None], weights[:, :ROWS], 0.0)


@lru_cache
def _rescaling(first: int, scaled: bool) -> tuple[Array, NDArray[np.bool_]]:
    """Changes of the step size by x, `(P, R R)` by its powers, and by order which entries are.

    Entry (l, i) of a change is entry (i, l) of `R(x) R(1)`, of Shampine and Reichelt, with
    `R_ij(x) = (-x j) (1 - x j) ... (i - 1 - x j) / i!`: coefficients that are whole numbers by i!.
    """
    size = ROWS - first
    # By i, j and power of x.
    R = np.zeros((size, size, ROWS + 1))
    R[0, :, 0] = 1.0
    for i in range(1, size):
        R[i] = (i - 1) * R[i - 1]
        R[i, :, 1:] -= np.arange(size)[:, None] * R[i - 1, :, :-1]
    factorial = np.cumprod(np.maximum(np.arange(size), 1.0))
    change = np.einsum("ijp,jl->pli", R, R.sum(-1) / factorial[:, None]) / factorial
    out = np.zeros((ROWS + 1, ROWS, ROWS))
    out[:, first:, first:] = np.roll(change, 1, axis=0) if scaled else change
    row = np.arange(ROWS)
    own = (row >= first) & (row <= np.arange(HIGHEST + 1)[:, None])
    return out.reshape(ROWS + 1, -1), (own[:, :, None] & own[:, None]).reshape(len(own), -1)


@lru_cache
def _binomials() -> Array:
    r"""Coefficients in s of `binom(s + j - 1, j)`: Newton's backward interpolation, by j."""
    rows, poly = [], np.polynomial.Polynomial([1.0])
    for j in range(ROWS):
        rows.append(np.pad(poly.coef, (0, ROWS + 1 - len(poly.coef))))
        poly = poly * np.polynomial.Polynomial([j, 1.0]) / (j + 1)
    return np.array(rows)


@lru_cache
def _integrals() -> Array:
    """Coefficients of the integrals of those from 0."""
    rows = []
    for row in _binomials():
        integral = np.polynomial.Polynomial(row).integ()
        rows.append(np.pad(integral.coef, (0, ROWS + 2 - len(integral.coef)))[: ROWS + 1])
    return np.array(rows)


@lru_cache
def backward_differences(corrected: bool) -> Tables:
    """Backward differentiation formulas, or those corrected for accuracy (NDF).

    Source:
        Shampine and Reichelt, The MATLAB ODE Suite (1997), sec. 2.
    """
    kappa = np.array([0.0, -0.1850, -1 / 9, -0.0823, -0.0415, 0.0]) * corrected
    gamma = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, HIGHEST + 1))])
    alpha = (1 - kappa) * gamma
    constants = np.append(kappa * gamma + 1 / np.arange(1, HIGHEST + 2), 1 / (HIGHEST + 2))
    K = HIGHEST + 1
    guess, base = np.zeros((K, ROWS)), np.zeros((K, ROWS))
    update, errors = np.zeros((K, ROWS, ROWS + 1)), np.zeros((K, 3, ROWS))
    for k in range(1, K):
        guess[k, : k + 1] = 1.0
        base[k] = guess[k]
        base[k, 1 : k + 1] -= gamma[1 : k + 1] / alpha[k]
        # delta is the difference k + 1, and those below are its sums.
        update[k, k + 2, ROWS], update[k, k + 2, k + 1] = 1.0, -1.0
        for j in range(k + 2):
            update[k, j, j : k + 1], update[k, j, ROWS] = 1.0, 1.0
        for m in range(k + 3, ROWS):
            update[k, m, m] = 1.0
        for row, order in enumerate((k - 1, k, k + 1)):
            errors[k, row, order + 1] = constants[order]
    gain = np.concatenate([[0.0], 1 / alpha[1:]])
    advance = _advance(guess, np.ones(K), update, errors)
    return Tables(np.stack([guess, base], axis=1), gain, advance, first=0, scaled=False)


@lru_cache
def adams() -> Tables:
    """Adams-Moulton formulas, predicted by those of Adams and Bashforth.

    Source:
        Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I (1993), sec. III.1.
    """
    K = HIGHEST + 1
    # gamma_m + gamma_{m-1} / 2 + ... + gamma_0 / (m + 1) = 1
    gamma = np.zeros(ROWS + 1)
    for m in range(ROWS + 1):
        gamma[m] = 1 - sum(gamma[i] / (m + 1 - i) for i in range(m))
    star = np.concatenate([[1.0], np.diff(gamma)])
    guess, base, subtract = (np.zeros((K, ROWS)) for _ in range(3))
    update, errors = np.zeros((K, ROWS, ROWS + 1)), np.zeros((K, 3, ROWS))
    gain = np.concatenate([[0.0], gamma[: K - 1]])
    for k in range(1, K):
        guess[k, 0], guess[k, 1 : k + 1] = 1.0, gamma[:k]
        base[k, 0] = 1.0
        for i in range(k - 1):
            base[k, 1 + i] = -star[i + 1 : k].sum()
        subtract[k] = base[k]
        # y^+ = base + g delta, with delta = h f; differences of h f follow.
        update[k, 0, :ROWS], update[k, 0, ROWS] = base[k], gain[k]
        for j in range(ROWS - 1):
            if j <= k + 1:
                update[k, 1 + j, 1 : 1 + j], update[k, 1 + j, ROWS] = -1.0, 1.0
            else:
                update[k, 1 + j, 1 + j] = 1.0
        for row, order in enumerate((k - 1, k, k + 1)):
            errors[k, row, 1 + order] = star[order]
    factor = np.concatenate([[0.0], 1 / gain[1:]])
    advance = _advance(subtract, factor, update, errors)
    return Tables(np.stack([guess, base], axis=1), gain, advance, first=1, scaled=True)


def _advance(subtract: Array, factor: Array, update: Array, errors: Array) -> Array:
    r"""The matrices A, of a method whose newest difference is `delta = a (y - r \cdot S)`.

    Arguments:
        subtract: rows r, `(K, R)`.
        factor: numbers a, `(K,)`.
        update: the next state from (S, delta), `(K, R, R + 1)`.
        errors: the local errors from the next state, `(K, 3, R)`.
    """
    newest = update[..., -1:] * factor[:, None, None]
    state = np.concatenate([update[..., :-1] - newest * subtract[:, None], newest], axis=-1)
    return np.concatenate([state, errors @ state], axis=1)
