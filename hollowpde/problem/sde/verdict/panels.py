"""The verdict as a panel."""

from __future__ import annotations

import numpy as np

from hollowpde.problem.panel import Axes, Chart, Line, Mark, Panel, Role, Table
from hollowpde.problem.sde.verdict.verdict import NINETY, Verdict

# Beyond this the picture shows nothing that matters.
_TOP = 40.0


def verdict_panels(verdict: Verdict) -> list[Panel]:
    """What is wrong, if anything is, and the profiles over scales."""
    out: list[Panel] = []
    if verdict.sentences:
        out.append(
            Table(
                "What these data cannot tell",
                "Read this before anything else.",
                ["verdict"],
                [[sentence] for sentence in verdict.sentences],
            )
        )
    if verdict.profiles:
        out.append(_profiles(verdict))
    return out


def _profiles(verdict: Verdict) -> Chart:
    factors = verdict.profiles[0].factors
    marks: list[Mark] = [
        Line(p.name, Role.FIT, p.factors, np.clip(p.excess, None, _TOP)) for p in verdict.profiles
    ]
    level = np.full(2, NINETY)
    marks.append(Line("90 % confidence", Role.DATA, factors[[0, -1]], level, dashed=True))
    return Chart(
        "How well scales are known",
        "How much worse the data are explained when something is scaled, with the rest free: "
        "twice the nats, over the factor. Where a curve stays below the dashed line the data do "
        "not exclude the factor; a flat curve means that the scale is not identified.",
        Axes("factor", "2 x nats", log_x=True, y_range=(0.0, _TOP)),
        marks,
    )
