"""A singly diagonally implicit Runge-Kutta method of order 4 with an explicit first stage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hollowpde.solvers.equation import Stage
from hollowpde.solvers.inner import Inner, JacobiNewton
from hollowpde.solvers.inner.base import Counts, Numbers, anywhere, everywhere, index, sizes
from hollowpde.solvers.integrate import Stepping
from hollowpde.solvers.linear_multistep import attached, working
from hollowpde.solvers.stepper import Attempt, Stepper, Tolerances, column, first_step
from hollowpde.solvers.system import System

# ESDIRK4(3)6L[2]SA, the implicit part of ARK4(3)6L[2]SA: nodes, stages, and what the embedded
# method of order 3 weighs differently. The last stage is the step.
_GAMMA = 0.25
_C = np.array([0.0, 1 / 2, 83 / 250, 31 / 50, 17 / 20, 1.0])
_A = np.array(
    [
        [0, 0, 0, 0, 0, 0],
        [1 / 4, 1 / 4, 0, 0, 0, 0],
        [8611 / 62500, -1743 / 31250, 1 / 4, 0, 0, 0],
        [5012029 / 34652500, -654441 / 2922500, 174375 / 388108, 1 / 4, 0, 0],
        [
            15267082809 / 155376265600, -71443401 / 120774400, 730878875 / 902184768,
            2285395 / 8070912, 1 / 4, 0,
        ],
        [82889 / 524892, 0, 15625 / 83664, 69875 / 102672, -2260 / 8211, 1 / 4],
    ]
)  # fmt: skip
_EMBEDDED = np.array(
    [
        4586570599 / 29645900160, 0, 178811875 / 945068544, 814220225 / 1159782912,
        -3700637 / 11593932, 61727 / 225920,
    ]
)  # fmt: skip
_ORDER = 4
_SAFETY, _SHRINK, _GROW = 0.9, 0.2, 5.0


@dataclass(frozen=True)
class ESDIRK43(Stepping):
    """An L-stable one-step method of order 4 with five implicit stages of one diagonal.

    Starting anew costs it nothing, so that it is for many short stretches or frequent events; over
    a long stretch `JacobiNewtonBDF` takes fewer evaluations.

    Arguments:
        inner: as in `JacobiNewtonBDF`.
        fixed: a step size instead of adaptive ones, to study the method.

    Source:
        Kennedy and Carpenter, Additive Runge-Kutta Schemes for Convection-Diffusion-Reaction
        Equations (2003), ARK4(3)6L[2]SA.

    >>> hp.ESDIRK43(inner=hp.DenseNewton()).fixed is None
    True
    """

    inner: Inner = JacobiNewton()
    fixed: float | None = None

    def stepper(
        self, system: System, t: float, y: Tensor, direction: float, span: float, tol: Tolerances
    ) -> ESDIRKStepper:
        return ESDIRKStepper(self, system, t, y, direction, span, tol)


class ESDIRKStepper(Stepper):
    """The method at work."""

    def __init__(
        self,
        method: ESDIRK43,
        system: System,
        t: float,
        y: Tensor,
        direction: float,
        span: float,
        tol: Tolerances,
    ) -> None:
        self.method, self.system, self.direction, self.tol = method, system, direction, tol
        n = len(y)
        self.t, self._y = np.full(n, t), y
        self.order = np.full(n, _ORDER)
        # All of five stages add to the error of a step.
        self.inner = working(method.inner, system, self.t, y, tol.rtol, 0.2)
        self.reason = self.inner.reason
        times = y.new_tensor(self.t)
        self.f = system(times, y)
        self.h = (
            first_step(system, times, y, self.f, direction, span, _ORDER, tol)
            if method.fixed is None
            else np.full(n, method.fixed)
        )
        self._last = (self.t, self._y, self.f, self.t, self._y, self.f)

    @property
    def y(self) -> Tensor:
        return self._y

    def keep(self, rows: Counts) -> None:
        on = index(rows, self._y)
        self.order = self.order[rows]
        self.t, self.h, self._y, self.f = self.t[rows], self.h[rows], self._y[on], self.f[on]
        self.inner.keep(rows)

    def attempt(self, end: float) -> Attempt:
        n = len(self.t)
        left = np.abs(end - self.t)
        size = np.minimum(self.h, left)
        h = self.direction * size
        t = np.where(self.h * (1 + 1e-9) >= left, end, self.t + h)
        step = column(h, self._y)
        c = _GAMMA * step
        slopes, z = [self.f], self._y
        solved, iterations = np.ones(n, bool), np.zeros(n, np.int64)
        # Steps of a one-step method are long.
        self.inner.renew()
        for stage in range(1, len(_C)):
            base = self._y + step * _weighted(_A[stage, :stage], slopes)
            times = self._y.new_tensor(self.t + _C[stage] * h)
            # The nearest of the stages before, moved along its slope.
            guess = (z + step * (_C[stage] - _C[stage - 1]) * slopes[-1]).detach()
            with torch.no_grad():
                out = self.inner.solve(
                    Stage(self.system, times, base.detach(), c), guess,
                    self.tol.scale(self._y), np.arange(n),
                )  # fmt: skip
            solved &= out.converged
            iterations += out.iterations
            z = out.z
            if torch.is_grad_enabled():
                z = attached(self.system, times, z, base, c)
            slopes.append((z - base) / c)
        if self.method.fixed is None:
            error = step * _weighted(_A[-1] - _EMBEDDED, slopes).detach()
            norm = sizes(error, self.tol.scale(self._y, z))
            solved &= np.isfinite(norm)
            accepted = solved & (norm <= 1.0)
            by = _SAFETY * np.maximum(np.nan_to_num(norm, nan=1e10), 1e-10) ** (-1 / _ORDER)
            by = np.where(solved, np.clip(by, _SHRINK, _GROW), 0.5)
            self.h = size * np.where(accepted, by, np.minimum(by, 0.9))
        else:
            accepted = solved
        before = (self.t, self._y, self.f)
        if everywhere(accepted):
            self.t, self._y, self.f = t, z, slopes[-1]
        elif anywhere(accepted):
            chosen = torch.from_numpy(accepted).to(z.device).unsqueeze(-1)
            self.t = np.where(accepted, t, self.t)
            self._y = torch.where(chosen, z, self._y)
            self.f = torch.where(chosen, slopes[-1], self.f)
        self._last = (*before, self.t, self._y, self.f)
        return Attempt(accepted, solved, iterations)

    def between(self, rows: Counts, t: Numbers) -> Tensor:
        """Cubic, by values and slopes at both ends."""
        t0, y0, f0, t1, y1, f1 = self._last
        on = index(rows, y0)
        length = t1[rows] - t0[rows]
        s, h = column((t - t0[rows]) / length, y0), column(length, y0)
        rest = 1 - s
        return (
            rest**2 * (1 + 2 * s) * y0[on] + s**2 * (3 - 2 * s) * y1[on]
            + h * s * rest * (rest * f0[on] - s * f1[on])
        )  # fmt: skip


def _weighted(weights: np.ndarray, slopes: list[Tensor]) -> Tensor:
    out = torch.zeros_like(slopes[0])
    for weight, slope in zip(weights, slopes, strict=False):
        if weight:
            out = out + float(weight) * slope
    return out
