"""Stages in other processes: each trained from start to end, to the same result as here."""

from __future__ import annotations

import multiprocessing
import pickle
import signal
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.synchronize import Event

import torch

from hollowpde.errors import HollowPDEError, TrainingError
from hollowpde.problem.stage import Stage
from hollowpde.training.outcome import Outcome, trained
from hollowpde.training.running import Running

_POLL_SECONDS = 0.1
_ADVICE = (
    "{}. Functions and modules of your own go to other processes if they are in a file that can "
    "be imported, and are no lambdas."
)

# Of a process started here: set when it should leave off. None elsewhere.
_asked_to_stop: Event | None = None


class NotPicklableError(HollowPDEError):
    """A stage holds what cannot be sent to another process."""


def run_elsewhere(
    stages: Sequence[Stage], seed: int, processes: int, interrupted: Callable[[], bool]
) -> Generator[tuple[Stage, Outcome], None, None]:
    """Train stages in so many processes; each with its outcome as it comes, up to an interruption.

    Raises:
        NotPicklableError: a stage cannot be sent, or not be received.
        TrainingError: a loss is not finite, or a process has died.
    """
    sent = [_pickled(stage) for stage in stages]
    # A new interpreter for each: a fork would share the threads of PyTorch, and hang.
    context = multiprocessing.get_context("spawn")
    stop, threads = context.Event(), torch.get_num_threads()
    pool = ProcessPoolExecutor(min(processes, len(sent)), context, _begin, (stop, threads))
    try:
        waiting = {
            pool.submit(_train, one, seed): stage for one, stage in zip(sent, stages, strict=True)
        }
        while waiting:
            done, _ = wait(waiting, _POLL_SECONDS, FIRST_COMPLETED)
            for future in done:
                yield waiting.pop(future), pickle.loads(future.result())
            if interrupted():
                return
    except BrokenProcessPool as error:
        raise TrainingError(
            "a process has died: there may be too little memory for uncertainty.processes, or the "
            "script that fits lacks `if __name__ == '__main__':`."
        ) from error
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def _pickled(stage: Stage) -> bytes:
    try:
        return pickle.dumps(stage)
    except Exception as error:  # whatever the user's own objects raise
        raise NotPicklableError(_ADVICE.format(error)) from error


def _train(sent: bytes, seed: int) -> bytes:
    """The outcome of a stage, pickled: as bytes, tensors keep no files open between processes."""
    try:
        stage: Stage = pickle.loads(sent)  # our own, of the parent process
    except Exception as error:  # a file that only the parent knows, for one
        raise NotPicklableError(_ADVICE.format(error)) from error
    stop = _asked_to_stop
    return pickle.dumps(trained(Running(stage, seed), lambda: stop is not None and stop.is_set()))


def _begin(stop: Event, threads: int) -> None:
    global _asked_to_stop
    _asked_to_stop = stop
    torch.set_num_threads(threads)
    # Ctrl-C reaches every process of a terminal; the parent tells the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
