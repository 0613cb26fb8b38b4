"""Figures of a solution: errors, residuals, conserved mass, coefficients with their intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hollowpde.problem.base import Metrics
from hollowpde.problem.pde.intervals import intervals
from hollowpde.problem.pde.mass import mass_errors
from hollowpde.problem.pde.terms import means

if TYPE_CHECKING:
    from hollowpde.problem.pde.fit import PDEFit

# Points at which errors are noted as training goes on.
_NOTED = 1024


def figures(fit: PDEFit) -> Metrics:
    """All figures, on points apart from those of training.

    `rel_l2` and `rel_linf` are the error over the size of the exact solution, in the root mean
    square and in the maximum, at points of the sampler; `rms_error` is not divided by anything.
    """
    out: Metrics = {}
    t, x = fit.test
    for name, exact in fit.problem.exact_of.items():
        ending = "" if name == fit.problem.first else f"_{name}"
        found = fit.values(fit.model.solution.fields[name], t, x)
        true = exact(t, x)
        out[f"rms_error{ending}"] = float((found - true).square().mean().sqrt())
        if true.any():
            out[f"rel_l2{ending}"] = _ratio(found - true, true)
            out[f"rel_linf{ending}"] = float((found - true).abs().max() / true.abs().max())
    point = fit.problem.point
    if point is not None:
        where = torch.tensor([point.t], dtype=torch.float64), _row(point.x, x.shape[-1])
        value = float(fit.values(fit.model.solution.fields[fit.problem.first], *where))
        out["point_value"] = value
        known = fit.problem.exact_of.get(fit.problem.first)
        true_value = point.value
        if true_value is None and known is not None:
            true_value = float(known(*where))
        if true_value:
            out["point_rel_error"] = abs(value / true_value - 1)
    out |= _residuals(fit)
    out |= mass_errors(fit)
    out |= _coefficients(fit)
    out |= {f"weight_{n}": float(w) for n, w in zip(fit.terms, fit.model.weights, strict=True)}
    out["parameters"] = sum(p.numel() for p in fit.model.solution.parameters())
    return out


@torch.no_grad()
def monitored(fit: PDEFit) -> dict[str, float]:
    """What is noted as training goes on: the error, if it is known, and the unknown numbers."""
    out: dict[str, float] = {}
    t, x = (part[:_NOTED] for part in fit.test)
    exact = fit.problem.exact_of.get(fit.problem.first)
    if exact is not None:
        found = fit.values(fit.model.solution.fields[fit.problem.first], t, x)
        true = exact(t, x)
        if true.any():
            out["rel_l2"] = _ratio(found - true, true)
    for name, number in fit.model.solution.numbers.items():
        out[name] = float(number().detach())
    return out


@torch.no_grad()
def term_sizes(fit: PDEFit) -> dict[str, float]:
    """The root mean square of each term, unweighted, at points apart from those of training."""
    found = means(fit.groups, fit.model.solution, fit.apart)
    return {name: float(found[name].sqrt()) for name in fit.terms}


def _residuals(fit: PDEFit) -> Metrics:
    """Of each term, and of all equations together."""
    sizes, equations = term_sizes(fit), list(fit.problem.equations)
    out: Metrics = {"residual_rms": sum(sizes[name] ** 2 for name in equations) ** 0.5}
    for name, size in sizes.items():
        if name != "residual":
            out[f"{name}_rms"] = size
    return out


def _coefficients(fit: PDEFit) -> Metrics:
    """Unknown numbers, with 95 % intervals where there are data, and errors against the truth."""
    out: Metrics = {}
    for name, value in fit.learned.numbers.items():
        out[name] = value
        truth = fit.problem.unknowns[name].truth
        if isinstance(truth, float | int) and truth:
            out[f"{name}_rel_error"] = abs(value / truth - 1)
    for name, (low, high) in intervals(fit).items():
        out[f"{name}_low"], out[f"{name}_high"] = low, high
    t, x = fit.test
    for name, coefficient in fit.learned.coefficients.items():
        truth = fit.problem.unknowns[name].truth
        if callable(truth):
            found = fit.values(coefficient, t, x)
            out[f"{name}_rel_l2"] = _ratio(found - truth(t, x), truth(t, x))
    return out


def _ratio(error: Tensor, true: Tensor) -> float:
    return float(error.norm() / true.norm())


def _row(x: tuple[float, ...], dim: int) -> Tensor:
    return torch.tensor([x], dtype=torch.float64).expand(1, dim)
