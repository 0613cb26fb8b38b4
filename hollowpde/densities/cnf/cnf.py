"""Continuous normalising flows: densities carried along by a velocity."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias, overload

import numpy as np
import torch
from scipy.stats import gaussian_kde
from torch import Tensor, nn

from hollowpde.densities.base import Density, DensityModel
from hollowpde.densities.cnf.dopri5 import Dopri5
from hollowpde.densities.cnf.flow import Along, ScoreAlong
from hollowpde.densities.cnf.ivp import SolveIVP
from hollowpde.densities.cnf.normal import StandardNormal
from hollowpde.densities.cnf.penalties import Penalty
from hollowpde.densities.cnf.solver import Solver
from hollowpde.densities.cnf.trace import ExactTrace, Trace
from hollowpde.errors import InputError, UnsupportedError
from hollowpde.nets.hollow import Given, HollowNet
from hollowpde.nets.structured.parts import check_dim
from hollowpde.operators import reference
from hollowpde.operators.dimwise import divergence
from hollowpde.operators.field import as_time, check_points
from hollowpde.operators.reference import FieldLike
from hollowpde.solvers.integrate import Method

Shape: TypeAlias = int | Sequence[int]

# Draws behind a marginal density, and times at which one is made at a time.
_DRAWS, _TIMES = 4000, 64


class PulledBack(NamedTuple):
    """Samples taken back to the start of the flow, and what was integrated on the way."""

    x: Tensor  # (..., d)
    divergence: Tensor  # (...), integrated from the start to t
    penalties: tuple[Tensor, ...]  # (...) each, integrated likewise


class CNF(DensityModel):
    r"""A density that a velocity carries along: the base at the start, pushed forward to t.

    $$ \frac{dx}{dt} = v(t, x), \quad
       \log p(t, x(t)) = \log p_0(x(t_0)) - \int_{t_0}^{t} \nabla \cdot v(s, x(s)) \, ds $$

    It obeys the continuity equation `dp/dt = -div(p v)` whatever v is, and is normalised at
    every time. The divergence of a hollow velocity is exact, for about the price of one random
    probe. The state of the equation is x and one log-density.

    Flow time is time: as any `Density` it is called as `log_prob(t, x)`, `sample(t, n)`,
    `score(t, x)`. A distribution without time is the density at the end of the interval:
    `log_prob(x)`, `sample(shape)`, `score(x)`, as in torch.distributions. Which of the two is
    meant is told by the number of arguments.

    A density fixes its velocity only up to fields w with `div(p w) = 0`: of snapshots alone it is
    one velocity of many.

    Arguments:
        velocity: v, called as `velocity(t, x)`: a `HollowNet`, any other `Field`, or a module of
            your own, whose divergence is then by brute force, or estimated.
        dim: d, where the velocity does not say.
        base: the density at the start; a standard normal one by default.
        interval: the times of start and end.
        trace: how the divergence is found: `ExactTrace()` by default, `HutchinsonTrace()` or
            `BruteForceTrace()`. Not part of the weights: `using` evaluates with another.
        solver: `Dopri5()` by default, `RK4()`, a method of `solve_ivp` such as
            `JacobiNewtonBDF()` (with tolerances: `SolveIVP(JacobiNewtonBDF(), rtol=1e-4)`), or an
            object with the method `integrate`.

    Raises:
        InputError: an argument of the wrong kind or shape.
        SolverError: the equation cannot be solved: it names the sample and t.

    Source:
        Chen et al., Neural Ordinary Differential Equations (2018); Grathwohl et al., FFJORD
        (2019); for exact traces: Chen and Duvenaud, Neural Networks with Cheap Differential
        Operators (2019).

    Example:
        >>> flow = hp.CNF(hp.HollowNet(2))
        >>> x = flow.sample(5)
        >>> flow.log_prob(x).shape, flow.log_prob(0.5, x).shape, flow.score(x).shape
        (torch.Size([5]), torch.Size([5]), torch.Size([5, 2]))
    """

    def __init__(
        self,
        velocity: FieldLike,
        dim: int | None = None,
        *,
        base: Density | None = None,
        interval: tuple[float, float] = (0.0, 1.0),
        trace: Trace | None = None,
        solver: Solver | Method | None = None,
    ) -> None:
        super().__init__()
        trace, solver = trace or ExactTrace(), _solver(solver)
        for name, given, method in (
            ("trace", trace, "begin"),
            ("solver", solver, "integrate"),
        ):
            if not callable(getattr(given, method, None)):
                raise InputError(
                    f"{name} must have a method {method}, as hp.ExactTrace() or hp.Dopri5(), but "
                    f"is a {type(given).__name__}."
                )
        start, end = interval
        if not (math.isfinite(start) and math.isfinite(end) and start != end):
            raise InputError(f"interval must be two different times, but is {interval}.")
        self.velocity = velocity
        self.dim = _dim_of(velocity, dim)
        self.base = StandardNormal(self.dim).to(self._place) if base is None else base
        self.start, self.end = float(start), float(end)
        self.trace, self.solver = trace, solver
        #: Evaluations of the velocity in the last call.
        self.nfe = 0

    def given(self, context: Tensor) -> CNF:
        """The density conditioned on a context, `(context,)` or a row for each `(..., context)`.

        >>> flow = hp.CNF(hp.HollowNet(2, context=3)).given(torch.ones(3))
        >>> flow.log_prob(torch.zeros(5, 2)).shape
        torch.Size([5])
        """
        if not isinstance(self.velocity, HollowNet) or not self.velocity.context:
            raise InputError(
                "given needs a velocity with a context, such as hp.HollowNet(2, context=3), but "
                f"this is {self.velocity}."
            )
        return self._like(self.velocity.given(context), self.trace, self.solver)

    def using(self, trace: Trace | None = None, solver: Solver | Method | None = None) -> CNF:
        """The same density, with the same weights, by another trace or solver.

        >>> flow = hp.CNF(hp.HollowNet(2)).using(trace=hp.HutchinsonTrace())
        >>> flow.log_prob(torch.zeros(5, 2)).shape
        torch.Size([5])
        """
        return self._like(self.velocity, trace or self.trace, solver or self.solver)

    @property
    def batch_shape(self) -> torch.Size:
        """That of the context, if there is one for each of several densities."""
        velocity = self.velocity
        return velocity.context.shape[:-1] if isinstance(velocity, Given) else torch.Size()

    @overload
    def log_prob(self, x: Tensor, /, *, generator: torch.Generator | None = ...) -> Tensor: ...

    @overload
    def log_prob(
        self, t: Tensor | float, x: Tensor, *, generator: torch.Generator | None = ...
    ) -> Tensor: ...

    def log_prob(
        self,
        t: Tensor | float | None = None,
        x: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """log p(t, x) in nats, `(...)`; of x alone, at the end.

        Arguments:
            t: time, a scalar or one for each point.
            x: points, `(..., d)`.
            generator: of the probes, if the trace has any.
        """
        t, x = self._places(t, x)
        return self.with_penalties(t, x, generator=generator)[0]

    @overload
    def score(self, x: Tensor, /) -> Tensor: ...

    @overload
    def score(self, t: Tensor | float, x: Tensor) -> Tensor: ...

    def score(self, t: Tensor | float | None = None, x: Tensor | None = None) -> Tensor:
        """grad_x log p(t, x), `(..., d)`; of x alone, at the end.

        Back along the flow, then forth with the adjoint equation of the divergence: differentiable
        by parameters and x, and within `torch.no_grad()` without any memory of the way.
        """
        return self._score(*self._places(t, x), None)

    @overload
    def sample(
        self, shape: Shape = ..., /, *, generator: torch.Generator | None = ...
    ) -> Tensor: ...

    @overload
    def sample(
        self, t: Tensor | float, n: int, generator: torch.Generator | None = ...
    ) -> Tensor: ...

    @torch.no_grad()
    def sample(
        self,
        t: Tensor | float | Shape = (),
        n: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draws: `sample(shape)` at the end, `(*shape, d)`, or `sample(t, n)`, `(n, *t.shape, d)`.

        With a context for each of several densities its shape stands before the d.
        """
        return self._draw(t, n, generator)

    @overload
    def rsample(
        self, shape: Shape = ..., /, *, generator: torch.Generator | None = ...
    ) -> Tensor: ...

    @overload
    def rsample(
        self, t: Tensor | float, n: int, generator: torch.Generator | None = ...
    ) -> Tensor: ...

    def rsample(
        self,
        t: Tensor | float | Shape = (),
        n: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """As `sample`, differentiable by the velocity; what is drawn from the base is held."""
        return self._draw(t, n, generator)

    def with_penalties(
        self,
        t: Tensor | float,
        x: Tensor,
        penalties: Sequence[Penalty] = (),
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """log p(t, x), `(...)`, and the penalties along the way of each point, `(...)` each."""
        back = self.pull_back(t, x, penalties, generator)
        return self.base.log_prob(self.start, back.x) - back.divergence, back.penalties

    def pull_back(
        self,
        t: Tensor | float,
        x: Tensor,
        penalties: Sequence[Penalty] = (),
        generator: torch.Generator | None = None,
    ) -> PulledBack:
        """Points at t taken back to the start of the flow."""
        rates = [p.begin(x, generator) for p in penalties]
        flow = Along(
            self.velocity,
            self.start,
            self._time(t, x) - self.start,
            self.trace.begin(x, generator),
            rates,
        )
        zero = x.new_zeros(x.shape[:-1])
        x0, *integrals = self.solver.integrate(flow, (x, *[zero] * (1 + len(rates))), (1.0, 0.0))
        self.nfe = flow.evaluations
        # From the end to the start all integrals come out with the other sign; a penalty is one
        # of the time that passes, in whatever direction.
        sign = torch.sign(flow.duration)
        return PulledBack(x0, -integrals[0], tuple(-sign * y for y in integrals[1:]))

    def push_forward(self, t: Tensor | float, x: Tensor) -> Tensor:
        """Points at the start of the flow, `(..., d)`, carried to t, a scalar or `(...)`."""
        flow = Along(self.velocity, self.start, self._time(t, x) - self.start)
        (end,) = self.solver.integrate(flow, (x,), (0.0, 1.0))
        self.nfe = flow.evaluations
        return end

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        value = self.with_penalties(t, x)[0]
        if order == 0:
            return (value,)
        if order == 1:
            return value, self._score(t, x, None)
        # Of second derivatives the flow knows nothing of its own: d reverse passes.
        return value, *reference.dimwise(self.score, t, x, order=order - 1)

    def in_time(
        self, t: Tensor, x: Tensor, order: int
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        # By the continuity equation: d log p / dt = -div v - v . grad log p.
        values = self.dimwise(t, x, order)
        if order == 0:
            return values, (self._rate(t, x),)
        return values, reference.dimwise(self._rate, t, x, order=order)

    def start_from(self, x: np.ndarray, seed: int) -> None:
        """Take starting values of the base from samples of all times, `(n, d)`."""
        if isinstance(self.base, DensityModel):
            self.base.start_from(x, seed)

    def marginal_log_prob(self, t: Tensor | float, x: Tensor) -> Tensor:
        """log p_j(t, x_j) of each coordinate alone, `(..., d)`.

        Exact in one dimension. In more, a kernel estimate from 4000 samples, the same at every
        call: for pictures.

        Raises:
            UnsupportedError: for more than 64 different times.
        """
        if self.dim == 1:
            return self.log_prob(t, x).unsqueeze(-1)
        at = as_time(t, x)
        times, label = at.unique(return_inverse=True)
        if len(times) > _TIMES:
            raise UnsupportedError(
                f"marginal densities of a flow are estimated from samples at each time: {_TIMES} "
                f"times at most at once, but there are {len(times)}."
            )
        draws = self.sample(times, _DRAWS, torch.Generator(x.device).manual_seed(0))
        out = torch.empty_like(x)
        for k in range(len(times)):
            for j in range(self.dim):
                kernels = gaussian_kde(draws[:, k, j].double().cpu().numpy())
                here = x[..., j][label == k].detach().double().cpu().numpy()
                out[..., j][label == k] = torch.as_tensor(kernels.logpdf(here)).to(x)
        return out

    def extra_repr(self) -> str:
        return (
            f"dim={self.dim}, interval=({self.start:g}, {self.end:g}), trace={self.trace}, "
            f"solver={self.solver}"
        )

    @property
    def _place(self) -> Tensor:
        """A tensor of the dtype and on the device of the flow."""
        own = itertools.chain(self.parameters(), self.buffers())
        return next((p for p in own if p.is_floating_point()), torch.zeros(()))

    def _like(self, velocity: FieldLike, trace: Trace, solver: Solver | Method) -> CNF:
        return CNF(
            velocity,
            self.dim,
            base=self.base,
            interval=(self.start, self.end),
            trace=trace,
            solver=solver,
        )

    def _places(self, t: Tensor | float | None, x: Tensor | None) -> tuple[Tensor | float, Tensor]:
        """Time and points; one argument alone is the points, at the end."""
        if x is None:
            if not isinstance(t, Tensor):
                raise InputError(
                    f"x must be a tensor of shape (..., {self.dim}), but is a {type(t).__name__}."
                )
            return self.end, t
        return (self.end if t is None else t), x

    def _time(self, t: Tensor | float, x: Tensor) -> Tensor:
        """A scalar, or a time for each point."""
        check_points(x)
        check_dim(x, self.dim, "CNF")
        time = torch.as_tensor(t, dtype=x.dtype, device=x.device)
        return as_time(time, x) if time.ndim else time

    def _score(self, t: Tensor | float, x: Tensor, generator: torch.Generator | None) -> Tensor:
        time = self._time(t, x)
        back = Along(self.velocity, self.start, time - self.start)
        (x0,) = self.solver.integrate(back, (x,), (1.0, 0.0))
        estimate = self.trace.begin(x, generator)
        forth = ScoreAlong(self.velocity, self.start, time - self.start, estimate)
        s0 = self.base.score(self.start, x0)
        _, score = self.solver.integrate(forth, (x0, s0), (0.0, 1.0))
        self.nfe = back.evaluations + forth.evaluations
        return score

    def _rate(self, t: Tensor, x: Tensor) -> Tensor:
        value = self.velocity(as_time(t, x), x)
        score = self._score(t, x, None)
        return -divergence(self.velocity, t, x) - (value * score).sum(-1)

    def _draw(
        self, t: Tensor | float | Shape, n: int | None, generator: torch.Generator | None
    ) -> Tensor:
        if n is None:
            if isinstance(t, Tensor | float):
                raise InputError("sample takes a shape, sample(n), or a time and n, sample(t, n).")
            shape = (t,) if isinstance(t, int) else tuple(t)
            x = self._drawn(self.end, math.prod(shape), generator)
            return x.reshape(*shape, *x.shape[1:])
        if not isinstance(t, Tensor | float | int):
            raise InputError(f"t must be a number or a tensor, but is a {type(t).__name__}.")
        return self._drawn(t, n, generator)

    def _drawn(self, t: Tensor | float, n: int, generator: torch.Generator | None) -> Tensor:
        place = self._place
        time = torch.as_tensor(t, dtype=place.dtype, device=place.device)
        shape = torch.broadcast_shapes(time.shape, self.batch_shape)
        start = torch.full(shape, self.start, dtype=place.dtype, device=place.device)
        x0 = self.base.sample(start, n, generator).detach().to(place.dtype)
        return self.push_forward(time.expand(x0.shape[:-1]) if time.ndim else time, x0)


def _solver(given: Solver | Method | None) -> Solver:
    """A solver of flows, from a method of initial value problems where one is given."""
    if given is None:
        return Dopri5()
    return SolveIVP(given) if isinstance(given, Method) else given


def _dim_of(velocity: object, dim: int | None) -> int:
    """d, as given, or as the velocity or what is in it says."""
    said = getattr(velocity, "dim", None)
    if isinstance(velocity, Given):
        said = velocity.net.dim
    elif not isinstance(said, int) and isinstance(velocity, nn.Module):
        inner = (getattr(m, "dim", None) for m in velocity.modules())
        said = next((d for d in inner if isinstance(d, int)), None)
    if not isinstance(said, int):
        if dim is None:
            raise InputError(
                f"dim must be given: a {type(velocity).__name__} does not say its own."
            )
        return dim
    if dim not in (None, said):
        raise InputError(f"dim is {dim}, but the velocity has {said} dimensions.")
    return said
