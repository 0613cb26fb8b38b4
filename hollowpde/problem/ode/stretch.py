"""Solving from each observation to the next one, all at once, though their times differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hollowpde.operators.field import Field
from hollowpde.solvers import Solution, solve_ivp
from hollowpde.solvers.integrate import Method


class Stretch(Field):
    r"""A field on stretches of time of their own, all from s = 0 to s = 1.

    $$ \frac{dx}{ds} = \ell \, f(t_0 + \ell s, x), \quad
       \frac{dt_0}{ds} = \frac{d\ell}{ds} = 0 $$

    The start $t_0$ and the length $\ell$ of each sample are carried along as two components.
    """

    def __init__(self, field: Field) -> None:
        super().__init__()
        self.field = field

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        state, (start, length) = x[..., :-2], x[..., -2:].unbind(-1)
        parts = self.field.dimwise(start + length * t, state, order)
        still = torch.zeros_like(x[..., -2:])
        return tuple(torch.cat([length.unsqueeze(-1) * y, still], dim=-1) for y in parts)


@dataclass(frozen=True)
class Solver:
    """A method, its tolerances, and how many steps it may take."""

    method: Method
    rtol: float
    atol: float
    max_steps: int

    def solve(
        self, field: Field, t: Tensor, x: Tensor, length: Tensor, at: Sequence[float] = (1.0,)
    ) -> tuple[Tensor, Solution]:
        """Values of a field's solutions; nan where they do not get.

        Arguments:
            field: f.
            t, x: where each begins, `(n,)` and `(n, d)`.
            length: how far it goes, `(n,)`.
            at: shares of that, in order.

        Returns:
            Values `(T, n, d)`, and all that the solver says.
        """
        d = x.shape[-1]
        together = torch.cat([x, t.unsqueeze(-1), length.unsqueeze(-1)], dim=-1)
        # Errors are in the root mean square over components, two of which have none.
        share = (d / (d + 2)) ** 0.5
        found = solve_ivp(
            Stretch(field), (0.0, 1.0), together, method=self.method, rtol=share * self.rtol,
            atol=share * self.atol, t_eval=at, max_steps=self.max_steps, throw=False,
        )  # fmt: skip
        return found.y[..., :d], found
