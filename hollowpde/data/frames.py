"""Tables in long form made into trajectories: what is repaired, and what is refused."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from hollowpde.data.columns import Columns
from hollowpde.data.readers import SAMPLE, Source
from hollowpde.data.values import Array, Clock, Place, numbers
from hollowpde.errors import InputError

log = logging.getLogger(__name__)


# The number of the path of a row that has no id.
_UNKNOWN = np.iinfo(np.int64).min
# What mends a table of paths that holds none.
_UNPAIRED = "if no two rows are known to be of the same path, set paired=False (--unpaired)"


class Rows(NamedTuple):
    """Rows of a table, sorted by path and time, or, each a path of its own, by time."""

    t: Tensor  # (n,), float64
    x: Tensor  # (n, d), float32 or float64
    path: Tensor  # (n,), int64


@dataclass(frozen=True)
class FrameSource:
    """A pandas frame as a source; named index levels and an index of dates become columns."""

    frame: pd.DataFrame
    name: str = "frame"

    @classmethod
    def of(cls, frame: pd.DataFrame) -> FrameSource:
        index = frame.index
        if any(name is not None for name in index.names):
            frame = frame.reset_index()
        elif isinstance(index, pd.DatetimeIndex):
            frame = frame.rename_axis("time").reset_index()
        return cls(frame.rename(columns=str))

    def sample(self) -> pd.DataFrame:
        return self.frame.head(SAMPLE)

    def pieces(self, columns: Sequence[str], labels: Sequence[str]) -> Iterator[pd.DataFrame]:
        yield self.frame[list(columns)]

    def place(self, row: int) -> str:
        return f"{self.name}, row {row}"


def gather(
    sources: Sequence[Source], columns: Columns, clock: Clock, join: bool, paired: bool
) -> Rows:
    """The rows of one or several tables, repaired and sorted by path and time.

    Rows with a missing time or state and, if paired, exact repetitions are left out, and the rest
    is sorted; one line in the log counts what was done.

    Arguments:
        sources: the tables.
        columns: which column is what.
        clock: how times are read.
        join: the same id in two tables is the same path; otherwise paths end with their table.
        paired: rows may be of the same path; otherwise each is a path of its own.

    Raises:
        InputError: what cannot be repaired: text among numbers, infinite values, different states
            at one time of a path, a missing id, a constant coordinate, too few rows.
    """
    raw = _read(sources, columns, clock, join)
    repairs: list[str] = []
    rows = _without_missing(raw, paired, repairs)
    if paired:
        rows = _sorted(rows, repairs)
        rows = _without_repetitions(rows, columns, repairs)
        _check_transitions(rows, columns, raw.name)
    else:
        rows = _unpaired(rows, repairs)
    _check_varies(rows, columns, raw.name)
    alone = int((np.diff(_starts(rows.path), append=len(rows.path)) == 1).sum()) if paired else 0
    if alone:
        repairs.append(f"{_count(alone, 'path')} of a single observation, so without transitions")
    if repairs:
        log.info("%s: %s", raw.name, "; ".join(repairs))
    return Rows(*(torch.from_numpy(column) for column in (rows.t, rows.x, rows.path)))


@dataclass(frozen=True)
class _Raw:
    """Rows as read; `row` holds their places in the tables where these are no longer in order."""

    t: Array
    x: Array
    path: Array
    name: str
    place: Place
    row: Array | None = None

    def take(self, index: Array) -> _Raw:
        """The rows of an index or a mask."""
        row = np.arange(len(self.t)) if self.row is None else self.row
        return _Raw(
            self.t[index], self.x[index], self.path[index], self.name, self.place, row[index]
        )

    def where(self, k: int) -> str:
        return self.place(k if self.row is None else int(self.row[k]))


class _Labels:
    """Codes of the ids of paths, which come piece by piece, and their numbers in the end."""

    def __init__(self) -> None:
        self.codes: dict[tuple[int, str], int] = {}

    def encode(self, column: pd.Series, group: int) -> Array:
        """A code for each row; -1 where the id is missing."""
        codes, labels = pd.factorize(column)
        known = [self.codes.setdefault((group, str(v)), len(self.codes)) for v in labels]
        return np.array([*known, -1])[codes]

    def decode(self, codes: list[Array]) -> list[Array]:
        """The numbers of paths, piece by piece."""
        table = np.append(self._numbers(), _UNKNOWN)
        return [table[piece] for piece in codes]

    def _numbers(self) -> Array:
        """The number of each code: the id itself if all are whole numbers, else its rank."""
        keys = list(self.codes)
        whole = [_whole(label) for _, label in keys]
        whole_only = None not in whole
        if whole_only and len({group for group, _ in keys}) == 1 and len(set(whole)) == len(keys):
            return np.array(whole, dtype=np.int64)
        order = sorted(
            range(len(keys)),
            key=lambda k: (keys[k][0], whole[k] if whole_only else 0, keys[k][1]),
        )
        ranks = np.empty(len(keys), dtype=np.int64)
        ranks[order] = np.arange(len(keys))
        return ranks


def _read(sources: Sequence[Source], columns: Columns, clock: Clock, join: bool) -> _Raw:
    labels = _Labels()
    names = [] if columns.id is None else [columns.id]
    times: list[Array] = []
    states: list[Array] = []
    paths: list[Array] = []
    starts: list[int] = []
    total = 0
    for group, source in enumerate(sources):
        starts.append(total)
        for piece in source.pieces(columns.all, names):
            place = _shifted(source.place, total - starts[-1])
            if len(piece):
                t = _finite(clock.read(piece[columns.time], place), columns.time, place)
                # Copied, since a view would keep the whole piece alive.
                times.append(_same_kind(t, times, place).copy())
                states.append(_matrix(piece, columns.state, place))
                if columns.id is None:
                    paths.append(np.full(len(piece), group))
                else:
                    paths.append(labels.encode(piece[columns.id], 0 if join else group))
            total += len(piece)
    name = sources[0].name if len(sources) == 1 else f"{len(sources)} files"
    if not total:
        raise InputError(f"{name}: there is a header, but no rows below it.")

    def place_of(row: int) -> str:
        group = int(np.searchsorted(starts, row, side="right")) - 1
        return sources[group].place(row - starts[group])

    if columns.id is not None:
        paths = labels.decode(paths)
    raw = _Raw(_joined(times), _joined(states), _joined(paths), name, place_of)
    _check_ids(raw, columns)
    return _measured(raw, columns, clock)


def _check_ids(raw: _Raw, columns: Columns) -> None:
    unknown = raw.path == _UNKNOWN
    if not unknown.any():
        return
    # Rows that will be left out anyway need no id.
    unknown &= ~_missing(raw)
    if unknown.any():
        raise InputError(
            f"{raw.where(int(unknown.argmax()))}, column {columns.id!r}: the id is missing in "
            f"{_count(int(unknown.sum()), 'row')}: every row must say which path it belongs to."
        )


def _measured(raw: _Raw, columns: Columns, clock: Clock) -> _Raw:
    """Dates as numbers."""
    if raw.t.dtype.kind != "M":
        return raw
    gone = np.isnat(raw.t)
    if gone.all():
        return _Raw(np.full(len(gone), np.nan), raw.x, raw.path, raw.name, raw.place)
    kept, first = clock.measure(raw.t[~gone])
    t = np.full(len(gone), np.nan)
    t[~gone] = kept
    log.info("%s: %r is measured in %s since %s", raw.name, columns.time, clock.unit, first)
    return _Raw(t, raw.x, raw.path, raw.name, raw.place)


def _matrix(piece: pd.DataFrame, state: Sequence[str], place: Place) -> Array:
    values = [_finite(numbers(piece[name], place), name, place) for name in state]
    return np.stack(values, axis=1)


def _finite(values: Array, name: str, place: Place) -> Array:
    infinite = np.zeros(0) if values.dtype.kind == "M" else np.isinf(values)
    if infinite.any():
        row = int(infinite.argmax())
        raise InputError(
            f"{place(row)}, column {name!r}: the value is infinite ({values[row]:g}): mend it, or "
            "empty the cell to leave the row out."
        )
    return values


def _same_kind(times: Array, before: list[Array], place: Place) -> Array:
    """Times that are of the kind of those before, or not there at all."""
    if before and before[0].dtype.kind != times.dtype.kind:
        if times.dtype.kind == "f" and np.isnan(times).all():
            return np.full(len(times), "NaT", dtype=before[0].dtype)
        raise InputError(
            f"{place(0)}: the times from here on are "
            f"{'dates' if times.dtype.kind == 'M' else 'numbers'}, those before are not: give "
            "them in one form."
        )
    return times


def _missing(rows: _Raw) -> Array:
    absent = np.isnat(rows.t) if rows.t.dtype.kind == "M" else np.isnan(rows.t)
    for k in range(rows.x.shape[1]):
        absent |= np.isnan(rows.x[:, k])
    return absent


def _without_missing(rows: _Raw, paired: bool, repairs: list[str]) -> _Raw:
    absent = _missing(rows)
    count = int(absent.sum())
    if not count:
        return rows
    if count == len(absent):
        raise InputError(f"{rows.name}: every row has a missing value: nothing is left.")
    repairs.append(
        f"{_count(count, 'row')} with a missing value left out"
        + (", so steps go over the gap" if paired else "")
    )
    return rows.take(~absent)


def _sorted(rows: _Raw, repairs: list[str]) -> _Raw:
    same = rows.path[1:] == rows.path[:-1]
    if not ((rows.path[1:] < rows.path[:-1]) | (same & (rows.t[1:] < rows.t[:-1]))).any():
        return rows
    by_path = np.argsort(rows.path, kind="stable")
    t, path = rows.t[by_path], rows.path[by_path]
    back = int(((path[1:] == path[:-1]) & (t[1:] < t[:-1])).sum())
    repairs.append(
        "rows sorted by path and time"
        + (f" (within paths, time went backwards {_count(back, 'time')})" if back else "")
    )
    return rows.take(np.lexsort((rows.t, rows.path)))


def _unpaired(rows: _Raw, repairs: list[str]) -> _Raw:
    """Rows sorted by time, each a path of its own."""
    if (rows.t[1:] < rows.t[:-1]).any():
        repairs.append("rows sorted by time")
        rows = rows.take(np.argsort(rows.t, kind="stable"))
    return replace(rows, path=np.arange(len(rows.t)))


def _without_repetitions(rows: _Raw, columns: Columns, repairs: list[str]) -> _Raw:
    again = (rows.path[1:] == rows.path[:-1]) & (rows.t[1:] == rows.t[:-1])
    if not again.any():
        return rows
    (k,) = np.nonzero(again)
    differs = (rows.x[k] != rows.x[k + 1]).any(1)
    if differs.any():
        first = int(k[differs.argmax()])
        column = int((rows.x[first] != rows.x[first + 1]).argmax())
        a, b = rows.x[first, column], rows.x[first + 1, column]
        named = "time" if columns.id is None else "path and time"
        fix = (
            f"name the column that tells paths apart with id='...', {_UNPAIRED}, or average them"
            if columns.id is None
            else "average them, or leave out all but one"
        )
        raise InputError(
            f"{rows.where(first)} and {rows.where(first + 1).rpartition(', ')[2]} have the same "
            f"{named}, but {columns.state[column]!r} is {a:g} and {b:g} ({int(differs.sum())} "
            f"such cases): {fix}."
        )
    repairs.append(f"{_count(len(k), 'repeated row')} left out")
    return rows.take(np.concatenate([[True], ~again]))


def _check_transitions(rows: _Raw, columns: Columns, name: str) -> None:
    if not (rows.path[1:] == rows.path[:-1]).any():
        what = (
            "it holds a single row"
            if len(rows.t) == 1
            else f"each of its {len(rows.t)} rows is a path of its own"
        )
        hint = "" if columns.id is None else f", and {columns.id!r} must be the same along a path"
        raise InputError(
            f"{name}: {what}, so there is no transition: a path needs at least two times{hint}; "
            f"{_UNPAIRED}."
        )


def _check_varies(rows: _Raw, columns: Columns, name: str) -> None:
    for k, column in enumerate(columns.state):
        low, high = rows.x[:, k].min(), rows.x[:, k].max()
        if not high > low:
            others = [other for other in columns.state if other != column]
            fix = f"leave it out, as in state={others}" if others else "name another with state="
            raise InputError(
                f"{name}: the column {column!r} is constant ({low:g} in every row): {fix}."
            )


def _starts(path: Array) -> Array:
    """Where each run of equal numbers begins."""
    return np.flatnonzero(np.concatenate([[True], path[1:] != path[:-1]]))


def _joined(parts: list[Array]) -> Array:
    """Pieces one after another; each is let go as soon as it is copied."""
    kind = np.result_type(*{part.dtype for part in parts})
    whole = np.empty((sum(map(len, parts)), *parts[0].shape[1:]), dtype=kind)
    end = len(whole)
    while parts:
        part = parts.pop()
        whole[end - len(part) : end] = part
        end -= len(part)
    return whole


def _shifted(place: Callable[[int], str], start: int) -> Place:
    return lambda row: place(start + row)


def _whole(label: str) -> int | None:
    try:
        value = float(label)
    except ValueError:
        return None
    # Beyond that, float64 does not tell neighbours apart.
    return int(value) if value.is_integer() and abs(value) < 2**53 else None


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"
