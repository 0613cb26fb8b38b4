"""How a PDE problem is solved."""

from __future__ import annotations

from dataclasses import dataclass

from hollowpde.errors import InputError
from hollowpde.problem.stage import LBFGS, Adam, GaussNewton


@dataclass(frozen=True)
class Solve:
    """The optimisers, in this order, and the points at which they ask the equation to hold.

    Gauss-Newton alone is the default: for networks of some thousand parameters it is far ahead.
    Above some ten thousand, Adam and then L-BFGS.

    Arguments:
        interior: points in the domain.
        boundary: points of each condition.
        refresh: steps after which they are drawn anew; L-BFGS keeps those that it begins with.
        adam, lbfgs, gauss_newton: those of no steps are left out.
        checks: how many times in a stage the loss is evaluated at points apart, by which weights
            are chosen.
    """

    interior: int = 1000
    boundary: int = 250
    refresh: int = 10
    adam: Adam = Adam(steps=0, lr=5e-3)
    lbfgs: LBFGS = LBFGS(steps=0)
    gauss_newton: GaussNewton = GaussNewton(steps=150)
    checks: int = 40

    def __post_init__(self) -> None:
        for name in ("interior", "boundary", "refresh", "checks"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, but is {getattr(self, name)}.")
        if not any(o.steps for o in (self.adam, self.lbfgs, self.gauss_newton)):
            raise InputError(
                "adam, lbfgs and gauss_newton all have no steps: give one of them some."
            )
