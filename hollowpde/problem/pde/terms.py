"""The terms of the loss: equations at points of the domain, and conditions at points of theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hollowpde.errors import InputError
from hollowpde.operators.jets import Jet
from hollowpde.problem.pde.conditions import Batch, Condition
from hollowpde.problem.pde.model import Solution
from hollowpde.residuals import Residual

Equation = Callable[..., Tensor]


@dataclass(frozen=True)
class Group:
    """Residuals that are asked for at the same points.

    Arguments:
        name: of the points.
        columns: for each residual of a point, the name of the term that it belongs to.
        rows: the residuals of a solution at points `(...)`: `(..., m)`.
        factor: on the weight of these terms.
    """

    name: str
    columns: Sequence[str]
    rows: Callable[..., Tensor]
    factor: float = 1.0


class Interior:
    """All equations at once: each field is differentiated in one pass for all of them."""

    def __init__(self, equations: Mapping[str, Equation]) -> None:
        self.equations = equations
        self._residual: Residual | None = None

    def __call__(self, solution: Solution, t: Tensor, x: Tensor) -> Tensor:
        fields = solution.all_fields
        residual = self._residual or Residual(lambda *given: torch.empty(0), len(fields))
        residual.expression = lambda *given: self._evaluate(solution, given)
        self._residual = residual
        return residual(fields, t, x)

    def check(self, solution: Solution, t: Tensor, x: Tensor, steady: bool) -> list[str]:
        """Evaluate once at a few points, before anything is trained; the names of the columns.

        Raises:
            InputError: an equation returns another shape, or has a time derivative if steady.
        """
        columns: list[str] = []
        for name, equation in self.equations.items():
            jets = [Jet(f, t, x) for f in solution.all_fields]
            own, named = solution.arguments(jets)
            value = equation(*own, t, x, **named)
            if not isinstance(value, Tensor) or value.shape not in (
                t.shape, x.shape, (*t.shape, value.shape[-1] if value.ndim > 1 else 0),
            ):  # fmt: skip
                shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise InputError(
                    f"the residual {name!r} must return one number for each of {len(t)} points, "
                    f"({len(t)},), or ({len(t)}, m) for m equations, but returned {shape}: reduce "
                    "vectors as in (a * u.gradient).sum(-1)."
                )
            if steady and any(jet.needs.dt_order >= 0 for jet in jets):
                raise InputError(
                    f"the residual {name!r} has a time derivative, but the problem is steady: "
                    "give time=(t0, t1), or leave u.dt out."
                )
            columns += [name] * (1 if value.ndim == t.ndim else value.shape[-1])
        return columns

    def _evaluate(self, solution: Solution, given: Sequence[Jet | Tensor]) -> Tensor:
        *jets, t, x = given
        own, named = solution.arguments(jets)  # type: ignore[arg-type]
        values = [e(*own, t, x, **named) for e in self.equations.values()]
        assert isinstance(t, Tensor)
        return torch.cat([v if v.ndim > t.ndim else v.unsqueeze(-1) for v in values], -1)


@dataclass(frozen=True)
class OfCondition:
    """The residual of a condition on one field."""

    condition: Condition
    field: str

    def __call__(self, solution: Solution, *point: Tensor) -> Tensor:
        t, x, *others = point
        value = self.condition.residual(Jet(solution.field(self.field), t, x), t, x, *others)
        return value if value.ndim > t.ndim else value.unsqueeze(-1)


def means(
    groups: Sequence[Group], solution: Solution, batch: Mapping[str, Batch]
) -> dict[str, Tensor]:
    """The mean square of each term."""
    out: dict[str, Tensor] = {}
    for group in groups:
        squares = group.rows(solution, *batch[group.name]).square()
        for name, column in zip(group.columns, squares.flatten(0, -2).mean(0), strict=True):
            out[name] = out[name] + column if name in out else column
    return out
