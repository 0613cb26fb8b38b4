"""The sweep for silent wrong answers: every system and tolerance, double and single precision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from hollowpde.bench.implicit.cases import Case, chosen
from hollowpde.bench.implicit.figures import Figure
from hollowpde.bench.implicit.lab import Lab, Point
from hollowpde.bench.implicit.ours import DEFAULT, OURS
from hollowpde.bench.implicit.scipys import BDF, SCIPY
from hollowpde.bench.implicit.solve import DONE, FAILED, OVER, REFUSED, Solver
from hollowpde.bench.tables import Heading, Result, Row

RIGHT, WRONG = "right", "WRONG"
# Single precision is refused below.
_SINGLE = 1e-5


def bound(rtol: float, of_scipy: float) -> float:
    """The error up to which an answer is right."""
    return max(100 * rtol, 3 * of_scipy)


@dataclass
class Measured:
    """Rows of the sweep, and of each solver how often it was right."""

    rows: list[Row] = field(default_factory=list)
    verdicts: Counter[str] = field(default_factory=Counter)
    tally: dict[str, Counter[str]] = field(default_factory=dict)
    worst_sum: float | None = None


def measure(lab: Lab, solvers: Sequence[Solver]) -> Measured:
    """The default everywhere; of other solvers, what has been measured before."""
    out = Measured()
    ours = next(s for s in OURS if s.name == DEFAULT)
    scipy = next(s for s in SCIPY if s.name == BDF)
    for case in chosen(lab.budget.systems):
        peers: dict[float, float] = {}
        for rtol in lab.budget.sweep:
            own, peer = lab.compare(
                case, [(ours, rtol), (scipy, rtol)], patience=lab.budget.patience, repeats=1
            )
            peers[rtol] = peer.error if peer.error is not None else 0.0
            _judge(out, case, own, rtol, peers[rtol], "float64")
            if rtol < _SINGLE:
                continue
            (single,) = lab.compare(
                case, [(ours, rtol)], dtype=torch.float32, patience=lab.budget.patience, repeats=1
            )
            _judge(out, case, single, rtol, peers[rtol], "float32")
        _count(out, lab.known(case), solvers, peers)
        lab.say(f"{case.name}: {dict(out.verdicts)} so far")
    return out


def _judge(
    out: Measured, case: Case, own: Point, rtol: float, of_scipy: float, precision: str
) -> None:
    lost = None
    if case.sum is not None and own.solve.values is not None:
        lost = float(np.abs(own.solve.values.sum(-1) - case.sum).max())
        out.worst_sum = max(lost, out.worst_sum or 0.0)
    verdict = judged(own, rtol, of_scipy)
    out.verdicts[verdict] += 1
    said = verdict if own.solve.outcome == DONE else f"{verdict}: {own.solve.why}"
    out.rows.append(
        {
            "system": case.name,
            "precision": precision,
            "rtol": f"{rtol:.0e}",
            "error": own.error,
            "error of SciPy BDF": of_scipy,
            "error / bound": None if own.error is None else own.error / bound(rtol, of_scipy),
            "sum lost": lost,
            "verdict": said,
        }
    )


def judged(point: Point, rtol: float, of_scipy: float) -> str:
    """Right, wrong in silence, or that it was said aloud."""
    if point.error is None:
        return point.solve.outcome
    return RIGHT if point.error <= bound(rtol, of_scipy) else WRONG


def _count(
    out: Measured, points: Sequence[Point], solvers: Sequence[Solver], peers: dict[float, float]
) -> None:
    adaptive = {s.name for s in solvers if s.levels is None}
    for point in points:
        if point.solver in adaptive and point.level in peers:
            tally = out.tally.setdefault(point.solver, Counter())
            tally[judged(point, point.level, peers[point.level])] += 1


def tables(measured: Measured) -> list[Result]:
    """The sweep, and the tally of all solvers."""
    tally: list[Row] = [
        {"solver": name, **{kind: counts[kind] for kind in (RIGHT, WRONG, FAILED, OVER, REFUSED)}}
        for name, counts in measured.tally.items()
    ]
    return [Result(SWEEP, measured.rows), Result(TALLY, tally)]


def figures(measured: Measured) -> Iterator[Figure]:
    """What was asked."""
    solves = sum(measured.verdicts.values())
    wrong, right = measured.verdicts[WRONG], measured.verdicts[RIGHT]
    yield Figure(f"sweep of {solves} solves: wrong in silence", float(wrong), 0.0, least=False)
    yield Figure(f"sweep of {solves} solves: right", float(right), float(solves))
    if measured.worst_sum is not None:
        yield Figure("conserved sum lost, both precisions", measured.worst_sum, 1e-6, least=False)


SWEEP = Heading(
    name="safety",
    title=f"The sweep for silent wrong answers: {DEFAULT}",
    notes=(
        "Right: no component, at 1 %, 40 % and the end of the time, is further from the reference "
        "than 100 rtol, or three times the error of SciPy's BDF with the same tolerances (in "
        "double precision), if that is more; relative, as in the diagrams. WRONG: further, and "
        "nothing was said. Single precision is refused below rtol 1e-5.",
    ),
    keys=("system", "precision", "rtol"),
    quantity="error / bound",
    aside=("error", "error of SciPy BDF", "sum lost"),
)

TALLY = Heading(
    name="tally",
    title="The same bound, all solvers, in double precision",
    notes=(
        "Of the solves of the diagrams and of the sweep. A method of another kind, or one for "
        "what is not stiff, may be off by more than this bound allows, and still be within its "
        "own tolerance step by step.",
    ),
    keys=("solver",),
    quantity="solves",
    log=False,
    bars=True,
)
