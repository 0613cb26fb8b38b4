"""Where solves are made, timed and kept: what one part has measured others need not repeat."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from hollowpde.bench.implicit.budget import Budget
from hollowpde.bench.implicit.cases import Array, Case
from hollowpde.bench.implicit.reference import reference
from hollowpde.bench.implicit.solve import (
    DONE,
    FAILED,
    OVER,
    REFUSED,
    Prepared,
    Solve,
    Solver,
    attempt,
)
from hollowpde.errors import InputError

# Seconds of the first solve of each solver, which does not count.
_WARM = 1.0


class Key(NamedTuple):
    """What a point is of."""

    case: str
    solver: str
    level: float
    dtype: torch.dtype


@dataclass(frozen=True)
class Point:
    """A solver on a case at a level, and what came of it.

    Arguments:
        case, solver: their names.
        level: a relative tolerance, or what else the solver is asked for.
        solve: the first of the repeats.
        error: against the reference; none if it is not done.
        seconds: of each repeat.
    """

    case: str
    solver: str
    level: float
    solve: Solve
    error: float | None
    seconds: list[float]

    @property
    def time(self) -> float:
        """The median of the seconds."""
        return statistics.median(self.seconds)


@dataclass
class Lab:
    """Solves of a run.

    Arguments:
        budget: how much to measure.
        say: where the work stands.
    """

    budget: Budget
    say: Callable[[str], None]
    _references: dict[str, Array] = field(default_factory=dict)
    _prepared: dict[tuple[str, str, torch.dtype], Prepared | Solve] = field(default_factory=dict)
    _over: dict[tuple[str, str, torch.dtype], Solve] = field(default_factory=dict)
    _warm: set[str] = field(default_factory=set)
    _points: dict[Key, Point] = field(default_factory=dict)

    def reference(self, case: Case) -> Array:
        """The solution, computed once."""
        if case.name not in self._references:
            begin = time.perf_counter()
            self._references[case.name] = reference(case)
            self.say(f"{case.name}: reference in {time.perf_counter() - begin:.1f} s")
        return self._references[case.name]

    def known(self, case: Case) -> list[Point]:
        """All that was measured of a case, in double precision."""
        return [
            point
            for key, point in self._points.items()
            if key.case == case.name and key.dtype == torch.float64
        ]

    def points(self, case: Case, solvers: Sequence[Solver]) -> list[Point]:
        """All solvers at all of their levels, loose first; at each level interleaved."""
        ladders = [(solver, solver.levels or self.budget.rtols) for solver in solvers]
        found: list[Point] = []
        for rung in range(max(len(levels) for _, levels in ladders)):
            at = [(s, levels[rung]) for s, levels in ladders if rung < len(levels)]
            found += self.compare(case, at)
        return found

    def compare(
        self,
        case: Case,
        at: Sequence[tuple[Solver, float]],
        dtype: torch.dtype = torch.float64,
        patience: float | None = None,
        repeats: int | None = None,
    ) -> list[Point]:
        """Some solvers, each at a level, interleaved; what was done already is not repeated.

        Arguments:
            case: what to solve.
            at: solvers and levels.
            dtype: of the states.
            patience: seconds of a solve, where more than usual are allowed.
            repeats: where fewer than usual are wanted.
        """
        seconds = self.budget.seconds if patience is None else patience
        keys = [Key(case.name, solver.name, level, dtype) for solver, level in at]
        fresh = [
            (key, pair) for key, pair in zip(keys, at, strict=True) if self._open(key, seconds)
        ]
        begin = time.perf_counter()
        alive = list(fresh)
        for repeat in range(self.budget.repeats if repeats is None else repeats):
            if repeat and time.perf_counter() - begin > self.budget.timing:
                break
            for key, (solver, level) in alive if repeat % 2 == 0 else reversed(alive):
                solve = self._solve(case, solver, key, seconds)
                if repeat == 0:
                    self._points[key] = self._point(case, solver, level, solve)
                else:
                    self._points[key].seconds.append(solve.seconds)
            alive = [pair for pair in alive if self._points[pair[0]].solve.outcome == DONE]
        return [self._points[key] for key in keys]

    def _open(self, key: Key, seconds: float) -> bool:
        """Whether a solve is still to be made, or was given less time than now."""
        if key not in self._points:
            return True
        solve = self._points[key].solve
        return solve.outcome == OVER and solve.seconds < seconds

    def _solve(self, case: Case, solver: Solver, key: Key, seconds: float) -> Solve:
        of = (case.name, solver.name, key.dtype)
        if of not in self._prepared:
            self._prepared[of] = _prepared(solver, case, key.dtype)
        prepared = self._prepared[of]
        if isinstance(prepared, Solve):
            return prepared
        if self.budget.repeats > 1 and solver.name not in self._warm:
            # What libraries do at their first call takes no time on the clock.
            self._warm.add(solver.name)
            attempt(prepared, key.level, case, min(seconds, _WARM), self.budget.evaluations)
        # Tighter tolerances take no less than looser ones that were too much.
        over = self._over.get(of)
        if over is not None and over.seconds >= seconds:
            return over
        solve = attempt(prepared, key.level, case, seconds, self.budget.evaluations)
        if solve.outcome == OVER and solver.levels is None:
            self._over[of] = solve
        return solve

    def _point(self, case: Case, solver: Solver, level: float, solve: Solve) -> Point:
        error = None
        if solve.values is not None:
            error = case.error(solve.values, self.reference(case))
        return Point(case.name, solver.name, level, solve, error, [solve.seconds])


def _prepared(solver: Solver, case: Case, dtype: torch.dtype) -> Prepared | Solve:
    try:
        return solver.prepare(case, dtype)
    except InputError as error:
        return Solve(REFUSED, str(error))
    except Exception as error:  # of any library, which is not to end the run
        return Solve(FAILED, f"{type(error).__name__}: {error}"[:200])
