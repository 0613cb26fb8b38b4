"""The classical method of order 4 with a fixed number of steps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchdiffeq import odeint

from hollowpde.densities.cnf.solver import Dynamics, State, Watched, check_finite
from hollowpde.errors import InputError


@dataclass(frozen=True)
class RK4:
    """The method of Runge and Kutta of order 4 (the 3/8 rule), by torchdiffeq, in equal steps.

    A fixed budget of `4 steps` evaluations, with gradients through all of them; nothing says how
    large the error is.

    Arguments:
        steps: how many.

    Raises:
        InputError: steps below 1.

    Source:
        Kutta, Beitrag zur näherungsweisen Integration totaler Differentialgleichungen (1901).

    >>> RK4(steps=8)
    RK4(steps=8)
    """

    steps: int = 8

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"steps must be at least 1, but is {self.steps}.")

    def integrate(self, dynamics: Dynamics, state: State, span: tuple[float, float]) -> State:
        watched = Watched(
            dynamics, self.steps, "raise steps, or lower the learning rate if this is in training"
        )

        def grid(function: object, y: Tensor, s: Tensor) -> Tensor:
            return torch.linspace(float(s[0]), float(s[-1]), self.steps + 1).to(s)

        s = torch.tensor(span, dtype=torch.float64, device=state[0].device)
        out = odeint(watched, state, s, method="rk4", options={"grid_constructor": grid})
        end = tuple(y[-1] for y in out)
        check_finite(watched, state, end, span[0])
        return end
