"""The pictures of a solution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from hollowpde.operators.field import Field
from hollowpde.problem.panel import (
    Array,
    Axes,
    Chart,
    Film,
    Line,
    Mark,
    Panel,
    Points,
    Role,
    Surface,
    Table,
)
from hollowpde.problem.pde.conditions import Function, Observed
from hollowpde.problem.pde.domain import Space
from hollowpde.problem.pde.mass import Conserved, masses
from hollowpde.problem.pde.metrics import term_sizes

if TYPE_CHECKING:
    from hollowpde.problem.pde.fit import PDEFit

_FRAMES = 21
_LINE = 201
_SIDE = 61
_SHOWN = 3
_DOTS = 800
# The whole space is shown so far, in units of its scale.
_REACH = 2.0


def panels(fit: PDEFit) -> list[Panel]:
    """The solution, its error, its terms, and what else is learned."""
    out: list[Panel] = []
    for name in fit.problem.networks:
        field = fit.model.solution.fields[name]
        exact = fit.problem.exact_of.get(name)
        if not _scalar(fit, field):
            continue
        if fit.place.domain.dim == 1:
            out += _on_a_line(fit, name, field, exact)
        elif fit.place.domain.dim == 2:
            out += _in_the_plane(fit, name, field, exact)
        else:
            out += _in_many_dimensions(fit, name, field, exact)
    out += _coefficients(fit)
    if fit.problem.mass is not None and fit.place.time is not None:
        out.append(_mass(fit, fit.problem.mass))
    out.append(_terms(fit))
    return out


def _on_a_line(fit: PDEFit, name: str, field: Field, exact: Function | None) -> list[Panel]:
    low, high = _ends(fit, 0)
    x = np.linspace(low, high, _LINE)
    times, observed = _times(fit), _observations(fit, name)
    frames: list[tuple[str, Sequence[Mark]]] = []
    table, errors = [], []
    for time in times:
        u, true = _along(fit, field, exact, time, torch.as_tensor(x).unsqueeze(-1))
        marks: list[Mark] = []
        if true is not None:
            marks.append(Line("exact", Role.TRUTH, x, true))
            errors.append(u - true)
        marks.append(Line("solution", Role.FIT, x, u))
        if observed is not None:
            marks.append(_near(fit, observed, time))
        frames.append((f"{time:.3g}", marks))
        table.append(u)
    axes = Axes("x", name)
    if fit.place.time is None:
        return [Chart(f"Solution {name}", "The solution over the domain.", axes, frames[0][1])]
    out: list[Panel] = [
        Film(
            f"Solution {name}",
            "The solution at one time; the slider moves through time."
            + (" Dots are observations near that time." if observed is not None else ""),
            axes, "t", frames,
        ),
        Chart(
            f"Solution {name} in time",
            "Time from left to right, x from bottom to top.",
            Axes("t", "x"),
            [Surface(name, Role.FIT, times, x, np.stack(table, 1))],
        ),
    ]  # fmt: skip
    if errors:
        out.append(
            Chart(
                f"Error of {name}",
                "Solution minus exact solution, over time and space.",
                Axes("t", "x"),
                [Surface("error", Role.RESIDUAL, times, x, np.stack(errors, 1), signed=True)],
            )
        )
    return out


def _in_the_plane(fit: PDEFit, name: str, field: Field, exact: Function | None) -> list[Panel]:
    (a, b), (c, d) = _ends(fit, 0), _ends(fit, 1)
    x, y = np.linspace(a, b, _SIDE), np.linspace(c, d, _SIDE)
    grid = torch.as_tensor(np.stack([g.ravel() for g in np.meshgrid(x, y)], -1))
    outside = (~fit.place.domain.contains(grid)).numpy()
    solution: list[tuple[str, Sequence[Mark]]] = []
    errors: list[tuple[str, Sequence[Mark]]] = []
    for time in _times(fit):
        u, true = _along(fit, field, exact, time, grid)
        u = np.where(outside, np.nan, u)
        label = f"{time:.3g}"
        solution.append((label, [Surface(name, Role.FIT, x, y, u.reshape(_SIDE, _SIDE))]))
        if true is not None:
            gap = (u - true).reshape(_SIDE, _SIDE)
            errors.append((label, [Surface("error", Role.RESIDUAL, x, y, gap, signed=True)]))
    axes = Axes("x1", "x2", (a, b), (c, d))
    shown = [("Solution", "The solution in the plane", solution)]
    if errors:
        shown.append(("Error", "Solution minus exact solution", errors))
    if fit.place.time is None:
        return [Chart(f"{title} {name}", f"{what}.", axes, f[0][1]) for title, what, f in shown]
    return [
        Film(f"{title} {name}", f"{what}; the slider moves through time.", axes, "t", frames)
        for title, what, frames in shown
    ]


def _in_many_dimensions(
    fit: PDEFit, name: str, field: Field, exact: Function | None
) -> list[Panel]:
    """Slices along the first axes through the centre, and all test points by their radius."""
    domain = fit.place.domain
    centre = domain.centre
    out: list[Panel] = []
    for axis in range(min(domain.dim, _SHOWN)):
        low, high = _ends(fit, axis)
        x = np.linspace(low, high, _LINE)
        points = centre.repeat(_LINE, 1)
        points[:, axis] = torch.as_tensor(x)
        frames: list[tuple[str, Sequence[Mark]]] = []
        for time in _times(fit):
            u, true = _along(fit, field, exact, time, points)
            marks: list[Mark] = []
            if true is not None:
                marks.append(Line("exact", Role.TRUTH, x, true))
            marks.append(Line("solution", Role.FIT, x, u))
            frames.append((f"{time:.3g}", marks))
        title, axes = f"{name} along x{axis + 1}", Axes(f"x{axis + 1}", name)
        what = "The other coordinates are those of the centre of the domain"
        if fit.place.time is None:
            out.append(Chart(title, f"{what}.", axes, frames[0][1]))
        else:
            out.append(Film(title, f"{what}; the slider moves through time.", axes, "t", frames))
    t, x_test = (part[:_DOTS] for part in fit.test)
    radius = _np((x_test - centre).norm(dim=-1))
    u_test = _np(fit.values(field, t, x_test))
    dots: list[Mark] = []
    if exact is not None:
        dots.append(Points("exact", Role.TRUTH, radius, _np(exact(t, x_test))))
    dots.append(Points("solution", Role.FIT, radius, u_test))
    caption = "The solution at points of the sampler, of all times, by distance from the centre."
    out.append(Chart(f"Radial profile of {name}", caption, Axes("|x|", name), dots))
    if exact is not None:
        gap = np.abs(u_test - _np(exact(t, x_test)))
        out.append(
            Chart(
                f"Error of {name}",
                "The size of the error at the same points, against time.",
                Axes("t", "error", log_y=True),
                [Points("error", Role.RESIDUAL, _np(t), np.maximum(gap, 1e-16))],
            )
        )
    return out


def _coefficients(fit: PDEFit) -> list[Panel]:
    """Unknown fields along the first axis, through the centre."""
    out: list[Panel] = []
    low, high = _ends(fit, 0)
    x = np.linspace(low, high, _LINE)
    points = fit.place.domain.centre.repeat(_LINE, 1)
    points[:, 0] = torch.as_tensor(x)
    time = float(_times(fit)[-1])
    for name, coefficient in fit.learned.coefficients.items():
        truth = fit.problem.unknowns[name].truth
        found, true = _along(fit, coefficient, truth if callable(truth) else None, time, points)
        marks: list[Mark] = []
        if true is not None:
            marks.append(Line("true", Role.TRUTH, x, true))
        marks.append(Line("found", Role.FIT, x, found))
        caption = "The unknown coefficient along the first axis."
        out.append(Chart(f"Coefficient {name}", caption, Axes("x1", name), marks))
    return out


def _mass(fit: PDEFit, conserved: Conserved) -> Chart:
    times, mass = masses(fit, conserved)
    return Chart(
        "Conserved integral",
        "The integral over the domain that the equation conserves, by quadrature.",
        Axes("t", "integral"),
        [Line("solution", Role.FIT, _np(times), _np(mass))],
    )


def _terms(fit: PDEFit) -> Table:
    """Every equation and condition: how it is met."""
    rows: list[list[str | float | int]] = [
        [name, size, float(weight)]
        for (name, size), weight in zip(
            term_sizes(fit).items(), fit.model.weights.tolist(), strict=True
        )
    ]
    rows += [
        [name, "met exactly", "-"] for name in fit.problem.conditions if name not in fit.terms
    ]
    return Table(
        "Equations and conditions",
        "The root mean square of what should vanish, at points apart from those of training, and "
        "the weight of its square in the loss: the rule of equal traces of the tangent kernel.",
        ["term", "root mean square", "weight"],
        rows,
    )


def _along(
    fit: PDEFit, field: Field, exact: Function | None, time: float, x: Tensor
) -> tuple[Array, Array | None]:
    t = torch.full((len(x),), float(time), dtype=torch.float64)
    x = x.double()
    return _np(fit.values(field, t, x)), None if exact is None else _np(exact(t, x))


def _observations(fit: PDEFit, name: str) -> tuple[Array, Array, Array] | None:
    for condition in fit.problem.conditions.values():
        if isinstance(condition, Observed) and (condition.field or fit.problem.first) == name:
            parts = (torch.as_tensor(p) for p in (condition.t, condition.x, condition.value))
            t, x, value = (_np(p) for p in parts)
            return t, x[:, 0], value
    return None


def _near(fit: PDEFit, observed: tuple[Array, Array, Array], time: float) -> Points:
    """The observations nearest to a frame's time."""
    t, x, value = observed
    start, end = fit.place.time or (0.0, 1.0)
    near = np.abs(t - time) <= 0.5 * (end - start) / (_FRAMES - 1)
    return Points("observed", Role.DATA, x[near], value[near])


def _times(fit: PDEFit) -> Array:
    if fit.place.time is None:
        return np.zeros(1)
    return np.linspace(*fit.place.time, _FRAMES)


def _ends(fit: PDEFit, axis: int) -> tuple[float, float]:
    domain = fit.place.domain
    reach = _REACH if isinstance(domain, Space) else 1.0
    centre, half = float(domain.centre[axis]), reach * float(domain.scale[axis])
    return centre - half, centre + half


def _scalar(fit: PDEFit, field: Field) -> bool:
    t, x = (part[:2] for part in fit.test)
    return fit.values(field, t, x).ndim == 1


def _np(tensor: Tensor) -> Array:
    return tensor.detach().cpu().double().numpy()
