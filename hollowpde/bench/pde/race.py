"""Both sides on one problem, and what their errors against time say."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from hollowpde.bench.pde import deepxde, ours
from hollowpde.bench.pde.budget import Budget
from hollowpde.bench.pde.cases import Case
from hollowpde.bench.pde.curve import Curve
from hollowpde.bench.pde.recipes import DOCUMENTED, NOTES, RECIPES, Recipe
from hollowpde.bench.tables import Cell, Heading, Result, Row

OURS, THEIRS, AS_DOCUMENTED = "hollowpde", "DeepXDE", "as documented"
ERRORS = (1e-1, 1e-2, 1e-3)
# Seconds at which errors are looked up: 1, 2, 5, 10, ...
_LOOKS = [digit * 10**power for power in range(5) for digit in (1, 2, 5)]


@dataclass(frozen=True)
class Race:
    """The errors of both sides against their seconds of training.

    Arguments:
        case: the name of the problem.
        ours, theirs: theirs is None where DeepXDE is not installed.
        documented: that of DeepXDE as its documentation has it, where it has the problem.
    """

    case: str
    ours: Curve
    theirs: Curve | None = None
    documented: Curve | None = None

    @property
    def sides(self) -> Mapping[str, Curve]:
        """Those that ran, by name."""
        named = {OURS: self.ours, THEIRS: self.theirs, AS_DOCUMENTED: self.documented}
        return {name: curve for name, curve in named.items() if curve is not None}


def run(case: Case, budget: Budget, say: Callable[[str], None]) -> Race:
    """One after the other, on the same machine and as many threads."""
    mine = ours.solve(case, budget.steps)
    say(f"{case.name}, {OURS}: {_summary(mine)}")
    if not deepxde.INSTALLED:
        say(f"{case.name}, {THEIRS}: not installed")
        return Race(case.name, mine)

    def solved(side: str, recipes: Mapping[str, Recipe]) -> Curve | None:
        if case.name not in recipes:
            return None
        curve = deepxde.solve(case, recipes[case.name], budget.cap, budget.steps)
        say(f"{case.name}, {side}: {_summary(curve)}")
        return curve

    return Race(case.name, mine, solved(THEIRS, RECIPES), solved(AS_DOCUMENTED, DOCUMENTED))


def _summary(curve: Curve) -> str:
    return f"error {curve.best:.2e} in {curve.end:.1f} s"


def tables(races: Sequence[Race]) -> list[Result]:
    """Seconds to errors, and errors by seconds."""
    return [
        Result(TIME, [row for race in races for row in _times(race)]),
        Result(CURVES, [row for race in races for row in _errors(race)]),
        Result(WHOLE, [row for race in races for row in _whole(race)]),
    ]


def _times(race: Race) -> Iterator[Row]:
    for error in ERRORS:
        yield _time(race, error, f"{error:.0e}")
    if race.theirs is not None:
        yield _time(race, race.theirs.best, f"{race.theirs.best:.1e}, best of {THEIRS}")
    yield _time(race, race.ours.best, f"{race.ours.best:.1e}, best of {OURS}")


def _time(race: Race, error: float, label: str) -> Row:
    ours = race.ours.first(error)
    theirs = _first(race.theirs, error)
    ratio: Cell = None
    if ours and race.theirs:
        # Of one that did not get there, a lower bound.
        ratio = theirs / ours if theirs else f"> {race.theirs.end / ours:.3g}"
    return {
        "problem": race.case,
        "error": label,
        OURS: _reached(race.ours, ours),
        THEIRS: _reached(race.theirs, theirs),
        RATIO: ratio,
        AS_DOCUMENTED: _reached(race.documented, _first(race.documented, error)),
    }


def _first(curve: Curve | None, error: float) -> float | None:
    return None if curve is None else curve.first(error)


def _reached(curve: Curve | None, seconds: float | None) -> Cell:
    if curve is None or seconds is not None:
        return seconds
    return f"> {curve.end:.3g}"


def _errors(race: Race) -> Iterator[Row]:
    curves = list(race.sides.values())
    first = min(curve.seconds[0] for curve in curves)
    last = max(curve.end for curve in curves)
    looks = [s for s in _LOOKS if first <= s]
    for seconds in [*itertools.takewhile(lambda s: s < last, looks), last]:
        yield {
            "problem": race.case,
            "seconds": f"{seconds:.3g}",
            **{side: curve.by(seconds) for side, curve in race.sides.items()},
        }


def _whole(race: Race) -> Iterator[Row]:
    for side, curve in race.sides.items():
        yield {
            "problem": race.case,
            "side": side,
            "least error": curve.best,
            "seconds": curve.end,
            "share of a core": curve.share,
        }


RATIO = f"{THEIRS} / {OURS}"

TIME = Heading(
    name="time",
    title="Seconds of training to an error",
    notes=(
        "Wall seconds until the relative L2 error, at the same 4096 points apart from all "
        "training, was first no larger than given; measuring it takes no time on the clock. Each "
        "side in one process of as many threads, one after the other; seed 0. '> 400' was not "
        "reached in so many seconds; a ratio with '>' is a lower bound.",
        "hollowpde: the problem file as it is. The time is all of a fit but its files and page, "
        "checks on points apart included. Errors are looked at at these checks.",
        *NOTES,
    ),
    keys=("problem", "error"),
    quantity="seconds",
    aside=(RATIO,),
)

CURVES = Heading(
    name="errors",
    title="Error by seconds of training",
    notes=("The least relative L2 error up to so many seconds, at the points of above.",),
    keys=("problem", "seconds"),
    quantity="relative L2 error",
)

WHOLE = Heading(
    name="whole",
    title="Training as a whole",
    notes=(
        "The share of a core is what the process had of one in that time: where it is below 1, "
        "other processes had the rest, and the seconds are longer for it.",
    ),
    keys=("problem", "side"),
    quantity="least relative L2 error",
    aside=("seconds", "share of a core"),
)
