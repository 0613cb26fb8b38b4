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

Equation = Callable[..., Tensor]


@dataclass(frozen=True)
class Group:
    """Residuals that are asked for at the same points.

    Arguments:
        columns: for each residual of a point, the name of the term that it belongs to.
        rows: the residuals of a solution at points `(...)`: `(..., m)`.
        draw: points, so many of them, by a generator; in double precision.
        factor: on the weight of these terms.
        observed: whether they are noisy data, rather than what must hold.
    """

    columns: Sequence[str]
    rows: Callable[..., Tensor]
    draw: Callable[[torch.Generator], Batch]
    factor: float = 1.0
    observed: bool = False


class Interior:
    """All equations at once: each field is differentiated in one pass for all of them.

    Evaluated once at a few points, before anything is trained, to see what they ask for.

    Arguments:
        equations: by name.
        solution: of random weights.
        t, x: a few points.
        steady: whether there is no time.

    Raises:
        InputError: an equation returns another shape, or has a time derivative if steady.
    """

    def __init__(
        self,
        equations: Mapping[str, Equation],
        solution: Solution,
        t: Tensor,
        x: Tensor,
        steady: bool,
    ) -> None:
        self.equations = equations
        jets = [Jet(f, t, x) for f in solution.all_fields]
        own, named = solution.arguments(jets)
        # For each residual of a point, the name of its equation.
        self.columns: list[str] = []
        for name, equation in equations.items():
            value = equation(*own, t, x, **named)
            _check_shape(name, value, t)
            if steady and any(jet.needs.dt_order >= 0 for jet in jets):
                raise InputError(
                    f"the residual {name!r} has a time derivative, but the problem is steady: "
                    "give time=(t0, t1), or leave u.dt out."
                )
            self.columns += [name] * (1 if value.ndim == t.ndim else value.shape[-1])
        # What they ask of each field: known from here on, it takes the fewest passes.
        self._needs = [jet.needs for jet in jets]

    def __call__(self, solution: Solution, t: Tensor, x: Tensor) -> Tensor:
        pairs = zip(solution.all_fields, self._needs, strict=True)
        own, named = solution.arguments([Jet(f, t, x, needs) for f, needs in pairs])
        values = [equation(*own, t, x, **named) for equation in self.equations.values()]
        return torch.cat([v if v.ndim > t.ndim else v.unsqueeze(-1) for v in values], -1)


def _check_shape(name: str, value: object, t: Tensor) -> None:
    n = len(t)
    if isinstance(value, Tensor) and value.shape[:1] == t.shape and value.ndim <= 2:
        return
    shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
    raise InputError(
        f"the residual {name!r} must return one number for each of {n} points, ({n},), or "
        f"({n}, m) for m equations, but returned {shape}: reduce vectors as in "
        "(a * u.gradient).sum(-1)."
    )


@dataclass(frozen=True)
class OfCondition:
    """The residual of a condition on one field."""

    condition: Condition
    field: str

    def __call__(self, solution: Solution, *point: Tensor) -> Tensor:
        t, x, *others = point
        value = self.condition.residual(Jet(solution.fields[self.field], t, x), t, x, *others)
        return value if value.ndim > t.ndim else value.unsqueeze(-1)


def means(
    groups: Sequence[Group], solution: Solution, batch: Sequence[Batch]
) -> dict[str, Tensor]:
    """The mean square of each term, given the points of each group."""
    out: dict[str, Tensor] = {}
    for group, points in zip(groups, batch, strict=True):
        squares = group.rows(solution, *points).square()
        for name, column in zip(group.columns, squares.flatten(0, -2).mean(0), strict=True):
            out[name] = out[name] + column if name in out else column
    return out
