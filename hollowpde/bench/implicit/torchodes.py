"""torchode's solver, which is explicit, as an adapter."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

import torch
from torch import Tensor

from hollowpde.bench.implicit.cases import Case
from hollowpde.bench.implicit.limit import Counted, Limit
from hollowpde.bench.implicit.solve import Answer, Prepared

INSTALLED = find_spec("torchode") is not None


@dataclass(frozen=True)
class TorchOde:
    """`torchode`'s Tsit5: every sample of a batch with its own step size."""

    name: str = "torchode Tsit5"
    ours: bool = False
    torch_field: bool = True
    levels: tuple[float, ...] | None = None

    def prepare(self, case: Case, dtype: torch.dtype) -> Prepared:
        import torchode

        times = torch.tensor([case.span[0], *case.times], dtype=torch.float64)
        start = torchode.InitialValueProblem(
            y0=case.y0.to(dtype), t_eval=times.expand(len(case.y0), -1)
        )

        def solve(rtol: float, limit: Limit) -> Answer:
            counted = Counted(case.f, limit)

            def f(t: Tensor, y: Tensor) -> Tensor:
                return counted(t.to(y), y)

            term = torchode.ODETerm(f)
            control = torchode.IntegralController(rtol=rtol, atol=case.floor * rtol, term=term)
            found = torchode.AutoDiffAdjoint(torchode.Tsit5(term=term), control).solve(start)
            if not bool((found.status == 0).all()):
                raise RuntimeError(f"torchode's status is {found.status.max().item()}")
            return Answer(found.ys.transpose(0, 1)[1:].double().numpy())

        return solve
