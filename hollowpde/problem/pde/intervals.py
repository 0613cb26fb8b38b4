"""Confidence intervals of unknown numbers in an equation, from noisy data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import torch
from scipy.stats import t as student
from torch import Tensor

from hollowpde.optim import linearise
from hollowpde.problem.pde.conditions import Observed
from hollowpde.problem.pde.unknowns import UnknownNumber

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
    observed = [g for g in fit.groups[1:] if isinstance(fit.problem.conditions[g.name], Observed)]
    numbers = cast("Mapping[str, UnknownNumber]", dict(fit.model.solution.numbers.items()))
    if not observed or not numbers:
        return {}
    data = [linearise(fit.model.solution, g.rows, fit.apart[g.name]) for g in observed]
    r, J = torch.cat([r for r, _ in data]).double(), torch.cat([J for _, J in data]).double()
    rest = [g for g in fit.groups if g not in observed]
    parts = [linearise(fit.model.solution, g.rows, fit.apart[g.name])[1].double() for g in rest]
    freedom = len(r) - len(numbers)
    if freedom < 1:
        return {}
    variance = float(r.square().sum()) / freedom
    by_data = J.T @ J / variance
    constraint = sum((C.T @ C / _trace(C.T @ C) for C in parts), torch.zeros_like(by_data))
    matrix = by_data + _STRICT * _trace(by_data) * constraint
    matrix.diagonal().add_(_RIDGE * float(matrix.diagonal().mean()))
    quantile = float(student.ppf(0.5 + LEVEL / 2, freedom))
    names = [k for k, p in fit.model.solution.named_parameters() if p.requires_grad]
    sizes = [p.numel() for p in fit.model.solution.parameters() if p.requires_grad]
    out = {}
    for name, number in numbers.items():
        place = sum(sizes[: names.index(f"numbers.{name}.raw")])
        unit = torch.zeros(len(matrix), dtype=matrix.dtype)
        unit[place] = 1.0
        spread = math.sqrt(float(torch.linalg.solve(matrix, unit)[place])) * quantile
        raw = float(number.raw.detach())
        ends = raw - spread, raw + spread
        out[name] = tuple(math.exp(e) for e in ends) if number.positive else ends
    return out  # type: ignore[return-value]


def _trace(matrix: Tensor) -> float:
    return float(matrix.diagonal().sum())
