"""Work-precision diagrams: errors against evaluations and against time, of every solver."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hollowpde.bench.implicit.cases import Case, chosen
from hollowpde.bench.implicit.compare import row, sentence, verdicts
from hollowpde.bench.implicit.lab import Lab, Point
from hollowpde.bench.implicit.ours import DEFAULT
from hollowpde.bench.implicit.solve import DONE, Solver
from hollowpde.bench.tables import Heading, Result, Row

AXES = ("evaluations", "seconds")


def measure(lab: Lab, solvers: Sequence[Solver]) -> list[Result]:
    """A table for each system, and where the project wins and loses."""
    diagrams, ratios = [], []
    for case in chosen(lab.budget.systems):
        points = lab.points(case, solvers)
        diagrams.append(diagram(case, points, solvers))
        ratios += [{"system": case.name, **row(v)} for v in verdicts(points, solvers)]
        lab.say(f"{case.name}: {sentence(points, solvers)}")
    return [Result(RATIOS, ratios), *diagrams]


def diagram(case: Case, points: Sequence[Point], solvers: Sequence[Solver]) -> Result:
    """All solves of a case; what was not done says why."""
    order = {solver.name: k for k, solver in enumerate(solvers)}
    ordered = sorted(points, key=lambda p: order[p.solver])
    heading = Heading(
        name=re.sub(r"\W+", "_", case.name),
        title=f"Work and precision: {case.name}",
        notes=(sentence(points, solvers),),
        keys=("solver", "asked"),
        quantity="error",
        against=AXES,
        lines="solver",
    )
    return Result(heading, [_row(point) for point in ordered])


def _row(point: Point) -> Row:
    solve = point.solve
    asked = f"{point.level:.0e}" if point.level < 1 else f"{point.level:.0f} steps"
    return {
        "solver": point.solver,
        "asked": asked,
        "error": point.error,
        "evaluations": solve.evaluations,
        "seconds": point.time if solve.outcome == DONE else None,
        "outcome": solve.outcome if solve.outcome == DONE else f"{solve.outcome}: {solve.why}",
    }


RATIOS = Heading(
    name="ratios",
    title=f"At equal errors: what {DEFAULT} takes, by what the best peer takes",
    notes=(
        "Below 1 the project wins, above it loses. By interpolation in the logarithms, between "
        "the tolerances of each diagram below. A peer with '(compiled)' does not take the torch "
        "field, but a translation of it into JAX; its time to compile is not counted, its "
        "evaluations are not known.",
        "Error: the largest over components and times (1 %, 40 % and the end of the time), "
        "relative to the component, or to the floor of the problem file (atol / rtol) where that "
        "is larger; against SciPy's Radau with rtol 1e-10, of the relaxation networks DOP853 with "
        "1e-12.",
        "Evaluations: of f for each sample, those inside Jacobians included, and of the diagonal, "
        "each as one. Time: wall seconds on one thread, medians of interleaved repeats. A solve "
        "that takes the processor for longer than the limit is over budget, and a tighter one is "
        "not begun.",
    ),
    keys=("system", "error"),
    quantity="ours / best peer",
    aside=("best in evaluations", "best in time", "best in time, compiled", "fastest of ours"),
)
