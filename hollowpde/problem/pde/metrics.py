"""Figures of a solution: errors, residuals, conserved mass, coefficients with their intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hollowpde.operators.field import Field
from hollowpde.problem.base import Metrics
from hollowpde.problem.pde.intervals import intervals
from hollowpde.problem.pde.mass import mass_errors
from hollowpde.problem.pde.terms import means

if TYPE_CHECKING:
    from hollowpde.problem.pde.fit import PDEFit

_ROWS = 1024
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
        found = values(fit, fit.model.solution.field(name), t, x)
        true = exact(t, x)
        out[f"rel_l2{ending}"] = _ratio(found - true, true)
        out[f"rms_error{ending}"] = float((found - true).square().mean().sqrt())
        out[f"rel_linf{ending}"] = float((found - true).abs().max() / true.abs().max())
    point = fit.problem.point
    if point is not None:
        where = torch.tensor([point.t], dtype=torch.float64), _row(point.x, x.shape[-1])
        value = float(values(fit, fit.model.solution.field(fit.problem.first), *where))
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
    some = torch.randperm(len(fit.test[0]), generator=torch.Generator().manual_seed(0))[:_NOTED]
    t, x = (part[some] for part in fit.test)
    exact = fit.problem.exact_of.get(fit.problem.first)
    if exact is not None:
        found = values(fit, fit.model.solution.field(fit.problem.first), t, x)
        true = exact(t, x)
        out["rel_l2"] = _ratio(found - true, true)
    for name, number in fit.model.solution.numbers.items():
        out[name] = float(number().detach())
    return out


@torch.no_grad()
def values(fit: PDEFit, field: Field, t: Tensor, x: Tensor) -> Tensor:
    """A field at points in double precision, evaluated in the precision of the networks."""
    device, dtype = fit.compute.device, fit.compute.dtype
    parts = [
        field(a.to(device, dtype), b.to(device, dtype)).double().cpu()
        for a, b in zip(t.split(_ROWS), x.split(_ROWS), strict=True)
    ]
    return torch.cat(parts)


@torch.no_grad()
def term_sizes(fit: PDEFit) -> dict[str, float]:
    """The root mean square of each term, unweighted, at the points that errors are taken at."""
    t, x = (part[:_ROWS] for part in fit.test)
    batch = {**fit.apart, **fit.cast({"interior": (t, x)})}
    found = means(fit.groups, fit.model.solution, batch)
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
            found = values(fit, coefficient, t, x)
            out[f"{name}_rel_l2"] = _ratio(found - truth(t, x), truth(t, x))
    return out


def _ratio(error: Tensor, true: Tensor) -> float:
    return float(error.norm() / true.norm())


def _row(x: tuple[float, ...], dim: int) -> Tensor:
    return torch.tensor([x], dtype=torch.float64).expand(1, dim)
