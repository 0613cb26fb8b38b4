"""Events: when a function of the solution passes through zero."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from hollowpde.errors import InputError
from hollowpde.solvers.inner.base import Counts, Numbers
from hollowpde.solvers.stepper import Stepper

_HALVINGS = 60


@dataclass(frozen=True)
class Event:
    """Where `function(t, y)` changes its sign along a solution.

    Arguments:
        function: of t `(n,)` and y `(n, d)`; returns `(n,)`.
        terminal: whether a sample ends there.
        direction: 1 for rising zeros only, -1 for falling ones, 0 for both.

    >>> hp.Event(lambda t, y: y[:, 0], terminal=True).direction
    0
    """

    function: Callable[[Tensor, Tensor], Tensor]
    terminal: bool = False
    direction: int = 0

    def __post_init__(self) -> None:
        if self.direction not in (-1, 0, 1):
            raise InputError(f"direction must be -1, 0 or 1, but is {self.direction}.")

    def values(self, t: Tensor, y: Tensor) -> Numbers:
        """The function's, `(n,)`."""
        value = self.function(t, y)
        if value.shape != t.shape:
            raise InputError(
                f"an event must return {tuple(t.shape)}, one number for each sample, but returned "
                f"{tuple(value.shape)}."
            )
        out: Numbers = value.detach().cpu().double().numpy()
        return out

    def passed(self, before: Numbers, after: Numbers) -> Counts:
        """Which samples have passed through zero."""
        rising = (before < 0) & (after >= 0) & (self.direction >= 0)
        falling = (before > 0) & (after <= 0) & (self.direction <= 0)
        return np.flatnonzero(rising | falling)

    def locate(self, stepper: Stepper, rows: Counts, start: Numbers, before: Numbers) -> Numbers:
        """When some samples did, within the step that they have just made: by bisection."""
        low, high = start.copy(), stepper.t[rows].copy()
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            y = stepper.between(rows, middle).to(stepper.system.dtype)
            same = np.sign(self.values(y.new_tensor(middle), y)) == np.sign(before)
            low, high = np.where(same, middle, low), np.where(same, high, middle)
        return high
