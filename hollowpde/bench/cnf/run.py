"""The tables of the benchmark of flows: times, and what training comes to in the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch

from hollowpde.bench.cnf import times
from hollowpde.bench.cnf.budget import Budget
from hollowpde.bench.cnf.cases import CASES
from hollowpde.bench.cnf.contest import BATCH, SHARES, Curve, cells, measure
from hollowpde.bench.cnf.rivals import EXACT, MATCHED, PROBE, RIVALS, STEPS, ZUKO, ZUKO_PROBE
from hollowpde.bench.machine import processor, versions
from hollowpde.bench.sde.cells import Cell, Store, fill
from hollowpde.bench.sde.run import asked, failures, publish, voice
from hollowpde.bench.tables import Heading, Result, Row
from hollowpde.bench.timing import Spread

_TITLE = "Continuous normalising flows: exact traces"

_TIMES: Mapping[str, tuple[Heading, Callable[[Budget], Iterator[Row]]]] = {
    # First, while memory is fresh.
    "zuko": (times.ZUKO, times.zuko),
    "traces": (times.TRACES, times.traces),
}

PARTS = {name: heading.title for name, (heading, _) in _TIMES.items()} | {
    name: f"training for the same time: {case.title}" for name, case in CASES.items()
}

_NOTES = (
    f"Median [quartiles] over seeds of data, split and weights. Adam, batches of {BATCH}, the "
    "same time for each on one thread; evaluation, at tolerances of 1e-5 by an exact trace, is "
    "not counted.",
    f"{EXACT}, {PROBE}: a hollow velocity by maximum likelihood alone, from the same weights, RK4 "
    f"with {STEPS} steps, by each trace: conditioner MaskedMLP 2x32 with 8 features, transformer "
    "SharedMLP 2x64; for digits 2x64 with 4 and 2x16, and three times as long. "
    f"{MATCHED}: the velocity of the problem file, half of the time by flow matching. {ZUKO}, "
    f"{ZUKO_PROBE}: an MLP 3x64 of x and time with SiLU, by zuko's Dormand-Prince and its "
    "adjoint, tolerances 1e-5 and 1e-6, exact=True and False.",
)


def run(only: Sequence[str], budget: Budget, out: Path | None) -> None:
    """Measure the parts, print the tables, and write them if a folder is given.

    Curves go into `cnf.jsonl` of the folder at once. What is there already, measured with the
    same budget and networks, is not measured again.

    Arguments:
        only: `traces`, `zuko` or names of densities; all if empty.
        budget: how much to measure.
        out: the folder to write to.

    Raises:
        InputError: a part that is not there.
    """
    names = asked(only, PARTS)
    console, say = voice()
    torch.set_num_threads(1)
    results: list[Result] = []
    for name, (heading, rows) in _TIMES.items():
        if name in names:
            say(f"{name} ...")
            results.append(Result(heading, list(rows(budget))))
    wanted = list(cells([CASES[name] for name in names if name in CASES], budget))
    failed: list[str] = []
    if wanted:
        kept = Store(None if out is None else out / "cnf.jsonl", Curve)
        outcomes = fill(kept, wanted, measure, budget.jobs, say)
        results += tables(outcomes, budget.seconds)
        failed = failures(outcomes)
    publish(results, failed, "cnf", _TITLE, _facts(budget), console, out)


def tables(outcomes: Mapping[Cell, Curve], seconds: float) -> list[Result]:
    """The tables of curves; failures leave gaps."""
    entropies = {name: CASES[name].declared().entropy for name in {c.case for c in outcomes}}
    last = {
        "nll": Heading(
            "nll",
            f"Held-out NLL after {seconds:g} s",
            (
                *_NOTES,
                "In nats; above the entropy where that is known, which the table says. Gain: the "
                "NLL by one probe less that by the exact trace, seed by seed: above 0 the exact "
                "one is better.",
            ),
            ("density", "NLL"),
            "nats",
            log=False,
            bars=True,
            aside=("gain",),
        ),
        "nfe": Heading(
            "nfe",
            "Evaluations of the velocity in a solve at the end",
            ("By Dormand-Prince, to the same tolerances; zuko's are its own.",),
            ("density",),
            "evaluations",
            log=False,
        ),
        "steps": Heading(
            "steps", f"Training steps in {seconds:g} s", (), ("density",), "training steps"
        ),
    }
    curves = Heading(
        "curves",
        "Held-out NLL against time",
        ("Medians over seeds, the entropy taken off where it is known.",),
        ("density", "seconds"),
        "nats",
        log=False,
        along="seconds",
    )
    by_step = Heading(
        "by_step",
        "Held-out NLL against training steps",
        ("The same, by steps: a row for the median number of steps of each trace.",),
        ("density", "steps"),
        "nats",
        log=False,
        along="steps",
    )
    names = list(dict.fromkeys(cell.case for cell in outcomes))
    final: dict[str, list[Row]] = {key: [] for key in last}
    moving: list[Row] = []
    stepping: list[Row] = []
    for name in names:
        of = {
            rival: {
                cell.seed: curve
                for cell, curve in outcomes.items()
                if (cell.case, cell.rival) == (name, rival) and not curve.failure
            }
            for rival in RIVALS
        }
        zero = entropies[name] or 0.0
        kind = "itself" if entropies[name] is None else "above entropy"
        final["nll"].append(
            {
                "density": name,
                "NLL": kind,
                **_spreads(of, _above(zero, -1)),
                "gain": _gain(of[EXACT], of[PROBE]),
            }
        )
        final["nfe"].append({"density": name, **_spreads(of, lambda c: c.nfe[-1])})
        final["steps"].append({"density": name, **_spreads(of, lambda c: c.steps[-1])})
        for k, share in enumerate(SHARES):
            values = _spreads(of, _above(zero, k))
            moving.append(
                {
                    "density": name,
                    "seconds": round(share * CASES[name].longer * seconds, 3),
                    **values,
                }
            )
            for rival in (EXACT, PROBE):
                taken = [_at(c.steps, k) for c in of[rival].values()]
                if taken and values[rival] is not None:
                    middle = int(Spread.over(taken).median)
                    stepping.append({"density": name, "steps": middle, rival: values[rival]})
    return [
        *(Result(heading, final[key]) for key, heading in last.items()),
        Result(curves, moving),
        Result(by_step, stepping),
    ]


def _at(values: Sequence[float], k: int) -> float:
    """The k-th look; of a flow that was slower than the looks come, the last one."""
    return values[min(k, len(values) - 1)]


def _spreads(
    of: Mapping[str, Mapping[int, Curve]], number: Callable[[Curve], float]
) -> dict[str, Spread | None]:
    return {
        rival: Spread.over([number(c) for c in curves.values()]) if curves else None
        for rival, curves in of.items()
    }


def _above(zero: float, look: int) -> Callable[[Curve], float]:
    """The NLL at a look, less the entropy."""
    return lambda c: _at(c.nll, look) - zero


def _gain(exact: Mapping[int, Curve], probe: Mapping[int, Curve]) -> Spread | None:
    both = [probe[seed].nll[-1] - curve.nll[-1] for seed, curve in exact.items() if seed in probe]
    return Spread.over(both) if both else None


def _facts(budget: Budget) -> Mapping[str, str]:
    return {
        "seeds": str(budget.seeds),
        "seconds of training": f"{budget.seconds:g}, with {budget.jobs} at a time",
        "times": "medians of the ratios within interleaved repeats",
        "versions": versions("torch", "torchdiffeq", "zuko"),
        "processor": processor(),
    }
