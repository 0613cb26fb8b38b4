"""Functional iteration: the stage equation put into itself again and again."""

from __future__ import annotations

from dataclasses import dataclass

from hollowpde.errors import InputError
from hollowpde.solvers.inner.base import Worker
from hollowpde.solvers.inner.jacobi_newton import Iteration


@dataclass(frozen=True)
class FunctionalIteration:
    """`z <- b + c f(t, z)`: what needs nothing but f, and converges where `c |J| < 1`.

    Arguments:
        iterations: at most so many.
        anderson: how many past iterates are combined; 0 is the plain iteration.

    >>> hp.FunctionalIteration().needs_diagonal
    False
    """

    iterations: int = 12
    anderson: int = 0

    needs_diagonal = False

    def __post_init__(self) -> None:
        if self.anderson < 0 or self.iterations < 1:
            raise InputError(
                "anderson must not be negative and iterations at least 1, but they are "
                f"{self.anderson} and {self.iterations}."
            )

    def worker(self, samples: int, tolerance: float) -> Worker:
        return Iteration(samples, tolerance, self.anderson, self.iterations, 1.0, diagonal=False)
