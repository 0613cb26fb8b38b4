"""The orders of the methods, at fixed steps on a smooth system that is not stiff."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from scipy.integrate import solve_ivp as by_scipy
from torch import Tensor

from hollowpde.bench.implicit.figures import Figure
from hollowpde.bench.tables import Heading, Result, Row
from hollowpde.solvers import (
    ESDIRK43,
    AdamsMoulton,
    FunctionalIteration,
    JacobiNewtonBDF,
    solve_ivp,
)
from hollowpde.solvers.integrate import Method

_END = 4.0
_ALLOWED = 0.2
# Enough for functional iteration to converge to near rounding at these steps.
_PATIENT = FunctionalIteration(iterations=40)

METHODS: dict[str, Callable[[int, float], Method]] = {
    "BDF": lambda k, h: JacobiNewtonBDF(fixed=(k, h)),
    "BDF, uncorrected": lambda k, h: JacobiNewtonBDF(fixed=(k, h), corrected=False),
    "Adams-Moulton": lambda k, h: AdamsMoulton(fixed=(k, h)),
    "Adams-Moulton, functional": lambda k, h: AdamsMoulton(inner=_PATIENT, fixed=(k, h)),
    "ESDIRK43": lambda k, h: ESDIRK43(fixed=h),
}


def _f(t: Tensor, y: Tensor) -> Tensor:
    a, b = y.unbind(1)
    return torch.stack([b * torch.cos(t), -a + 0.3 * torch.sin(t) * b], 1)


def _diagonal(t: Tensor, y: Tensor) -> Tensor:
    return torch.stack([0 * t, 0.3 * torch.sin(t)], 1)


def measure(highest: int) -> list[Row]:
    """The order of each method up to the highest, from the errors with two step sizes."""
    start = [1.0, 0.5]
    exact = by_scipy(
        lambda t, y: [y[1] * math.cos(t), -y[0] + 0.3 * math.sin(t) * y[1]],
        (0, _END), start, method="DOP853", rtol=1e-13, atol=1e-14,
    ).y[:, -1]  # fmt: skip
    y0 = torch.tensor([start], dtype=torch.float64)
    rows: list[Row] = []
    for name, method in METHODS.items():
        for order in (4,) if name == "ESDIRK43" else range(1, highest + 1):
            coarse = 40 if name == "ESDIRK43" else 320 if order == 3 else 160 if order > 3 else 80
            errors = []
            for n in (coarse, 2 * coarse):
                with torch.no_grad():
                    found = solve_ivp(
                        _f, (0.0, _END), y0, method=method(order, _END / n), diagonal=_diagonal,
                        rtol=1e-10, atol=1e-12,
                    )  # fmt: skip
                errors.append(float(np.abs(found.y[-1, 0].numpy() - exact).max()))
            rows.append(
                {
                    "method": name,
                    "nominal": order,
                    "measured": math.log2(errors[0] / errors[1]),
                    "error": errors[1],
                }
            )
    return rows


def tables(rows: list[Row]) -> list[Result]:
    return [Result(ORDERS, rows)]


def figures(rows: list[Row]) -> Iterator[Figure]:
    """What was asked."""
    off = max(abs(float(str(row["measured"])) - float(str(row["nominal"]))) for row in rows)
    yield Figure("orders: the furthest from nominal", off, _ALLOWED, least=False)


ORDERS = Heading(
    name="orders",
    title="Orders at fixed steps",
    notes=(
        "A smooth system of two components that is not stiff, on (0, 4), with steps from 4 / 40 "
        "to 4 / 640; from the errors with two of them.",
    ),
    keys=("method", "nominal"),
    quantity="order",
    log=False,
    aside=("error",),
)
