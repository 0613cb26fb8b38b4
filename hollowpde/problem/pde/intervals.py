"""Confidence intervals of unknown numbers in an equation, from noisy data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from scipy.stats import t as student
from torch import Tensor

from hollowpde.optim import linearise

if TYPE_CHECKING:
    from hollowpde.problem.pde.fit import PDEFit

LEVEL = 0.95
# How much more the equations and conditions weigh than the data: they hold, the data are noisy.
_STRICT = 1e6
# Relative to the mean of the diagonal: keeps directions that nothing determines finite.
_RIDGE = 1e-12


def intervals(fit: PDEFit) -> dict[str, tuple[float, float]]:
    r"""A 95 % interval of every unknown number, by the linearised problem.

    The parameters of the network move together with the number so that equations and conditions
    still hold; of what is left free the data tell so much:

    $$ \mathrm{Var} = e_k^\top (J_d^\top J_d / \sigma^2 + \rho \, J_c^\top J_c)^{-1} e_k,
       \quad \rho \to \infty, $$

    with J_d of the data and J_c of equations and conditions; sigma is estimated from the data.
    Noise is taken to be independent and of one size.

    Source: Seber and Wild, Nonlinear Regression (1989), for the linearised interval.
    """
    numbers, pairs = fit.model.solution.numbers, [*zip(fit.groups, fit.apart, strict=True)]
    if not numbers or not any(group.observed for group, _ in pairs):
        return {}
    lines = {
        noisy: [linearise(fit.model.solution, g.rows, p) for g, p in pairs if g.observed is noisy]
        for noisy in (True, False)
    }
    r = torch.cat([r for r, _ in lines[True]]).double()
    J = torch.cat([J for _, J in lines[True]]).double()
    parts = [C.double() for _, C in lines[False]]
    freedom = len(r) - len(numbers)
    if freedom < 1:
        return {}
    variance = float(r.square().sum()) / freedom
    by_data = J.T @ J / variance
    constraint = sum((C.T @ C / _trace(C.T @ C) for C in parts), torch.zeros_like(by_data))
    matrix = by_data + _STRICT * _trace(by_data) * constraint
    matrix.diagonal().add_(_RIDGE * float(matrix.diagonal().mean()))
    quantile = float(student.ppf(0.5 + LEVEL / 2, freedom))
    free = [p for p in fit.model.solution.parameters() if p.requires_grad]
    out: dict[str, tuple[float, float]] = {}
    for name, number in numbers.items():
        k = next(k for k, p in enumerate(free) if p is number.raw)
        unit = torch.zeros(len(matrix), dtype=matrix.dtype)
        column = sum(p.numel() for p in free[:k])
        unit[column] = 1.0
        spread = math.sqrt(float(torch.linalg.solve(matrix, unit)[column])) * quantile
        raw = float(number.raw.detach())
        low, high = raw - spread, raw + spread
        out[name] = (math.exp(low), math.exp(high)) if number.positive else (low, high)
    return out


def _trace(matrix: Tensor) -> float:
    return float(matrix.diagonal().sum())
