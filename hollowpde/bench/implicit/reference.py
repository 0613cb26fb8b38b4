"""The references: SciPy, to tolerances that no solver here is asked for."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from scipy.integrate import solve_ivp

from hollowpde.bench.implicit.cases import Array, Case
from hollowpde.bench.implicit.scipys import in_numpy
from hollowpde.errors import SolverError

_RADAU, _SMOOTH = 1e-10, 1e-12
# Of a sum that a system conserves.
_SUM = 1e-9


def reference(case: Case) -> Array:
    """The solution at the times of a case, `(T, B, d)`.

    By SciPy's Radau with the exact Jacobian; where the stiffness is so mild that an explicit
    method reaches the end, by DOP853 to two digits more.

    Raises:
        SolverError: SciPy does not get to the end, or a conserved sum is lost.
    """
    with torch.no_grad():
        values = _by_dop853(case) if case.smooth else _by_radau(case)
    if case.sum is not None:
        lost = float(np.abs(values.sum(-1) - case.sum).max())
        if lost > _SUM:
            raise SolverError(f"{case.name}: the reference loses {lost:.1e} of a conserved sum.")
    return values


def _by_dop853(case: Case) -> Array:
    """All samples as one system: an explicit method is none the worse for it."""
    found = cast(Any, solve_ivp)(
        in_numpy(case.f, case.dim), case.span, case.y0.reshape(-1).numpy(), method="DOP853",
        t_eval=case.times, rtol=_SMOOTH, atol=_SMOOTH * case.floor, vectorized=True,
    )  # fmt: skip
    return _values(case, found)


def _by_radau(case: Case) -> Array:
    def jacobian(t: float, y: Array) -> Array:
        at = torch.full((1,), float(t), dtype=torch.float64)
        rows = torch.func.jacrev(lambda z: case.f(at, z[None])[0])(torch.tensor(y))
        return rows.numpy()

    found = cast(Any, solve_ivp)(
        in_numpy(case.f, case.dim), case.span, case.y0[0].numpy(), method="Radau",
        t_eval=case.times, rtol=_RADAU, atol=_RADAU * case.floor, vectorized=True, jac=jacobian,
    )  # fmt: skip
    return _values(case, found)


def _values(case: Case, found: Any) -> Array:
    if not found.success:
        raise SolverError(f"{case.name}: no reference, {found.message}")
    y = np.asarray(found.y, np.float64)
    return y.T.reshape(len(case.times), *case.y0.shape)
