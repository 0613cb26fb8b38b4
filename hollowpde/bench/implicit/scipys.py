"""SciPy's implicit solvers, as adapters; they are given the torch field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from scipy.integrate import solve_ivp
from scipy.sparse import block_diag
from torch import Tensor

from hollowpde.bench.implicit.cases import Array, Case
from hollowpde.bench.implicit.limit import Counted, Limit
from hollowpde.bench.implicit.solve import Answer, Prepared
from hollowpde.solvers.system import RightHandSide

BDF, RADAU, LSODA = "SciPy BDF", "SciPy Radau", "SciPy LSODA"


def in_numpy(f: RightHandSide, dim: int) -> Callable[[float, Array], Array]:
    """f as SciPy calls it with `vectorized=True`, for the states of some samples end to end.

    Arguments:
        f: of t `(n,)` and y `(n, dim)`.
        dim: of a sample.
    """

    def g(t: float, y: Array) -> Array:
        # (samples dim,) or, of columns, (samples dim, k).
        rows = np.ascontiguousarray(y.T).reshape(-1, dim)
        at = torch.full((len(rows),), float(t), dtype=torch.float64)
        value = f(at, torch.from_numpy(rows)).numpy()
        return value.reshape(y.T.shape).T

    return g


@dataclass(frozen=True)
class SciPy:
    """`scipy.integrate.solve_ivp`, of a batch sample by sample or as one system.

    Jacobians are differences.

    Arguments:
        method: SciPy's name of it.
        stacked: whether a batch is one system.
        sparse: whether SciPy is told that the samples of it do not depend on each other.
        vectorized: whether all columns of a Jacobian are one call of f, instead of one each.
        first: of a batch that is looped over, only so many, whose time stands for all.
    """

    name: str
    method: str
    stacked: bool = False
    sparse: bool = False
    vectorized: bool = True
    first: int | None = None
    ours: bool = False
    torch_field: bool = True
    levels: tuple[float, ...] | None = None

    def prepare(self, case: Case, dtype: torch.dtype) -> Prepared:
        samples = len(case.y0)
        pattern: Any = None
        if self.sparse:
            pattern = block_diag([np.ones((case.dim, case.dim))] * samples, format="csc")
        parts: list[Tensor] = [case.y0] if self.stacked else list(case.y0.split(1))
        chosen = parts[: self.first]
        share = len(chosen) / len(parts)

        def solve(rtol: float, limit: Limit) -> Answer:
            limit.seconds, limit.rows = share * limit.seconds, share * limit.rows
            f = in_numpy(Counted(case.f, limit), case.dim)
            solved = [self._one(f, case, part, rtol, pattern) for part in chosen]
            seconds = limit.wall / share
            limit.taken = round(limit.taken / share)
            return Answer(np.concatenate(solved, 1), seconds=seconds)

        return solve

    def _one(
        self,
        f: Callable[[float, Array], Array],
        case: Case,
        y0: Tensor,
        rtol: float,
        pattern: Any,
    ) -> Array:
        options = {} if pattern is None else {"jac_sparsity": pattern}
        # Its stubs know no function of columns that may be vectors.
        found = cast(Any, solve_ivp)(
            f, case.span, y0.reshape(-1).numpy(), method=self.method, t_eval=case.times,
            rtol=rtol, atol=case.floor * rtol, vectorized=self.vectorized,
            **options,
        )  # fmt: skip
        if not found.success:
            raise RuntimeError(found.message)
        return np.asarray(found.y.T.reshape(len(case.times), len(y0), case.dim), np.float64)


SCIPY = (SciPy(BDF, "BDF"), SciPy(RADAU, "Radau"), SciPy(LSODA, "LSODA"))
