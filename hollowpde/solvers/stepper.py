"""What a method does on a batch of samples, each with its own time, step size and order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hollowpde.solvers.inner.base import Counts, Flags, Numbers, Worker, sizes
from hollowpde.solvers.system import System


@dataclass(frozen=True)
class Tolerances:
    """How large an error may be: `atol + rtol |y|` for each component."""

    rtol: float
    atol: float | Tensor

    def scale(self, *values: Tensor) -> Tensor:
        """What an error is measured in, `(n, d)`, from the largest of some values."""
        size = values[0].detach().abs()
        for value in values[1:]:
            size = torch.maximum(size, value.detach().abs())
        return size.mul_(self.rtol).add_(self.atol)


@dataclass
class Attempt:
    """One attempted step of every sample at work.

    Arguments:
        accepted: whether its step stands.
        solved: whether its equation was solved; else the step is tried again, shorter.
        iterations: evaluations of f that each took.
    """

    accepted: Flags
    solved: Flags
    iterations: Counts


class Stepper(ABC):
    """A method at work on n samples.

    Attributes:
        t: time of each sample, `(n,)`; h: the size of its next step, positive.
        order: of its next step, `(n,)`.
        inner: what solves the equations of a step.
        system: f.
    """

    system: System
    t: Numbers
    h: Numbers
    order: Counts
    inner: Worker
    # Why the equation of a step was not solved, as a sentence goes on.
    reason: str

    @abstractmethod
    def attempt(self, end: float) -> Attempt:
        """Try a step, of no sample beyond the end; those that are accepted move on."""

    @property
    @abstractmethod
    def y(self) -> Tensor:
        """Values at `t`, `(n, d)`."""

    @property
    def rate(self) -> Numbers | None:
        """The contraction of the inner iteration, as measured of late, `(n,)`."""
        return self.inner.contraction

    @abstractmethod
    def between(self, rows: Counts, t: Numbers) -> Tensor:
        """Values of some samples at times within the step that they have just made, `(m, d)`."""

    @abstractmethod
    def keep(self, rows: Counts) -> None:
        """Only these samples go on."""


def first_step(
    system: System,
    t: Tensor,
    y: Tensor,
    f: Tensor,
    direction: float,
    span: float,
    order: int,
    tol: Tolerances,
) -> Numbers:
    """The size of the first step of each sample.

    Source: Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I (1993), II.4.
    """
    scale = tol.scale(y)
    d0, d1 = sizes(y, scale), sizes(f, scale)
    h0 = np.where((d0 < 1e-5) | (d1 < 1e-5), 1e-6, 0.01 * d0 / np.maximum(d1, 1e-300))
    h0 = np.minimum(h0, span)
    move = torch.as_tensor(direction * h0, dtype=y.dtype, device=y.device)
    with torch.no_grad():
        later = system(t + move, y + move.unsqueeze(-1) * f)
    d2 = sizes(later - f, scale) / h0
    most = np.maximum(d1, d2)
    h1 = np.where(
        most <= 1e-15,
        np.maximum(1e-6, h0 * 1e-3),
        (0.01 / np.maximum(most, 1e-300)) ** (1 / (order + 1)),
    )
    return np.nan_to_num(np.minimum(np.minimum(100 * h0, h1), span), nan=1e-6 * span)


def column(values: NDArray[np.float64], like: Tensor) -> Tensor:
    """Numbers of each sample beside y, `(n, 1)`."""
    return torch.from_numpy(values).to(like).unsqueeze(-1)
