"""Figures that were asked of the solvers, and what was measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hollowpde.bench.tables import Heading, Result, Row


@dataclass(frozen=True)
class Figure:
    """One figure.

    Arguments:
        name: what it is.
        value: as measured.
        asked: the bound; none if it is only of interest.
        least: whether the bound is a lower one.
    """

    name: str
    value: float
    asked: float | None
    least: bool = True

    @property
    def met(self) -> str:
        if self.asked is None:
            return "-"
        good = self.value >= self.asked if self.least else self.value <= self.asked
        return "yes" if good else "no"


def table(figures: Iterable[Figure]) -> Result:
    """All figures, met or not."""
    rows: list[Row] = []
    for figure in figures:
        bound = None
        if figure.asked is not None:
            bound = f"{'at least' if figure.least else 'at most'} {figure.asked:.3g}"
        rows.append(
            {"figure": figure.name, "measured": figure.value, "asked": bound, "met": figure.met}
        )
    return Result(FIGURES, rows)


FIGURES = Heading(
    name="figures",
    title="What is asked of the solvers",
    notes=(
        "Of the tables below. Times at the same error are interpolated between tolerances, at "
        "the error that ours has with rtol 1e-4.",
    ),
    keys=("figure",),
    quantity="measured",
    aside=("measured", "asked", "met"),
)
