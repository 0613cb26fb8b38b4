"""The history of a fit, one row for each validation, and the charts of it."""

from __future__ import annotations

import numpy as np

from hollowpde.problem.panel import Array, Axes, Chart, Line, Role

Row = dict[str, str | float | int]

# Begins the names of figures that are noted as training goes on, and are no losses.
MONITORED = "held out "
# Of curves in one chart.
_COLOURS = (Role.VALIDATION, Role.FIT, Role.DATA, Role.RESIDUAL, Role.TRAIN)


def charts_of(history: list[Row]) -> list[Chart]:
    """What was noted as training went on, against time, and the losses of each stage."""
    return [*_monitored(history), *loss_charts(history)]


def _monitored(history: list[Row]) -> list[Chart]:
    """A chart for each figure, or for all that are named `figure: whose`."""
    names = dict.fromkeys(k for row in history for k in row if k.startswith(MONITORED))
    groups: dict[str, dict[str, str]] = {}
    # Each has one colour in all charts; the first is of figures that are nobody's.
    owners: list[str] = []
    for name in names:
        plain = name.removeprefix(MONITORED)
        figure, _, whose = plain.partition(": ")
        groups.setdefault(figure, {})[whose or plain] = name
        if whose and whose not in owners:
            owners.append(whose)
    charts = []
    for figure, members in groups.items():
        lines, every = [], []
        for label, name in members.items():
            rows = [row for row in history if name in row]
            seconds, values = (
                np.array([float(row[key]) for row in rows]) for key in ("seconds", name)
            )
            if len(rows) > 1:
                k = 1 + owners.index(label) if label in owners else 0
                role = _COLOURS[k % len(_COLOURS)]
                lines.append(Line(label, role, seconds, values))
                every.append(values)
        if lines:
            charts.append(
                Chart(
                    f"{figure} against time",
                    "At points apart from those of training, against seconds of training, over "
                    "all stages.",
                    Axes("seconds", figure, log_y=bool((np.concatenate(every) > 0).all())),
                    lines,
                )
            )
    return charts


def loss_charts(history: list[Row]) -> list[Chart]:
    """For each stage, the training loss and the held-out value against steps."""
    stages: dict[str, list[Row]] = {}
    for row in history:
        stages.setdefault(str(row["stage"]), []).append(row)
    return [_chart(stage, rows) for stage, rows in stages.items() if len(rows) > 1]


def _chart(stage: str, rows: list[Row]) -> Chart:
    others = ("stage", "step", "seconds", "lr", "validation")
    named = [k for k in rows[0] if k not in others and not k.startswith(MONITORED)]
    steps = np.array([float(row["step"]) for row in rows])
    total = np.array([sum(float(row[name]) for name in named) for row in rows])
    held_out = np.array([float(row["validation"]) for row in rows])
    return Chart(
        f"Training: {stage}",
        f"Mean loss ({' + '.join(named)}) of the batches since the last check, and the value on "
        "held-out data by which the weights are chosen.",
        Axes("step", "loss", log_y=_spans(np.concatenate([total, held_out]))),
        [
            Line("batches", Role.TRAIN, steps, total),
            Line("held out", Role.VALIDATION, steps, held_out),
        ],
    )


def _spans(values: Array) -> bool:
    """Whether values are positive and span orders of magnitude."""
    return bool(values.min() > 0 and values.max() > 1e3 * values.min())
