"""Cells: one estimate of one case and seed; measured side by side, and kept as they come."""

from __future__ import annotations

import json
import logging
import math
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import torch

from hollowpde.bench.sde.cases import CASES, Case
from hollowpde.bench.sde.rivals import RIVALS, Rival
from hollowpde.errors import InputError
from hollowpde.files import write_whole


@dataclass(frozen=True)
class Budget:
    """How much to measure.

    Arguments:
        seeds: of data, split and weights together: 0, 1, ...
        jobs: processes.
        steps: of each optimiser; None leaves each its own.
        paths: at most so many; None leaves those of the problem.
    """

    seeds: int = 5
    jobs: int = 1
    steps: int | None = None
    paths: int | None = None


@dataclass(frozen=True)
class Cell:
    """What is estimated, by whom, and all that the result depends on."""

    case: str
    seed: int
    rival: str
    steps: int | None
    paths: int | None
    settings: str

    def __str__(self) -> str:
        return f"{self.case}, seed {self.seed}, {self.rival}"


class Finding(Protocol):
    """What came of a cell, a dataclass: it fails with a reason, or says what it found."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def failure(self) -> str: ...


F = TypeVar("F", bound=Finding)


@dataclass(frozen=True)
class Outcome:
    """The errors of an estimate, and how long it took; or why there is none."""

    drift: float = math.nan
    diffusion: float = math.nan
    seconds: float = math.nan
    failure: str = ""

    def __str__(self) -> str:
        return f"drift {self.drift:.3g}, diffusion {self.diffusion:.3g}, {self.seconds:.1f} s"


def cells(cases: Iterable[str], budget: Budget) -> Iterator[Cell]:
    """All that is to be measured, seed by seed."""
    return cells_of([CASES[name] for name in cases], RIVALS, budget)


def cells_of(cases: Sequence[Case], rivals: Mapping[str, Rival], budget: Budget) -> Iterator[Cell]:
    """The same for any cases and rivals."""
    declared = {case.name: case.declared() for case in cases}
    for seed in range(budget.seeds):
        for case in cases:
            for rival in rivals.values():
                if rival.applies(case):
                    settings = rival.settings(declared[case.name])
                    yield Cell(case.name, seed, rival.name, budget.steps, budget.paths, settings)


def measure(cell: Cell) -> Outcome:
    """The outcome of a cell; a rival that fails does not end the benchmark."""
    return outcome_of(cell, CASES[cell.case], RIVALS[cell.rival])


def outcome_of(cell: Cell, case: Case, rival: Rival) -> Outcome:
    """The same for any case and rival."""
    try:
        with in_silence():
            task = case.task(cell.seed, cell.paths)
            start = time.perf_counter()
            estimate = rival.fit(task, cell.steps)
            seconds = time.perf_counter() - start
            drift, diffusion = task.errors(estimate)
    except Exception as error:
        return Outcome(failure=f"{type(error).__name__}: {error}")
    if not math.isfinite(drift + diffusion):
        return Outcome(failure="the estimate is not finite")
    return Outcome(drift, diffusion, round(seconds, 2))


class Store(Generic[F]):
    """Outcomes by cell, in a file that is added to as they come, so that none is lost.

    Arguments:
        file: JSON lines; None keeps nothing beyond this process.
        kind: the dataclass of an outcome.
    """

    def __init__(self, file: Path | None, kind: Callable[..., F]) -> None:
        self.file = file
        self.outcomes: dict[Cell, F] = {}
        if file is None:
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        for number, line in enumerate(lines):
            try:
                saved = json.loads(line)
                self.outcomes[Cell(**saved["cell"])] = kind(**saved["outcome"])
            except (ValueError, TypeError, KeyError) as error:
                if number < len(lines) - 1:
                    raise InputError(
                        f"line {number + 1} of {str(file)!r} is no result ({error}): delete it."
                    ) from error
        # Without a last line that was cut short, or what is added would continue it.
        text = "".join(map(_line, self.outcomes, self.outcomes.values()))
        write_whole(file, lambda new: new.write_text(text, encoding="utf-8"))

    def add(self, cell: Cell, outcome: F) -> None:
        """Failures are kept for this process alone: they are tried again."""
        self.outcomes[cell] = outcome
        if self.file is not None and not outcome.failure:
            with self.file.open("a", encoding="utf-8") as file:
                file.write(_line(cell, outcome))


class Kept(Store[Outcome]):
    """The errors of estimates, by cell."""

    def __init__(self, file: Path | None) -> None:
        super().__init__(file, Outcome)


def fill(
    kept: Store[F],
    wanted: Sequence[Cell],
    measure: Callable[[Cell], F],
    jobs: int,
    say: Callable[[str], None],
) -> dict[Cell, F]:
    """The outcomes of cells: what is not kept yet is measured, over processes if several jobs.

    Arguments:
        measure: a function that other processes can import.
        say: what is there already, and each outcome as it comes.
    """
    missing = [cell for cell in wanted if cell not in kept.outcomes]
    old = len(wanted) - len(missing)
    if old:
        say(f"{old} of {len(wanted)} results are in {kept.file}: delete it to measure them anew")
    for number, (cell, outcome) in enumerate(_outcomes(missing, measure, jobs), start=1):
        kept.add(cell, outcome)
        say(f"{number}/{len(missing)} {cell}: {outcome.failure or outcome}")
    return {cell: kept.outcomes[cell] for cell in wanted}


def _outcomes(
    missing: Sequence[Cell], measure: Callable[[Cell], F], jobs: int
) -> Iterator[tuple[Cell, F]]:
    if jobs == 1:
        for cell in missing:
            yield cell, measure(cell)
        return
    # Spawned: a fork of a process with threads of its own may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, initializer=_begin) as pool:
        futures = {pool.submit(measure, cell): cell for cell in missing}
        try:
            for done in as_completed(futures):
                yield futures[done], done.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def in_silence(level: int = logging.WARNING) -> Iterator[None]:
    """Without what a fit says of its choices, or of anything below a level."""
    logger = logging.getLogger("hollowpde")
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)


def _begin() -> None:
    """In each process: one thread, and Ctrl-C is left to the one that waits for the results."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _line(cell: Cell, outcome: Finding) -> str:
    saved = {"cell": asdict(cell), "outcome": asdict(outcome)}
    return json.dumps(saved, allow_nan=False) + "\n"
