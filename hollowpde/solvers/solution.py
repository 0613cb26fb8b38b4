"""What a solver returns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hollowpde.solvers.trace import Trace


@dataclass(frozen=True)
class Stats:
    """What a solve took. Evaluations are of all samples that are then at work, at once.

    Arguments:
        method: what was used, and why if that was left to the solver.
        n_f: evaluations of f.
        n_diag: of the diagonal of its Jacobian, each along with one of f.
        n_jac: of the whole Jacobian, by d directional derivatives.
        n_jvp: products of the Jacobian with a vector.
        n_steps: accepted steps, of the sample that took most.
        n_rejected: steps whose error was too large, of all samples.
        n_failed: steps whose equation was not solved, of all samples.
        n_handed_over: how often a sample was handed to a full Newton method.
        steps: accepted steps of each sample, `(B,)`.
        evaluations: of f, for each sample, `(B,)`.
    """

    method: str
    n_f: int
    n_diag: int
    n_jac: int
    n_jvp: int
    n_steps: int
    n_rejected: int
    n_failed: int
    n_handed_over: int
    steps: Tensor
    evaluations: Tensor


@dataclass(frozen=True)
class Solution:
    """The solution of an initial value problem.

    Arguments:
        t: times, `(T,)`.
        y: values, `(T, B, d)`; nan where a sample did not get.
        stats: what it took.
        status: what happened, as a sentence.
        success: of each sample, `(B,)`.
        events: for each event, the times at which it happened, one tensor for each sample.
        trace: every step, if asked for by `record=True`.
    """

    t: Tensor
    y: Tensor
    stats: Stats
    status: str
    success: Tensor
    events: tuple[tuple[Tensor, ...], ...] = ()
    trace: Trace | None = None
