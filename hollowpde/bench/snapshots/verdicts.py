"""What fits say of themselves: whether they refuse and warn where they should, and only there."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from hollowpde.bench.sde.cells import Budget as BaseBudget
from hollowpde.bench.sde.cells import Cell, cells_of, in_silence
from hollowpde.bench.sde.ours import fitted, settings
from hollowpde.bench.sde.rivals import OURS, Rival
from hollowpde.bench.snapshots.cases import TRIED
from hollowpde.bench.snapshots.ours import lean, weak
from hollowpde.bench.tables import Heading, Result, Row
from hollowpde.problem.sde.snapshot_fit import SnapshotFit

_NOTES = (
    "How many of the fits, over twice as many seeds as errors, refuse drift and diffusion; warn "
    "that a rotation is invisible, that the scale of D is not identified, that the equation does "
    "not explain the samples, or of something else; or say nothing. One may warn of several.",
    "stationary_ou must be refused, since its marginals do not change, and rotating_ou warned of "
    "rotation, since its marginals are round. In ou_2d the drift is a network without a linear "
    "part and D is constant, or in one row a network too, from 5000 samples a time or fewer: a "
    "scale is reported where a factor of 1.5 is within 90 % confidence, so the fewer the more "
    "often. The others are as in the tables above, and should be silent.",
)


@dataclass(frozen=True)
class Budget(BaseBudget):
    """How much to measure.

    Arguments:
        verdicts: seeds of verdicts for each one of errors: counts take more of them than medians.
    """

    verdicts: int = 2


@dataclass(frozen=True)
class Said:
    """What a fit says of itself, and how long it took; or why it says nothing."""

    refused: bool = False
    rotation: bool = False
    scale: bool = False
    misfit: bool = False
    other: bool = False
    seconds: float = 0.0
    failure: str = ""

    @property
    def silent(self) -> bool:
        return not (self.refused or self.rotation or self.scale or self.misfit or self.other)

    @classmethod
    def by(cls, fit: SnapshotFit, seconds: float) -> Said:
        """What the verdict of a fit comes to."""
        verdict = fit.verdict
        if fit.refused:
            return cls(refused=True, seconds=seconds)
        rotation = sum("a rotation is invisible" in s for s in verdict.sentences)
        misfit = sum("does not explain the samples" in s for s in verdict.sentences)
        scale = sum(profile.flat for profile in verdict.profiles)
        other = len(verdict.sentences) > rotation + misfit + scale
        return cls(False, rotation > 0, scale > 0, misfit > 0, other, seconds)

    def __str__(self) -> str:
        names = ("refused", "rotation", "scale", "misfit", "other", "silent")
        return f"{', '.join(n for n in names if getattr(self, n))}, {self.seconds:.1f} s"


def cells(budget: Budget) -> Iterator[Cell]:
    """All fits whose verdicts are wanted, seed by seed."""
    more = replace(budget, seeds=budget.verdicts * budget.seeds)
    return cells_of(list(TRIED.values()), {OURS: Rival(OURS, weak, settings=settings)}, more)


def measure(cell: Cell) -> Said:
    """What a fit says of itself; one that fails does not end the benchmark."""
    try:
        with in_silence(logging.ERROR):
            task = TRIED[cell.case].task(cell.seed, cell.paths)
            start = time.perf_counter()
            fit = fitted(lean(task.problem, cell.steps), task.seed)
            assert isinstance(fit, SnapshotFit)
            said = Said.by(fit, 0.0)
            return replace(said, seconds=round(time.perf_counter() - start, 2))
    except Exception as error:
        return Said(failure=f"{type(error).__name__}: {error}")


def table(said: Mapping[Cell, Said]) -> Result:
    """How often each is said, by case; failures are not counted."""
    heading = Heading(
        "verdicts", "Verdicts", _NOTES, ("case",), "fits", log=False, aside=("fits",)
    )
    rows: list[Row] = []
    for case in dict.fromkeys(cell.case for cell in said):
        all_said = [s for cell, s in said.items() if cell.case == case and not s.failure]
        rows.append(
            {
                "case": case,
                "fits": len(all_said),
                "refused": sum(s.refused for s in all_said),
                "rotation": sum(s.rotation for s in all_said),
                "scale of D": sum(s.scale for s in all_said),
                "misfit": sum(s.misfit for s in all_said),
                "other": sum(s.other for s in all_said),
                "silent": sum(s.silent for s in all_said),
            }
        )
    return Result(heading, rows)
