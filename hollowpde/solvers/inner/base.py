"""What an inner solver is: settings, and a worker that remembers what it learns of each sample."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hollowpde.solvers.equation import Equation

# Of the last digit of z, what evaluating an equation leaves uncertain.
_ROUNDING = 5.0

Flags = NDArray[np.bool_]
Numbers = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass
class Outcome:
    """What became of the equations of a batch.

    Arguments:
        z: solutions `(n, d)`; of what did not converge, the last iterate.
        converged: to the tolerance.
        iterations: how many each took.
        rate: measured contraction: by what factor an iteration makes an error smaller.
    """

    z: Tensor
    converged: Flags
    iterations: Counts
    rate: Numbers

    def select(self, rows: Counts) -> Outcome:
        """Of these rows."""
        z = self.z[index(rows, self.z)]
        return Outcome(z, self.converged[rows], self.iterations[rows], self.rate[rows])

    @classmethod
    def joined(cls, parts: Sequence[tuple[Counts, Outcome]]) -> Outcome:
        """One of all samples, from outcomes of which it is told whose they are."""
        if len(parts) == 1:
            return parts[0][1]
        back = np.argsort(np.concatenate([rows for rows, _ in parts]))
        each = [out for _, out in parts]
        return cls(
            torch.cat([out.z for out in each]),
            np.concatenate([out.converged for out in each]),
            np.concatenate([out.iterations for out in each]),
            np.concatenate([out.rate for out in each]),
        ).select(back)

    def replace(self, rows: NDArray[np.int64], other: Outcome) -> None:
        """Take these rows from another outcome."""
        self.z = self.z.index_copy(0, torch.as_tensor(rows, device=self.z.device), other.z)
        self.converged[rows] = other.converged
        self.iterations[rows] += other.iterations
        self.rate[rows] = other.rate


class Worker(ABC):
    """An inner solver at work on a batch whose samples may leave it."""

    # Why a sample was not solved, as a sentence goes on.
    reason = "the iteration does not converge"

    @property
    def contraction(self) -> Numbers | None:
        """By what an iteration makes an error smaller, as measured of late, `(n,)`."""
        return None

    @abstractmethod
    def solve(self, equation: Equation, z: Tensor, scale: Tensor, rows: Counts) -> Outcome:
        """Solve from a guess.

        Arguments:
            equation: of n samples.
            z: the guess, `(n, d)`.
            scale: the size of an error that the caller can still bear, `(n, d)`.
            rows: which of the batch's samples they are, `(n,)`.
        """

    def renew(self) -> None:  # noqa: B027 most keep no diagonal
        """The next equations differ much from those before: keep no diagonal of theirs."""

    def keep(self, rows: Counts) -> None:  # noqa: B027 most remember nothing
        """Only these samples go on."""


class Inner(Protocol):
    """The settings of an inner solver."""

    def worker(self, samples: int, tolerance: float) -> Worker:
        """One for so many samples; errors of `tolerance` times the scale are small enough."""
        ...

    @property
    def needs_diagonal(self) -> bool: ...


def anywhere(flags: Flags) -> bool:
    """Whether any of them is set; numpy's own takes several times as long for a few samples."""
    return bool(np.count_nonzero(flags))


def everywhere(flags: Flags) -> bool:
    """Whether all of them are set."""
    return bool(np.count_nonzero(flags) == flags.size)


def sizes(r: Tensor, scale: Tensor) -> Numbers:
    """The root mean square over dimensions of r in units of the scale, `(n,)`."""
    norm = torch.linalg.vector_norm(r / scale, dim=-1)
    out: Numbers = norm.numpy(force=True) / r.shape[-1] ** 0.5
    return out.astype(np.float64, copy=False)


def rounding(equation: Equation, z: Tensor, scale: Tensor) -> Numbers:
    """The size of a step that is nothing but rounding, `(n,)`: no smaller one can be asked for."""
    return _ROUNDING * equation.system.eps * sizes(z, scale)


def index(rows: Counts, like: Tensor) -> Tensor:
    """Rows as an index of a tensor."""
    return torch.from_numpy(rows).to(like.device)
