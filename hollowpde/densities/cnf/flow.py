"""The equation of a flow, with all that is integrated beside it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hollowpde.densities.cnf.penalties import Rate
from hollowpde.densities.cnf.solver import State
from hollowpde.densities.cnf.trace import Estimate
from hollowpde.operators.dimwise import dimwise
from hollowpde.operators.field import as_time
from hollowpde.operators.reference import FieldLike


class Along:
    r"""The way of samples along a velocity: `s = 0` is the start of the flow, `s = 1` is t.

    $$ \frac{dx}{ds} = T v(t_0 + s T, x), \quad T = t - t_0 $$

    Every sample has a t of its own. Beside x the state holds the integral of the divergence, if
    there is an estimate of it, and those of penalties.

    Arguments:
        velocity: v.
        start: t_0.
        duration: T, a scalar or `(...)`.
        estimate: of the divergence.
        rates: of penalties.
    """

    def __init__(
        self,
        velocity: FieldLike,
        start: float,
        duration: Tensor,
        estimate: Estimate | None = None,
        rates: Sequence[Rate] = (),
    ) -> None:
        self.velocity, self.start, self.duration = velocity, start, duration
        self.estimate, self.rates = estimate, rates
        self.evaluations = 0

    @property
    def tensors(self) -> Sequence[Tensor]:
        velocity = self.velocity
        own = velocity if isinstance(velocity, nn.Module) else nn.Module()
        # A context is a buffer, which may be the result of a network.
        return [*own.parameters(), *own.buffers(), self.duration]

    def time(self, s: float, sample: tuple[int, ...]) -> float:
        duration = self.duration[sample] if self.duration.ndim else self.duration
        return self.start + s * float(duration)

    def __call__(self, s: Tensor, state: State) -> State:
        self.evaluations += 1
        x, t = state[0], self.start + s * self.duration
        scalars: list[Tensor] = []
        if self.estimate is None:
            value = self.velocity(as_time(t, x), x)
        else:
            value, divergence = self.estimate(self.velocity, t, x)
            scalars.append(divergence)
        scalars += [rate(self.velocity, t, x, value) for rate in self.rates]
        return self.duration.unsqueeze(-1) * value, *(self.duration * y for y in scalars)

    def with_diagonal(self, s: Tensor, state: State) -> tuple[State, Tensor]:
        """The rate, its divergence exact, and the diagonal `(..., d)` of dx/ds by x."""
        self.evaluations += 1
        x, t = state[0], self.start + s * self.duration
        value, slope = dimwise(self.velocity, as_time(t, x), x, order=1)
        scalars = [] if self.estimate is None else [slope.sum(-1)]
        scalars += [rate(self.velocity, t, x, value) for rate in self.rates]
        T = self.duration.unsqueeze(-1)
        return (T * value, *(self.duration * y for y in scalars)), T * slope


class ScoreAlong(Along):
    r"""The way of samples and of the score, by the adjoint of the divergence.

    $$ \frac{ds}{dt} = - \Big(\frac{\partial v}{\partial x}\Big)^\top s
       - \nabla (\nabla \cdot v) $$

    The state is x and the score at x.
    """

    def __init__(
        self, velocity: FieldLike, start: float, duration: Tensor, estimate: Estimate
    ) -> None:
        super().__init__(velocity, start, duration, estimate)
        self.own = estimate

    def __call__(self, s: Tensor, state: State) -> State:
        self.evaluations += 1
        (x, score), t = state, self.start + s * self.duration
        record = torch.is_grad_enabled()
        with torch.enable_grad():
            # A view: the score owes something to x too, which is no derivative here.
            leaf = x.view_as(x) if record and x.requires_grad else x.detach().requires_grad_()
            value, divergence = self.own(self.velocity, t, leaf)
            total = (value * score).sum() + divergence.sum()
            (slope,) = torch.autograd.grad(
                total, leaf, create_graph=record, materialize_grads=True, allow_unused=True
            )
        T = self.duration.unsqueeze(-1)
        if not record:
            value, slope = value.detach(), slope.detach()
        return T * value, -T * slope
