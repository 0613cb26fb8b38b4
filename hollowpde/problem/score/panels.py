"""The pictures of a fitted score."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from hollowpde.data import Trajectories
from hollowpde.problem.panel import Array, Arrows, Axes, Chart, Mark, Panel, Points, Role, Table
from hollowpde.problem.score.metrics import truth_at

if TYPE_CHECKING:
    from hollowpde.problem.score.fit import ScoreFit

# More coordinates than these are not drawn one by one, nor listed.
_SHOWN = 4
_LISTED = 12
_POINTS = 800
_ARROWS = 15


def panels(fit: ScoreFit) -> list[Panel]:
    """The score as arrows in two dimensions, by coordinate, and Stein's identities."""
    # Pictures are computed in double precision: single cannot tell large time stamps apart.
    test = fit.split.test.double()
    some = test.select(torch.linspace(0, len(test) - 1, min(len(test), _POINTS)).long())
    out: list[Panel] = [_plane(fit, some)] if test.dim == 2 else []
    out += _coordinates(fit, some)
    if fit.stein.paths > 1:
        out.append(_identities(fit))
    return out


def _coordinates(fit: ScoreFit, points: Trajectories) -> list[Chart]:
    """The score of each coordinate at held-out points."""
    fitted = fit.learned.score(points.t, points.x)
    truth = fit.problem.truth
    true = None if truth is None else truth_at(truth, points)
    charts = []
    for j in range(min(points.dim, _SHOWN)):
        name, at = points.names[j], _np(points.x[:, j])
        marks: list[Mark] = []
        if true is not None:
            marks.append(Points("true", Role.TRUTH, at, _np(true[:, j])))
        marks.append(Points("fitted", Role.FIT, at, _np(fitted[:, j])))
        caption = f"The derivative of log p along {name} at held-out points, of all times" + (
            "; it depends on the other coordinates too." if points.dim > 1 else "."
        )
        charts.append(Chart(f"Score of {name}", caption, Axes(name, "score"), marks))
    return charts


def _plane(fit: ScoreFit, points: Trajectories) -> Chart:
    """The score in two dimensions as arrows, which point to where the data are denser."""
    (a, b), (c, d) = (_range(points.x[:, j]) for j in (0, 1))
    x, y = np.meshgrid(np.linspace(a, b, _ARROWS), np.linspace(c, d, _ARROWS))
    grid = torch.as_tensor(np.stack([x.ravel(), y.ravel()], -1), dtype=points.x.dtype)
    score = _np(fit.learned.score(float(points.t.min() + points.t.max()) / 2, grid))
    seen = _np(points.x)
    return Chart(
        "Score",
        "The fitted score at the middle of the observed times points to where data are denser; "
        "arrows are scaled alike. Dots are held-out points of all times.",
        Axes(points.names[0], points.names[1], (a, b), (c, d)),
        [
            Points("held out", Role.DATA, seen[:, 0], seen[:, 1]),
            Arrows("fitted score", Role.FIT, x.ravel(), y.ravel(), score[:, 0], score[:, 1]),
        ],
    )


def _identities(fit: ScoreFit) -> Table:
    """Stein's identities, the coordinates that depart most first."""
    stein = fit.stein
    departure = np.maximum(
        np.abs(stein.mean / stein.mean_error), np.abs((stein.product + 1) / stein.product_error)
    )
    names = fit.split.test.names
    rows = [
        [
            names[j],
            float(stein.mean[j]),
            float(stein.mean_error[j]),
            float(stein.product[j]),
            float(stein.product_error[j]),
        ]
        for j in np.argsort(-departure)[:_LISTED]
    ]
    most = f", the {_LISTED} coordinates that depart most" if len(names) > _LISTED else ""
    return Table(
        "Stein's identities",
        f"Of the true score s the mean is 0, and that of s z is -1, in standardised units z. On "
        f"{stein.paths} held-out paths{most}; the largest departure is {stein.worst:.2f} of what "
        "chance explains.",
        ["coordinate", "mean of s", "standard error", "mean of s z", "standard error"],
        rows,
    )


def _range(values: Tensor) -> tuple[float, float]:
    """An interval that holds all values, with a margin."""
    low, high = float(values.min()), float(values.max())
    margin = 0.04 * (high - low)
    return low - margin, high + margin


def _np(values: Tensor) -> Array:
    return values.detach().cpu().double().numpy()
