"""What every solver is to the benchmark: an adapter that solves a case to a tolerance."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from hollowpde.bench.implicit.cases import Array, Case
from hollowpde.bench.implicit.limit import Limit, OverBudget
from hollowpde.errors import InputError

DONE, OVER, FAILED, REFUSED = "done", "over budget", "failed", "refused"


@dataclass(frozen=True)
class Answer:
    """What a solver returns.

    Arguments:
        values: `(T, B, d)` at the times of the case; of the first samples, if the others are
            taken to be like them.
        diagonals: evaluations of the diagonal, each for one sample.
        counted: whether the evaluations of f went through the limit.
        seconds: where the solver takes its own time, which then leaves out what is done once.
    """

    values: Array
    diagonals: int = 0
    counted: bool = True
    seconds: float | None = None


# Solves to a tolerance, within a limit.
Prepared = Callable[[float, Limit], Answer]


class Solver(Protocol):
    """A solver, of the project or a peer.

    Arguments:
        name: of it.
        ours: whether it is the project's.
        torch_field: whether it takes the field as it is.
        levels: what it is asked for instead of the relative tolerances, such as numbers of steps.
    """

    @property
    def name(self) -> str: ...
    @property
    def ours(self) -> bool: ...
    @property
    def torch_field(self) -> bool: ...
    @property
    def levels(self) -> tuple[float, ...] | None: ...

    def prepare(self, case: Case, dtype: torch.dtype) -> Prepared:
        """What is done once for a case, such as compiling, which takes no time on the clock.

        Raises:
            InputError: the case is not one for this solver; the sentence says why.
        """
        ...


@dataclass(frozen=True)
class Solve:
    """One solve.

    Arguments:
        outcome: one of "done", "over budget", "failed", "refused".
        why: a sentence, if it is not done.
        seconds: of it; if it is over budget, those that it was given.
        evaluations: of f for each sample, those in Jacobians included, and of diagonals.
        values: `(T, B, d)`, if it is done.
    """

    outcome: str
    why: str = ""
    seconds: float = float("nan")
    evaluations: float | None = None
    values: Array | None = None


def attempt(
    prepared: Prepared, level: float, case: Case, seconds: float, evaluations: int
) -> Solve:
    """Solve, and say what became of it; whatever a solver raises is its outcome."""
    samples = len(case.y0)
    limit = Limit(seconds, evaluations * samples)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            answer = prepared(level, limit)
            taken = limit.wall
        except OverBudget as over:
            return Solve(OVER, str(over), seconds)
        except InputError as error:
            return Solve(REFUSED, _short(error))
        except Exception as error:  # of any library
            return Solve(FAILED, _short(error))
    if not np.isfinite(answer.values).all():
        return Solve(FAILED, "it returns what is not a number")
    work = (limit.taken + answer.diagonals) / samples
    return Solve(
        DONE,
        seconds=taken if answer.seconds is None else answer.seconds,
        evaluations=work if answer.counted else None,
        values=answer.values,
    )


def _short(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
