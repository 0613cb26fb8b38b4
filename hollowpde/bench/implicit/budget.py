"""How much of implicit solvers is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """How much to measure.

    Arguments:
        repeats: at most so many of each comparison of times.
        seconds: of the processor, for one solve, after which it is stopped and is over budget.
        patience: seconds of one solve where a single one is of interest.
        evaluations: of f for each sample, likewise.
        timing: seconds for the repeats of one system at one tolerance; one is made in any case.
        rtols: the tolerances of diagrams, loose first.
        sweep: those of the sweep for wrong answers.
        largest: the largest d.
        samples: the largest batch.
        share: of the time of the relaxation networks in many dimensions and batches.
        highest: the highest order that is looked at.
        systems: of the classics; all if empty.
        seeds: of the flow that is trained: 0, 1, ...
        steps: of its training.
        compiled: whether peers that must be compiled take part.
    """

    repeats: int = 5
    seconds: float = 3.0
    patience: float = 60.0
    evaluations: int = 300_000
    timing: float = 4.0
    rtols: tuple[float, ...] = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
    sweep: tuple[float, ...] = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
    largest: int = 1000
    samples: int = 256
    share: float = 1.0
    highest: int = 5
    systems: tuple[str, ...] = ()
    seeds: int = 3
    steps: int = 600
    compiled: bool = True


QUICK = Budget(
    repeats=1, seconds=5.0, patience=5.0, evaluations=600, timing=0.0, rtols=(1e-3, 1e-4),
    sweep=(1e-3,), largest=10, samples=2, share=0.01, highest=1,
    systems=("pollution",), seeds=1, steps=4, compiled=False,
)  # fmt: skip
