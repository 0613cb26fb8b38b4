"""Stages in other processes: each trained from start to end, to the same result as here."""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hollowpde.errors import HollowPDEError
from hollowpde.problem.stage import Stage
from hollowpde.training.history import Row
from hollowpde.training.running import Running

_POLL_SECONDS = 0.1
_ADVICE = (
    "{}. Functions and modules of your own go to other processes if they are in a file that can "
    "be imported, and are no lambdas."
)


class NotPicklableError(HollowPDEError):
    """A stage holds what cannot be sent to another process."""


@dataclass(frozen=True)
class Outcome:
    """What is left of a stage: its best weights, how many steps it took, and its history."""

    weights: dict[str, Tensor]
    steps: int
    rows: list[Row]


def run_elsewhere(
    stages: Sequence[Stage], seed: int, processes: int, interrupted: Callable[[], bool]
) -> Generator[Outcome, None, None]:
    """Train stages in so many processes; the outcomes in order, up to an interruption.

    Raises:
        NotPicklableError: a stage cannot be sent, or not be received.
        TrainingError: a loss is not finite.
    """
    sent = [_pickled(stage) for stage in stages]
    # A new interpreter for each: a fork would share the threads of PyTorch, and hang.
    context = multiprocessing.get_context("spawn")
    threads = torch.get_num_threads()
    with context.Pool(min(processes, len(sent)), initializer=_leave_signals_to_the_parent) as pool:
        results = [pool.apply_async(_train, (stage, seed, threads)) for stage in sent]
        for result in results:
            while not result.ready():
                if interrupted():
                    return
                time.sleep(_POLL_SECONDS)
            yield result.get()


def _pickled(stage: Stage) -> bytes:
    try:
        sent = pickle.dumps(stage)
    except Exception as error:  # whatever the user's own objects raise
        raise NotPicklableError(_ADVICE.format(error)) from error
    return sent


def _train(sent: bytes, seed: int, threads: int) -> Outcome:
    torch.set_num_threads(threads)
    try:
        stage: Stage = pickle.loads(sent)  # our own, of the parent process
    except Exception as error:  # a file that only the parent knows, for one
        raise NotPicklableError(_ADVICE.format(error)) from error
    running = Running(stage, seed)
    running.begin()
    rows: list[Row] = []
    while not running.finished:
        running.advance()
        if running.due:
            rows.append(running.row(running.validate(), 0.0))
    running.keep_best()
    return Outcome(stage.module.state_dict(), running.step, rows)


def _leave_signals_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
