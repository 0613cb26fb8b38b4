"""Dormand and Prince's method of order 5 with steps of its own choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchdiffeq import odeint, odeint_adjoint

from hollowpde.densities.cnf.solver import (
    Dynamics,
    State,
    Watched,
    check_finite,
    check_limits,
    per_sample,
)
from hollowpde.errors import UnsupportedError


@dataclass(frozen=True)
class Dopri5:
    """Dormand and Prince's method, by torchdiffeq, with an error below the tolerances.

    `error <= atol + rtol |y|` at every step, for every sample: the largest over the batch of the
    root mean square over dimensions, and the log-density's own.

    Arguments:
        rtol, atol: the tolerances.
        adjoint: gradients by a backward equation, which keeps nothing of the way there, instead
            of through all steps. It costs another solve, its gradients are those of the equation
            and not of its discretisation, and they cannot be differentiated again. Its own
            tolerances are the same, of the gradients as they come.
        max_steps: more are refused.

    Raises:
        InputError: tolerances that are not positive, or max_steps below 1.

    Source:
        Dormand and Prince, A family of embedded Runge-Kutta formulae (1980); for the adjoint:
        Chen et al., Neural Ordinary Differential Equations (2018), its norm: Kidger et al.,
        "Hey, that's not an ODE" (2021).

    >>> Dopri5(rtol=1e-6)
    Dopri5(rtol=1e-06, atol=1e-05, adjoint=False, max_steps=1000)
    """

    rtol: float = 1e-5
    atol: float = 1e-5
    adjoint: bool = False
    max_steps: int = 1000

    def __post_init__(self) -> None:
        check_limits(self.rtol, self.atol, self.max_steps)

    def integrate(self, dynamics: Dynamics, state: State, span: tuple[float, float]) -> State:
        watched = Watched(
            dynamics,
            self.max_steps,
            "the flow may be stiff: train it with hp.KineticEnergy() or a weight decay, loosen "
            "rtol and atol, raise max_steps, or take hp.RK4",
        )
        settings: dict[str, Any] = {
            "rtol": self.rtol,
            "atol": self.atol,
            "method": "dopri5",
            "options": {"norm": per_sample},
        }
        # Times in double precision, whatever that of the state.
        s = torch.tensor(span, dtype=torch.float64, device=state[0].device)
        if self.adjoint and torch.is_grad_enabled():
            out = odeint_adjoint(
                watched,
                state,
                s,
                adjoint_params=tuple(p for p in dynamics.tensors if p.requires_grad),
                adjoint_options={"norm": "seminorm"},
                **settings,
            )
            out = tuple(_DifferentiatedOnce.apply(y) for y in out)
        else:
            out = odeint(watched, state, s, **settings)
        watched.finished()
        end = tuple(y[-1] for y in out)
        check_finite(watched, state, end, span[0])
        return end


class _DifferentiatedOnce(torch.autograd.Function):
    """Refuses a second differentiation, of which the adjoint would leave out parts unsaid."""

    @staticmethod
    def forward(ctx: Any, y: Tensor) -> Tensor:
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            raise UnsupportedError(
                "a solve by its adjoint can be differentiated once only, and not with "
                "create_graph=True: use adjoint=False."
            )
        return grad
