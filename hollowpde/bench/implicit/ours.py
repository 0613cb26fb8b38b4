"""The project's solvers, as adapters."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hollowpde.bench.implicit.cases import Case
from hollowpde.bench.implicit.limit import Counted, Limit
from hollowpde.bench.implicit.solve import Answer, Prepared
from hollowpde.solvers import (
    ESDIRK43,
    AdamsMoulton,
    Auto,
    DenseNewton,
    FunctionalIteration,
    JacobiNewtonBDF,
    NewtonKrylov,
    RungeKutta,
    solve_ivp,
)
from hollowpde.solvers.integrate import Method

DEFAULT = "BDF, Jacobi-Newton"
DENSE = "BDF, dense Newton"


@dataclass(frozen=True)
class Ours:
    """A method of `hp.solve_ivp`."""

    name: str
    method: Method
    ours: bool = True
    torch_field: bool = True
    levels: tuple[float, ...] | None = None

    def prepare(self, case: Case, dtype: torch.dtype) -> Prepared:
        y0 = case.y0.to(dtype)

        def solve(rtol: float, limit: Limit) -> Answer:
            # Diagonals are counted by a limit of their own, that does not stop anything.
            seen = Limit(float("inf"), float("inf"))
            diagonal = None if case.diagonal is None else Counted(case.diagonal, seen)
            found = solve_ivp(
                Counted(case.f, limit), case.span, y0, method=self.method, rtol=rtol,
                atol=case.floor * rtol, t_eval=case.times, diagonal=diagonal,
                max_steps=10_000_000,
            )  # fmt: skip
            return Answer(found.y.double().numpy(), seen.taken)

        return solve


OURS = (
    Ours(DEFAULT, JacobiNewtonBDF()),
    Ours("BDF uncorrected, Jacobi-Newton", JacobiNewtonBDF(corrected=False)),
    Ours(DENSE, JacobiNewtonBDF(inner=DenseNewton())),
    Ours("BDF, Newton-Krylov", JacobiNewtonBDF(inner=NewtonKrylov())),
    Ours("BDF, functional iteration", JacobiNewtonBDF(inner=FunctionalIteration())),
    Ours("ESDIRK43, Jacobi-Newton", ESDIRK43()),
    Ours("Adams-Moulton, Jacobi-Newton", AdamsMoulton()),
    Ours("Adams-Moulton, functional iteration", AdamsMoulton(inner=FunctionalIteration())),
    Ours("RungeKutta", RungeKutta()),
    Ours("Auto", Auto()),
)
