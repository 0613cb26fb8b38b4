"""The history of a fit, one row for each validation, and the charts of it."""

from __future__ import annotations

import numpy as np

from hollowpde.problem.panel import Axes, Chart, Line, Role

Row = dict[str, str | float | int]


def loss_charts(history: list[Row]) -> list[Chart]:
    """For each stage, the training loss and the held-out value against steps."""
    stages: dict[str, list[Row]] = {}
    for row in history:
        stages.setdefault(str(row["stage"]), []).append(row)
    return [_chart(stage, rows) for stage, rows in stages.items() if len(rows) > 1]


def _chart(stage: str, rows: list[Row]) -> Chart:
    named = [k for k in rows[0] if k not in ("stage", "step", "seconds", "lr", "validation")]
    steps = np.array([float(row["step"]) for row in rows])
    total = np.array([sum(float(row[name]) for name in named) for row in rows])
    held_out = np.array([float(row["validation"]) for row in rows])
    return Chart(
        f"Training: {stage}",
        f"Mean loss ({' + '.join(named)}) of the batches since the last check, and the value on "
        "held-out paths by which the weights are chosen.",
        Axes("step", "loss"),
        [
            Line("batches", Role.TRAIN, steps, total),
            Line("held out", Role.VALIDATION, steps, held_out),
        ],
    )
