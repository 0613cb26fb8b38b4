"""What a solver is, and what watches over one: failures are said, and steps are bounded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from hollowpde.errors import InputError, SolverError

# x `(..., d)`, then scalars of each sample `(...)`: the log-density and what is integrated beside.
State: TypeAlias = tuple[Tensor, ...]


class Dynamics(Protocol):
    """An equation along s in [0, 1] for each sample of a batch.

    Arguments of the call: s, a scalar tensor, and the state; returns its rate, in the same shapes.
    """

    @property
    def tensors(self) -> Sequence[Tensor]:
        """What the rate depends on beside the state: parameters, contexts, times."""
        ...

    def __call__(self, s: Tensor, state: State) -> State: ...

    def time(self, s: float, sample: tuple[int, ...]) -> float:
        """The time t at which a sample is at s."""
        ...


class Solver(Protocol):
    """Takes a state along s from one end of an interval to the other, forwards or backwards.

    Any object with this method will do. It must raise `SolverError` rather than return what is
    not finite.
    """

    def integrate(self, dynamics: Dynamics, state: State, span: tuple[float, float]) -> State:
        """The state at the end of the span, differentiable by the state and `tensors`."""
        ...


class Watched:
    """Dynamics under watch: evaluations are counted, and a failure names the sample and t.

    torchdiffeq looks for the callbacks by their names.

    Arguments:
        dynamics: the equation.
        most: steps that a solve may take, and a backward solve again.
        advice: how to try again.
    """

    def __init__(self, dynamics: Dynamics, most: int, advice: str) -> None:
        self.dynamics, self.most, self.advice = dynamics, most, advice
        self.steps = 0

    def __call__(self, s: Tensor, state: State) -> State:
        rate = self.dynamics(s, state)
        # A NaN or an infinity survives the sum; all is well but where it does.
        if not math.isfinite(float(rate[0].detach().sum())):
            self._check(s, state, rate)
        return rate

    def callback_step(self, s: Tensor, state: State, ds: Tensor) -> None:
        self._count(s, ds, state)

    def callback_step_adjoint(self, s: Tensor, state: State, ds: Tensor) -> None:
        self._count(s, ds, None)

    def finished(self) -> None:
        """The solve is over: what comes now is the backward one, with as many steps."""
        self.steps = 0

    def _count(self, s: Tensor, ds: Tensor, state: State | None) -> None:
        self.steps += 1
        s_now, step = float(s.detach()), abs(float(ds.detach()))
        if self.steps > self.most:
            what = f"needs more than {self.most} steps, the last of size {step:.2g}"
        elif not s_now + step > s_now:
            what = "needs steps too small for floating-point numbers"
        else:
            return
        if state is None:
            raise SolverError(f"the adjoint of the flow {what}: {self.advice}.")
        raise self.error(s_now, _stiffest(self.dynamics, s, state), state, what)

    def _check(self, s: Tensor, state: State, rate: State) -> None:
        bad = ~torch.isfinite(rate[0]).all(-1)
        if bad.any():
            raise self.error(
                float(s.detach()), _first(bad), state, "has a velocity that is not finite"
            )

    def error(self, s: float, sample: tuple[int, ...], state: State, what: str) -> SolverError:
        t = self.dynamics.time(s, sample)
        values = ", ".join(f"{v:.4g}" for v in state[0][sample].flatten()[:4].tolist())
        more = ", ..." if state[0].shape[-1] > 4 else ""
        which = f"sample {', '.join(map(str, sample))}" if sample else "the sample"
        return SolverError(
            f"{which}, at t = {t:.4g} and x = ({values}{more}), {what}: {self.advice}."
        )


def check_limits(rtol: float, atol: float, max_steps: int) -> None:
    """Refuse tolerances and a number of steps with which nothing can be solved.

    Raises:
        InputError: tolerances that are not positive, or max_steps below 1.
    """
    if not (rtol > 0 and atol > 0):
        raise InputError(f"rtol and atol must be positive, but are {rtol} and {atol}.")
    if max_steps < 1:
        raise InputError(f"max_steps must be at least 1, but is {max_steps}.")


def check_finite(watched: Watched, state: State, end: State, s: float) -> None:
    """Refuse a result that is not finite.

    Raises:
        SolverError: naming the first sample that is not.
    """
    for part in end:
        if math.isfinite(float(part.detach().sum())):
            continue
        bad = ~torch.isfinite(part)
        if part.shape == end[0].shape:  # a value for each dimension
            bad = bad.any(-1)
        if bad.any():
            raise watched.error(s, _first(bad), state, "ends up at values that are not finite")


@torch.no_grad()
def per_sample(parts: State) -> Tensor:
    """The norm of errors: the worst sample's, of its position or of a scalar.

    Of the position it is the root mean square over dimensions. Neither the size of the batch nor
    the number of scalars dilutes it: a tolerance holds for every sample. Steps are chosen by it,
    and no gradient goes through that choice.

    >>> per_sample((torch.tensor([[3.0, 3.0], [0.0, 0.0]]), torch.zeros(2)))
    tensor(3.)
    """
    x, *scalars = parts
    # Positions with a second part of the same shape, a score, are both of the first kind.
    sizes = [
        (y.square().mean(-1).sqrt() if y.shape == x.shape and y.ndim else y.abs()).amax()
        for y in (x, *scalars)
    ]
    return torch.stack(sizes).amax()


def _first(mask: Tensor) -> tuple[int, ...]:
    """The index of the first entry that is true."""
    return tuple(mask.nonzero()[0].tolist())


@torch.no_grad()
def _stiffest(dynamics: Dynamics, s: Tensor, state: State) -> tuple[int, ...]:
    """The sample whose velocity changes most along a short way of its own."""
    rate = dynamics(s, state)[0]
    size = 1e-3 * (1 + state[0].norm(dim=-1)) / (1e-12 + rate.norm(dim=-1))
    moved = (state[0] + size.unsqueeze(-1) * rate, *state[1:])
    change = ((dynamics(s, moved)[0] - rate).norm(dim=-1) / size).nan_to_num(torch.inf)
    return tuple(int(i) for i in torch.unravel_index(change.argmax(), change.shape))
