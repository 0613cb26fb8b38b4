"""Transition densities for the oracle, made without anything of the library's."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from scipy import linalg, ndimage, stats
from torch import Tensor

# Of the mean, in which the moments of a Gaussian start.
_NO_SPREAD = 1e-12
# Grid points in the standard deviation of an increment, and the most of them.
_FINENESS = 7
_LARGEST_GRID = 600
# More points than this are too many, and a rule with fewer of them is taken.
_MOST_POINTS = 81


class Steps(NamedTuple):
    """Transitions over one length of time: x and x_next `(n, d)`, in double precision."""

    x: Tensor
    x_next: Tensor
    dt: float


@dataclass(frozen=True)
class Equation:
    """A drift and a squared diffusion, of x `(..., d)`."""

    drift: Callable[[Tensor], Tensor]
    diffusion: Callable[[Tensor], Tensor]


def euler(equation: Equation, steps: Steps) -> Tensor:
    """Log densities if drift and diffusion stayed as they are at the start; to begin with."""
    mean = steps.x + steps.dt * equation.drift(steps.x)
    return _normal(steps.x_next - mean, torch.diag_embed(steps.dt * equation.diffusion(steps.x)))


def linear(equation: Equation, steps: Steps) -> Tensor:
    """Exact for `dX = A X dt + g dW` with constant g.

    Source:
        Van Loan, Computing integrals involving the matrix exponential (1978).
    """
    d = steps.x.shape[1]
    eye = torch.eye(d, dtype=steps.x.dtype)
    A = equation.drift(eye).T
    noise = torch.diag(equation.diffusion(eye[:1])[0])
    block = torch.cat([torch.cat([-A, noise], 1), torch.cat([torch.zeros_like(A), A.T], 1)])
    grown = torch.linalg.matrix_exp(steps.dt * block)
    flow = grown[d:, d:].T
    return _normal(
        steps.x_next - steps.x @ flow.T, (flow @ grown[:d, d:]).expand(len(steps.x), d, d)
    )


def lognormal(equation: Equation, steps: Steps) -> Tensor:
    """Exact for `dX = a X dt + b X dW`."""
    one = torch.ones(1, 1, dtype=steps.x.dtype)
    rate, squared = equation.drift(one)[0, 0], equation.diffusion(one)[0, 0]
    log_x, log_next = steps.x.log(), steps.x_next.log()
    gap = log_next - log_x - steps.dt * (rate - squared / 2)
    variance = (steps.dt * squared).expand(len(gap), 1, 1)
    return _normal(gap, variance) - log_next.squeeze(1)


def square_root(equation: Equation, steps: Steps) -> Tensor:
    """Exact for `dX = k (m - X) dt + s sqrt(X) dW`: a non-central chi-square. No gradient.

    Source:
        Cox, Ingersoll and Ross, A theory of the term structure of interest rates (1985).
    """
    ends = torch.tensor([[0.0], [1.0]], dtype=steps.x.dtype)
    at_zero, at_one = equation.drift(ends)[:, 0].tolist()
    squared = float(equation.diffusion(ends)[1, 0])
    k = at_zero - at_one
    decay = math.exp(-k * steps.dt)
    c = 4 * k / (squared * (1 - decay))
    x, x_next = (column.squeeze(1).numpy() for column in steps[:2])
    log_p = stats.ncx2.logpdf(c * x_next, 4 * at_zero / squared, c * x * decay) + math.log(c)
    return torch.as_tensor(log_p)


def on_grid(equation: Equation, steps: Steps) -> Tensor:
    """Any equation in one dimension: a Markov chain on a fine grid in its place. No gradient.

    Jumps to the neighbours have the mean and the variance of the equation; the matrix exponential
    of their rates is the transition density between grid points, and cubic splines of its
    logarithm give it between them.

    Source:
        Kushner and Dupuis, Numerical Methods for Stochastic Control Problems (2001).
    """
    x, x_next = (column.squeeze(1).numpy() for column in steps[:2])
    typical = float(np.sqrt(np.square(x_next - x).mean()))
    low = min(x.min(), x_next.min()) - 4 * typical
    high = max(x.max(), x_next.max()) + 4 * typical
    n = min(_LARGEST_GRID, math.ceil((high - low) / typical * _FINENESS))
    grid, h = np.linspace(low, high, n, retstep=True)
    points = torch.as_tensor(grid).unsqueeze(1)
    f, D = (field(points).squeeze(1).numpy() for field in (equation.drift, equation.diffusion))
    up = np.maximum(D / h + f, 0) / (2 * h)
    down = np.maximum(D / h - f, 0) / (2 * h)
    up[-1] = down[0] = 0.0
    rates = np.diag(up[:-1], 1) + np.diag(down[1:], -1) - np.diag(up + down)
    density = linalg.expm(steps.dt * rates) / h
    # Below this there is rounding alone, far from where anything is observed.
    log_p = np.log(np.maximum(density, 1e-12))
    at = np.stack([(x - low) / h, (x_next - low) / h])
    return torch.as_tensor(ndimage.map_coordinates(log_p, at, order=3, mode="nearest"))


def moments(equation: Equation, steps: Steps) -> Tensor:
    r"""Any equation: a Gaussian whose moments follow the equation, by cubature and Runge-Kutta.

    $$ m' = E f, \quad P' = E (x - m) f^T + E f (x - m)^T + \mathrm{diag}(E D) $$

    Source:
        Sarkka and Solin, Applied Stochastic Differential Equations (2019), chapter 9.
    """
    d = steps.x.shape[1]
    nodes, weights = _cubature(d)
    substeps = max(1, math.ceil(steps.dt / 0.0625))
    h = steps.dt / substeps
    mean = steps.x
    cov = (_NO_SPREAD * torch.eye(d, dtype=mean.dtype)).expand(len(mean), d, d)

    def slope(mean: Tensor, cov: Tensor) -> tuple[Tensor, Tensor]:
        factor, _ = torch.linalg.cholesky_ex(cov)
        spread = torch.einsum("nij,kj->kni", factor, nodes)
        x = mean + spread
        f = equation.drift(x)
        both = torch.einsum("k,kni,knj->nij", weights, spread, f)
        noise = torch.einsum("k,kni->ni", weights, equation.diffusion(x))
        average = torch.einsum("k,kni->ni", weights, f)
        return average, both + both.mT + torch.diag_embed(noise)

    for _ in range(substeps):
        k1 = slope(mean, cov)
        k2 = slope(mean + h / 2 * k1[0], cov + h / 2 * k1[1])
        k3 = slope(mean + h / 2 * k2[0], cov + h / 2 * k2[1])
        k4 = slope(mean + h * k3[0], cov + h * k3[1])
        mean = mean + h / 6 * (k1[0] + 2 * k2[0] + 2 * k3[0] + k4[0])
        cov = cov + h / 6 * (k1[1] + 2 * k2[1] + 2 * k3[1] + k4[1])
    return _normal(steps.x_next - mean, cov)


def _cubature(d: int) -> tuple[Tensor, Tensor]:
    """Nodes `(k, d)` and weights of a rule for standard normals.

    Three Gauss-Hermite nodes along each axis, exact to degree 5; where they are too many, three
    along one axis at a time, which give up the products of squares alone.
    """
    double = torch.float64
    far = math.sqrt(3.0)
    if 3**d <= _MOST_POINTS:
        nodes = list(product((-far, 0.0, far), repeat=d))
        weights = [math.prod(2 / 3 if z == 0 else 1 / 6 for z in node) for node in nodes]
        return torch.tensor(nodes, dtype=double), torch.tensor(weights, dtype=double)
    axes = far * torch.eye(d, dtype=double)
    along = torch.cat([torch.zeros(1, d, dtype=double), axes, -axes])
    return along, torch.tensor([1 - d / 3] + 2 * d * [1 / 6], dtype=double)


def _normal(gap: Tensor, cov: Tensor) -> Tensor:
    """log N(gap; 0, cov), NaN where cov is no covariance."""
    factor, failed = torch.linalg.cholesky_ex(cov)
    z = torch.linalg.solve_triangular(factor, gap.unsqueeze(-1), upper=False).squeeze(-1)
    log_det = torch.diagonal(factor, dim1=-2, dim2=-1).log().sum(-1)
    log_p = -0.5 * z.square().sum(-1) - log_det - gap.shape[-1] / 2 * math.log(2 * math.pi)
    return torch.where(failed == 0, log_p, torch.nan)
