"""torchdiffeq's solvers, as adapters."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchdiffeq import odeint

from hollowpde.bench.implicit.cases import Case
from hollowpde.bench.implicit.limit import Counted, Limit
from hollowpde.bench.implicit.solve import Answer, Prepared

DOPRI5 = "torchdiffeq dopri5"
# Of implicit_adams, which has no error control.
_STEPS = (30.0, 100.0, 300.0, 1000.0, 3000.0, 10_000.0)


@dataclass(frozen=True)
class TorchDiffEq:
    """`torchdiffeq.odeint`, of a batch with one step size.

    Arguments:
        method: its name of it.
        scipy: which of SciPy's solvers `scipy_solver` is to be.
        levels: numbers of steps, of a method with a fixed step size.
    """

    name: str
    method: str
    scipy: str | None = None
    levels: tuple[float, ...] | None = None
    ours: bool = False
    torch_field: bool = True

    def prepare(self, case: Case, dtype: torch.dtype) -> Prepared:
        start, end = case.span
        times = torch.tensor([start, *case.times], dtype=torch.float64)
        y0 = case.y0.to(dtype)

        def solve(level: float, limit: Limit) -> Answer:
            counted = Counted(case.f, limit)

            def f(t: Tensor, y: Tensor) -> Tensor:
                return counted(t.expand(len(y)).to(y), y)

            options: dict[str, object] = {}
            if self.scipy is not None:
                options["solver"] = self.scipy
            rtol = level
            if self.levels is not None:
                options["step_size"] = (end - start) / level
                # That of its inner iteration.
                rtol = 1e-8
            found = odeint(
                f, y0, times, rtol=rtol, atol=case.floor * rtol, method=self.method,
                options=options or None,
            )  # fmt: skip
            return Answer(found[1:].double().numpy())

        return solve


TORCHDIFFEQ = (
    TorchDiffEq(DOPRI5, "dopri5"),
    TorchDiffEq("torchdiffeq implicit_adams", "implicit_adams", levels=_STEPS),
    TorchDiffEq("torchdiffeq scipy_solver BDF", "scipy_solver", scipy="BDF"),
)
