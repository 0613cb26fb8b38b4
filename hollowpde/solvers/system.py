"""The right-hand side of an ODE as the solvers see it: values, diagonals, products, and counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor, nn

from hollowpde.errors import InputError
from hollowpde.operators.dimwise import dimwise
from hollowpde.operators.field import Field
from hollowpde.solvers.trace import Recorder

RightHandSide = Callable[[Tensor, Tensor], Tensor]


class System:
    """`dy/dt = f(t, y)` for a batch, with the diagonal of its Jacobian where that is known.

    Arguments:
        f: a field, or any function of t `(n,)` and y `(n, d)` that returns `(n, d)`; samples must
            not depend on each other.
        diagonal: `df_i / dy_i` `(n, d)` of the same arguments, where f is not a field.
        dtype: what f is evaluated in; states may be of a higher precision.
    """

    def __init__(
        self,
        f: RightHandSide | nn.Module,
        diagonal: RightHandSide | None = None,
        *,
        dtype: torch.dtype,
    ) -> None:
        self._f, self._diagonal, self.dtype = f, diagonal, dtype
        # What f depends on and that asks for a gradient: found when a solve begins.
        self.theta: list[Tensor] = []
        # Evaluations, each of all samples that are then at work.
        self.counts: Counter[str] = Counter()
        # Where every step is noted, if anybody asks for that.
        self.recorder: Recorder | None = None

    @property
    def knows_diagonal(self) -> bool:
        return self._diagonal is not None or isinstance(self._f, Field)

    @property
    def diagonal_comes_along(self) -> bool:
        """Whether the diagonal is found on the way to f, as hollow fields do."""
        return self._diagonal is None and isinstance(self._f, Field)

    @property
    def eps(self) -> float:
        """The rounding of f, relative."""
        return float(torch.finfo(self.dtype).eps)

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        """f, not counted."""
        if y.dtype == self.dtype:
            return self._f(t, y)
        return self._f(t.to(self.dtype), y.to(self.dtype)).to(y.dtype)

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        self.counts["f"] += 1
        return self.f(t, y)

    def with_diagonal(self, t: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """f and the diagonal of its Jacobian, `(n, d)` each."""
        self.counts["f"] += 1
        self.counts["diagonal"] += 1
        at = t.to(self.dtype), y.to(self.dtype)
        if self._diagonal is not None:
            value, slope = self._f(*at), self._diagonal(*at)
        else:
            value, slope = dimwise(self._f, *at, order=1)
        return value.to(y.dtype), slope.to(y.dtype)

    def jacobian(self, t: Tensor, y: Tensor) -> Tensor:
        """`df_i / dy_j`, `(n, d, d)`: d directional derivatives at once."""
        self.counts["jacobian"] += 1
        n, d = y.shape
        rows = torch.eye(d, dtype=y.dtype, device=y.device)

        # All directions of all samples as one batch: f is called once, on (d n, d).
        def along(z: Tensor) -> Tensor:
            return self.f(t.repeat(d), z)

        directions = rows.repeat_interleave(n, 0)
        out = torch.func.jvp(along, (y.repeat(d, 1),), (directions,))[1]
        return out.reshape(d, n, d).permute(1, 2, 0)

    def jvp(self, t: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """`J v`, `(n, d)`, exactly."""
        self.counts["jvp"] += 1
        product = torch.func.jvp(lambda z: self.f(t, z), (y.contiguous(),), (v.contiguous(),))[1]
        return product


def check_values(f: RightHandSide | nn.Module, t: Tensor, y: Tensor) -> None:
    """Refuse a right-hand side of another shape or dtype, before anything is solved."""
    with torch.no_grad():
        value = f(t, y)
    if not isinstance(value, Tensor) or value.shape != y.shape or value.dtype != y.dtype:
        got = f"{tuple(value.shape)}, {value.dtype}" if isinstance(value, Tensor) else type(value)
        raise InputError(
            f"f(t, y) must return {tuple(y.shape)}, {y.dtype}, for t {tuple(t.shape)} (one time "
            f"for each sample: use t[:, None] beside y) and y {tuple(y.shape)}, but returned "
            f"{got}."
        )
