"""The exceptions that hollowpde raises on purpose; the command line prints them as one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HollowPDEError(Exception):
    """Base of every error that hollowpde raises on purpose."""


class InputError(HollowPDEError, ValueError):
    """What the user gave cannot be used: the message names it, what was expected and the fix."""


class UnsupportedError(HollowPDEError, ValueError):
    """What was asked for lies outside what exact dimension-wise operators can give."""


class TrainingError(HollowPDEError, RuntimeError):
    """A fit cannot go on; the last checkpoint is kept."""


class SolverError(HollowPDEError, RuntimeError):
    """An equation could not be solved: the message names the sample, the time and what to try."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """The tail of an error about an unknown name: the nearest valid one, then all of them.

    >>> nearest("step", ["steps", "batch"])
    "did you mean 'steps'? Valid: batch, steps."
    """
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}Valid: {', '.join(names)}."
