"""Newton's method whose linear systems are solved by GMRES, with exact products."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hollowpde.errors import InputError
from hollowpde.solvers.equation import Equation
from hollowpde.solvers.inner.base import (
    Counts,
    Outcome,
    Worker,
    everywhere,
    index,
    rounding,
    sizes,
)

# The residual of a linear system, in units of the tolerance, that is small enough.
_LINEAR = 0.1
# What rounding leaves of it at best, relative to the right-hand side.
_ROUNDING = 1e-13
# Without a measured contraction, only what is hardly a step at all is believed.
_AT_ONCE = 1e-3


@dataclass(frozen=True)
class NewtonKrylov:
    """Newton's method with GMRES, preconditioned by the diagonal where it is known.

    The linear residual itself is made small, not what the preconditioner leaves of it: along a
    conserved direction the two differ by orders of magnitude.

    Arguments:
        iterations: of Newton's method, at most.
        krylov: the largest dimension of the Krylov space.

    Source:
        Saad and Schultz, GMRES (1986); Brown and Hindmarsh, Matrix-free methods for stiff systems
        of ODEs (1986).

    >>> hp.NewtonKrylov().needs_diagonal
    False
    """

    iterations: int = 8
    krylov: int = 60

    needs_diagonal = False

    def __post_init__(self) -> None:
        if self.iterations < 1 or self.krylov < 1:
            raise InputError(
                "iterations and krylov must be at least 1, but they are "
                f"{self.iterations} and {self.krylov}."
            )

    def worker(self, samples: int, tolerance: float) -> Worker:
        return _Krylov(tolerance, self)


class _Krylov(Worker):
    def __init__(self, tolerance: float, settings: NewtonKrylov) -> None:
        self.tolerance, self.settings = tolerance, settings

    def solve(self, equation: Equation, z: Tensor, scale: Tensor, rows: Counts) -> Outcome:
        n = len(z)
        out = Outcome(z.clone(), np.zeros(n, bool), np.zeros(n, np.int64), np.zeros(n))
        whole, sizes_of = equation, scale
        live, last, rate = np.arange(n), np.full(n, np.nan), np.full(n, np.nan)
        floor = rounding(equation, z, scale)
        for iteration in range(1, self.settings.iterations + 1):
            R, diagonal = _residual(equation, z)
            dz, solved = _gmres(
                equation, z, -R, diagonal, scale, self.settings.krylov, _LINEAR * self.tolerance
            )
            z, size = z + dz, sizes(dz, scale)
            with np.errstate(invalid="ignore", divide="ignore"):
                rate = size / last
                lost = ~np.isfinite(size) | (rate >= 1.0)
                small = (rate < 1.0) & (rate / (1.0 - rate) * size < self.tolerance)
                done = solved & (small | (size < _AT_ONCE * self.tolerance) | (size <= floor))
            lost &= ~done
            gone = done | lost
            where = live[gone]
            if len(where):
                out.converged[live[done]] = True
                out.iterations[where], out.rate[where] = iteration, np.nan_to_num(rate[gone])
                out.z[index(where, z)] = z[index(np.flatnonzero(gone), z)]
                if everywhere(gone):
                    return self._polished(whole, out, sizes_of)
                rest = np.flatnonzero(~gone)
                on = index(rest, z)
                live, size, floor = live[rest], size[rest], floor[rest]
                z, scale = z[on], scale[on]
                equation = equation.select(on)
            last = size
        out.iterations[live], out.rate[live] = self.settings.iterations, 1.0
        out.z[index(live, z)] = z
        return self._polished(whole, out, sizes_of)

    def _polished(self, equation: Equation, out: Outcome, scale: Tensor) -> Outcome:
        R = equation.residual(out.z)
        small = out.converged & (sizes(R, scale) <= self.tolerance)
        chosen = torch.from_numpy(small).to(R.device).unsqueeze(-1)
        out.z = torch.where(chosen, equation.polished(out.z, R), out.z)
        out.iterations += 1
        return out


def _residual(equation: Equation, z: Tensor) -> tuple[Tensor, Tensor]:
    if not equation.knows_diagonal:
        return equation.residual(z), torch.ones_like(z)
    R, slope = equation.with_diagonal(z)
    return R, torch.where(slope.abs() < 0.2, 0.2 * slope.sign() + (slope == 0), slope)


def _gmres(
    equation: Equation,
    z: Tensor,
    right: Tensor,
    diagonal: Tensor,
    scale: Tensor,
    krylov: int,
    enough: float,
) -> tuple[Tensor, np.ndarray]:
    """Solve `A x = right` in units of the scale, from zero; and whether that is good enough.

    The basis is orthogonalised twice, so that it stays orthogonal to rounding.
    """
    n, d = z.shape
    # In units of the scale, y = x / scale, and preconditioned on the right, y = P w.
    b = right / scale
    beta = torch.linalg.vector_norm(b, dim=-1, keepdim=True)
    target = torch.maximum(_ROUNDING * beta, torch.full_like(beta, enough * d**0.5))
    basis = [b / beta.clamp_min(torch.finfo(z.dtype).tiny)]
    width = min(krylov, d)
    H = z.new_zeros(n, width + 1, width)
    w = z.new_zeros(n, width)
    e = torch.zeros_like(H[:, :, 0])
    e[:, 0] = beta.squeeze(-1)
    good = (beta <= target).squeeze(-1)
    size = 0
    for j in range(width):
        v = equation.product(z, basis[j] / diagonal * scale) / scale
        space = torch.stack(basis, dim=-1)
        for _ in range(2):
            part = space.mT @ v.unsqueeze(-1)
            v = v - (space @ part).squeeze(-1)
            H[:, : j + 1, j] += part.squeeze(-1)
        H[:, j + 1, j] = torch.linalg.vector_norm(v, dim=-1)
        size = j + 1
        Q, R = torch.linalg.qr(H[:, : size + 1, :size])
        coefficients = Q.mT @ e[:, : size + 1, None]
        left = (e[:, : size + 1].square().sum(-1) - coefficients.square().sum((-2, -1))).clamp_min(
            0
        )
        good = left.sqrt() <= target.squeeze(-1)
        if bool(good.all()) or size == width:
            diag = R.diagonal(dim1=-2, dim2=-1)
            R = R + torch.diag_embed((diag == 0).to(R))
            w = torch.linalg.solve_triangular(R, coefficients, upper=True).squeeze(-1)
            break
        basis.append(v / H[:, j + 1, j, None].clamp_min(torch.finfo(z.dtype).tiny))
    x = (torch.stack(basis[:size], dim=-1) @ w.unsqueeze(-1)).squeeze(-1) / diagonal * scale
    # What was solved is checked, not believed.
    rest = torch.linalg.vector_norm((right - equation.product(z, x)) / scale, dim=-1)
    trusted = rest <= 10 * target.squeeze(-1)
    return x, (good & trusted).cpu().numpy()
