"""Flows by the methods of initial value problems, implicit ones above all."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hollowpde.densities.cnf.flow import Along, ScoreAlong
from hollowpde.densities.cnf.solver import Dynamics, State, check_limits
from hollowpde.errors import InputError, SolverError, UnsupportedError
from hollowpde.operators.field import Field
from hollowpde.solvers import JacobiNewtonBDF, solve_ivp
from hollowpde.solvers.integrate import Method


@dataclass(frozen=True)
class SolveIVP:
    """Any method of `solve_ivp`, with steps of each sample's own: for velocities that are stiff.

    x and the log-density are one state, whose Jacobian has the dimension-wise derivatives of the
    velocity and zero on its diagonal. The log-density is one more component of the error, which
    is a root mean square. Gradients are those of the implicit function theorem, once.

    A Jacobian, where one is needed, counts as an evaluation for each component.

    Samples leave the batch as they arrive, so none may have a row of its own in anything else:
    times, contexts and probes for each sample are refused.

    Arguments:
        method: `hp.JacobiNewtonBDF()`, `hp.ESDIRK43()`, `hp.AdamsMoulton()`, `hp.RungeKutta()`,
            `hp.Auto()`.
        rtol, atol: the tolerances.
        max_steps: more are refused.

    Raises:
        InputError: tolerances that are not positive, or max_steps below 1.

    Source:
        Chen and Duvenaud, Neural Networks with Cheap Differential Operators (2019), sec. 4.

    >>> flow = hp.CNF(hp.HollowNet(2), solver=hp.SolveIVP(hp.JacobiNewtonBDF(), rtol=1e-4))
    >>> flow.log_prob(torch.zeros(5, 2)).shape
    torch.Size([5])
    """

    method: Method = JacobiNewtonBDF()
    rtol: float = 1e-5
    atol: float = 1e-5
    max_steps: int = 10_000

    def __post_init__(self) -> None:
        check_limits(self.rtol, self.atol, self.max_steps)

    def integrate(self, dynamics: Dynamics, state: State, span: tuple[float, float]) -> State:
        if not isinstance(dynamics, Along) or isinstance(dynamics, ScoreAlong):
            raise UnsupportedError(
                "SolveIVP takes a flow and its log-density along, and no score: differentiate "
                "log_prob(x) by x, or take flow.using(solver=hp.Dopri5())."
            )
        x = state[0]
        if not x.numel():
            return state
        flat = tuple(part.reshape(-1, *part.shape[x.ndim - 1 :]) for part in state)
        joined = _Joined(dynamics, x.shape[-1])
        y = joined.join(flat)
        _check_alike(joined, y, span[0])
        try:
            solution = solve_ivp(
                joined, span, y, method=self.method, rtol=self.rtol, atol=self.atol,
                max_steps=self.max_steps,
            )  # fmt: skip
        except SolverError as error:
            raise SolverError(f"of a flow, t being the share of its way: {error}") from error
        stats = solution.stats
        dynamics.evaluations = stats.n_f + stats.n_jvp + y.shape[-1] * stats.n_jac
        end = joined.part(solution.y[-1])
        return tuple(part.reshape(like.shape) for part, like in zip(end, state, strict=True))


class _Joined(Field):
    """x and the scalars that are integrated beside it, as one state `(n, d + scalars)`."""

    def __init__(self, flow: Along, dim: int) -> None:
        super().__init__()
        self.flow, self.size = flow, dim

    def join(self, parts: State) -> Tensor:
        x, *scalars = parts
        return torch.cat([x, *(y.unsqueeze(-1) for y in scalars)], dim=-1)

    def part(self, y: Tensor) -> State:
        return y[..., : self.size], *y[..., self.size :].unbind(-1)

    def dimwise(self, s: Tensor, y: Tensor, order: int) -> tuple[Tensor, ...]:
        state = self.part(y)
        if order == 0:
            return (self.join(self.flow(s, state)),)
        rate, slope = self.flow.with_diagonal(s, state)
        # The rates of the scalars do not depend on the scalars.
        return self.join(rate), self.join((slope, *map(torch.zeros_like, rate[1:])))


@torch.no_grad()
def _check_alike(joined: _Joined, y: Tensor, s: float) -> None:
    """Refuse a flow whose samples are not alike: the last one alone must go as among all."""
    among = joined(y.new_full((len(y),), s), y)[-1:]
    try:
        alone = joined(y.new_full((1,), s), y[-1:])
    except (InputError, RuntimeError):  # of shapes that do not fit
        alone = among.new_full((1,), torch.nan)
    if alone.shape == among.shape:
        size = among.abs().amax() + 1.0
        if not torch.isfinite(among).all() or (alone - among).abs().amax() <= 1e-3 * size:
            return
    raise UnsupportedError(
        "SolveIVP needs samples that are alike: one time t for all points, a context without a "
        "row for each, and an exact trace. Solve them in groups, or take hp.Dopri5()."
    )
