"""Inner solvers: how the equation of an implicit step is solved."""

from __future__ import annotations

from collections import Counter

from hollowpde.solvers.inner.base import Inner, Outcome, Worker
from hollowpde.solvers.inner.dense_newton import DenseNewton
from hollowpde.solvers.inner.functional import FunctionalIteration
from hollowpde.solvers.inner.guard import Guard
from hollowpde.solvers.inner.jacobi_newton import Iteration, JacobiNewton
from hollowpde.solvers.inner.newton_krylov import NewtonKrylov


def at_work(
    inner: Inner,
    dim: int,
    samples: int,
    tolerance: float,
    counts: Counter[str],
    conserving: bool = False,
) -> Worker:
    """An inner solver for a batch; one that uses only a diagonal is watched over.

    Arguments:
        conserving: whether the system conserves a sum, which only Newton's method keeps.
    """
    worker = inner.worker(samples, tolerance)
    if isinstance(worker, Iteration) and worker.diagonal:
        return Guard(worker, dim, samples, tolerance, counts, conserving)
    return worker


__all__ = [
    "DenseNewton",
    "FunctionalIteration",
    "Inner",
    "JacobiNewton",
    "NewtonKrylov",
    "Outcome",
    "Worker",
    "at_work",
]
