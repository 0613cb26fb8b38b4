"""Rows of observations: drawn in batches, thinned, averaged over."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from hollowpde.data import Pairs, Points, Windows

# Held-out rows by which weights are chosen: enough for a steady value, few enough to be quick.
_VALIDATION_ROWS = 20_000
_CHUNK = 8192

Rows = TypeVar("Rows", bound=Pairs | Points | Windows)


def batches(
    rows: Rows, size: int, late_size: int, among: Tensor | None = None
) -> Callable[[torch.Generator, float], Rows]:
    """Rows drawn with replacement; larger batches late, where gradient noise limits the fit.

    Late batches hold a quarter of all rows at most: beyond, the data limit the fit. `among` are
    the rows to draw from, repeated as often as they count; all of them by default.
    """
    n = len(rows.t) if among is None else len(among)
    return partial(_drawn, rows, size, max(size, min(late_size, n // 4)), among)


def _drawn(
    rows: Rows,
    size: int,
    late_size: int,
    among: Tensor | None,
    generator: torch.Generator,
    progress: float,
) -> Rows:
    n = len(rows.t) if among is None else len(among)
    wanted = size if progress < 2 / 3 else late_size
    index = torch.randint(n, (min(wanted, n),), generator=generator).to(rows.t.device)
    return take(rows, index if among is None else among[index])


def always(rows: Rows) -> Callable[[torch.Generator, float], Rows]:
    """The same rows in every step."""
    return partial(_same, rows)


def _same(rows: Rows, generator: torch.Generator, progress: float) -> Rows:
    return rows


def take(rows: Rows, index: Tensor | slice) -> Rows:
    """The rows that an index picks."""
    return type(rows)(*(column[index] for column in rows))


def mean_over(loss: Callable[[Rows], Tensor], rows: Rows) -> float:
    """The mean of a mean loss over all rows, in chunks that fit into memory."""
    total, n = 0.0, len(rows.t)
    with torch.no_grad():
        for start in range(0, n, _CHUNK):
            part = take(rows, slice(start, start + _CHUNK))
            total += float(loss(part)) * len(part.t)
    return total / n


def each(value: Callable[[Rows], Tensor], rows: Rows) -> Tensor:
    """A value for each row, `(n,)`, in chunks that fit into memory."""
    with torch.no_grad():
        starts = range(0, len(rows.t), _CHUNK)
        return torch.cat([value(take(rows, slice(s, s + _CHUNK))) for s in starts]).double()


def by_path(values: Tensor, path: Tensor) -> np.ndarray:
    """The mean of values `(n,)` along each path: the paths are independent, their rows not."""
    _, label = path.unique(return_inverse=True)
    return (torch.bincount(label, values) / torch.bincount(label)).cpu().numpy()


def few_nats(rows: Rows) -> float:
    """The difference of mean NLL that makes three nats over all rows: less is no evidence.

    That a model is better by a few nats in expectation shows in a sample only up to the square
    root of twice as many.
    """
    return 3 / len(rows.t)


def thinned(rows: Rows, most: int = _VALIDATION_ROWS) -> Rows:
    """At most so many rows, evenly spread."""
    n = len(rows.t)
    if n <= most:
        return rows
    return take(rows, torch.linspace(0, n - 1, most).long().to(rows.t.device))


def standard_error(differences: np.ndarray) -> float:
    n = len(differences)
    # One path tells nothing of the spread: the best is taken at its word.
    return float(differences.std(ddof=1) / np.sqrt(n)) if n > 1 else 0.0


def transitions(rows: Pairs | Windows) -> int:
    """How many transitions there are."""
    return int(rows.scored.sum()) if isinstance(rows, Windows) else len(rows.t)


def first_pairs(rows: Pairs | Windows) -> Pairs:
    """The first transition of each row."""
    if isinstance(rows, Pairs):
        return rows
    return Pairs(rows.t[:, 0], rows.x, rows.step[:, 0], rows.x_next[:, 0], rows.path)
