"""The pictures of an equation that was learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from hollowpde.operators import reference
from hollowpde.operators.dimwise import dimwise
from hollowpde.problem.panel import Array, Axes, Chart, Line, Mark, Panel, Points, Role, Table

if TYPE_CHECKING:
    from hollowpde.problem.ode.fit import ODEFit

# Components that are drawn, and paths of each.
_SHOWN, _PATHS = 6, 3
# Points of a curve.
_CURVE = 100
# Intervals of time over which errors are averaged.
_BINS = 15
# Times that span so much are drawn on a logarithmic axis.
_LONG = 300.0
# Points at which rates are looked at.
_POINTS = 200


def panels(fit: ODEFit) -> list[Panel]:
    """Held-out paths beside what is predicted of them, errors over time, and rates."""
    log_t, since = _since(fit)
    return [*_paths(fit, since, log_t), _errors(fit, since, log_t), _rates(fit)]


def _since(fit: ODEFit) -> tuple[bool, Array]:
    """Time since the start of each held-out path, and whether it spans orders of magnitude."""
    data = fit.split.test
    _, place, count = data.path.unique_consecutive(return_inverse=True, return_counts=True)
    first = count.cumsum(0) - count
    since = _np(data.t.double() - data.t.double()[first][place])
    later = since[since > 0]
    # Half of the observations lie so near to the start that a linear axis would not show them.
    return bool(len(later) and np.quantile(later, 0.95) > _LONG * np.quantile(later, 0.1)), since


def _paths(fit: ODEFit, since: Array, log_t: bool) -> list[Chart]:
    """Observations, and the curves of both fields between them."""
    data = fit.split.test
    path = data.path.cpu().numpy()
    drawn = [path == number for number in np.unique(path)[:_PATHS]]
    if log_t:
        drawn = [own & (since > 0) for own in drawn]
        first = min(since[own].min(initial=1.0) for own in drawn)
        longest = max(since[own].max(initial=first) for own in drawn)
        shares = np.geomspace(min(0.5, first / longest), 1.0, _CURVE)
    else:
        shares = np.linspace(0.0, 1.0, _CURVE)
    t, fitted, exact = fit.curves(shares.tolist(), _PATHS)
    out: list[Chart] = []
    for j, name in enumerate(data.names[:_SHOWN]):
        seen = _np(data.x[:, j])
        marks: list[Mark] = []
        for k, own in enumerate(drawn):
            marks.append(Points("held out", Role.DATA, since[own], seen[own]))
            for label, role, values in (
                ("truth", Role.TRUTH, exact),
                ("predicted", Role.FIT, fitted),
            ):
                if values is not None and torch.isfinite(values[:, k]).all():
                    marks.append(Line(label, role, _np(t[:, k]), _np(values[:, k, j])))
        out.append(
            Chart(
                f"{name} on held-out paths",
                "Solved from the first observation of each path alone, by the fitted field.",
                Axes("t since the start", name, log_x=log_t),
                marks,
            )
        )
    return out


def _errors(fit: ODEFit, since: Array, log_t: bool) -> Chart:
    """The root mean square over components and paths, relative to the size of each component."""
    data = fit.split.test.x.double()
    size = data.square().mean(0).sqrt()
    size = torch.where(size > 0, size, 1.0)
    there = since > 0
    t = since[there]
    edges = (
        np.geomspace(t.min(), t.max(), _BINS + 1) if log_t
        else np.linspace(0, t.max(), _BINS + 1)
    )  # fmt: skip
    place = np.clip(np.digitize(t, edges) - 1, 0, _BINS - 1)
    marks: list[Mark] = []
    for name, role, exact in (
        ("from the truth", Role.FIT, fit.true),
        ("from the data, noise included", Role.DATA, data),
    ):
        if exact is None:
            continue
        gap = _np(((fit.predicted.x - exact) / size).square().mean(-1))[there]
        used = [k for k in range(_BINS) if (place == k).any()]
        mean = np.array([np.sqrt(gap[place == k].mean()) for k in used])
        middle = np.array([t[place == k].mean() for k in used])
        if np.isfinite(mean).all():
            marks.append(Line(name, role, middle, mean))
    return Chart(
        "Error over time",
        "Of held-out paths, relative to the size of each component, in the mean square over "
        "components and paths.",
        Axes("t since the start", "relative error", log_x=log_t, log_y=True),
        marks,
    )


def _rates(fit: ODEFit) -> Table:
    """The diagonal of the Jacobian at held-out points, learned and true."""
    data, truth = fit.split.test, fit.problem.truth
    t, x = data.t[:_POINTS].double(), data.x[:_POINTS].double()
    learned = -dimwise(fit.learned.field, t, x, order=1)[1]
    columns = [learned.median(0).values]
    if truth is not None:
        with torch.enable_grad():
            columns.append(-reference.dimwise(truth, t, x, order=1)[1].median(0).values)
    rows: list[list[str | float | int]] = [
        [name, *(f"{float(column[i]):.4g}" for column in columns)]
        for i, name in enumerate(data.names)
    ]
    span = float(data.t.max() - data.t.min())
    return Table(
        "Rates",
        "Minus the diagonal of the Jacobian, the median over held-out points. The fastest times "
        f"the span of the data is {float(learned.abs().max()) * span:.3g}: an explicit method "
        "takes at least a third as many steps.",
        ["component", "learned", "true"][: 1 + len(columns)],
        rows,
    )


def _np(values: Tensor) -> Array:
    out: Array = values.detach().cpu().double().numpy()
    return out
