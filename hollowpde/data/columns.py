"""Which column is what: names as given, or guessed from the header."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from pandas.api import types

from hollowpde.errors import InputError, nearest

log = logging.getLogger(__name__)

# In order of preference; case is ignored.
_TIME_NAMES = (
    "t", "time", "times", "timestamp", "datetime", "date_time", "date", "day", "hour", "year",
)  # fmt: skip
_ID_NAMES = (
    "path", "path_id", "id", "trajectory", "trajectory_id", "traj", "subject", "subject_id",
    "series", "series_id", "unit_id", "track", "track_id", "particle", "particle_id", "patient",
    "patient_id", "animal", "run", "run_id", "replicate",
)  # fmt: skip

# Names that pandas and others give to the row numbers they write out.
_ROW_NUMBERS = re.compile(r"|unnamed: \d+|index|level_\d+|__index_level_\d+__|row")
_NUMBER = re.compile(r"[-+]?(\d+[.,]?\d*|[.,]\d+)(e[-+]?\d+)?", re.IGNORECASE)
# From so many numbered columns on, a table is likely to be in wide form.
_WIDE = 10


@dataclass(frozen=True)
class Columns:
    """The names of the columns of time, of the path (if there is one) and of the state."""

    time: str
    id: str | None
    state: tuple[str, ...]

    @property
    def all(self) -> list[str]:
        return [self.time, *([] if self.id is None else [self.id]), *self.state]


def choose(
    sample: pd.DataFrame,
    time: str | None,
    id: str | None,
    state: Sequence[str],
    source: str,
    paired: bool,
    note: str = "",
) -> Columns:
    """The columns of a table, with what is not given guessed from its first rows, and logged.

    Arguments:
        sample: the first rows, with all columns.
        time, id: None is guessed; an empty id means that there is none.
        state: empty is guessed: the other columns that hold numbers.
        source: what errors call the table.
        paired: there may be a column of the path; otherwise none, and neither is one with a usual
            name of it guessed to be of the state.
        note: what else was guessed.

    Raises:
        InputError: a column that is not there, two roles for one column, or nothing to guess.
    """
    names = [str(name) for name in sample.columns]
    guessed = time is None or (paired and id is None) or not state
    _check_header(names, source)
    _check_given(names, time, id, state, source)
    taken = {name for name in (time, id, *state) if name}
    if time is None:
        time = _guess_time(sample, taken, source)
        taken.add(time)
    if id is None and paired:
        id = _by_name(names, _ID_NAMES, taken)
        taken |= {id} if id else set()
    if not paired and not state:
        unused = [name for name in names if name.strip().casefold() in _ID_NAMES]
        unused = [name for name in unused if name not in taken]
        taken |= set(unused)
        note += f"; left out: {_listed(unused)}" if unused else ""
    found = Columns(time, id or None, tuple(state) or _guess_state(sample, taken, source))
    if not state:
        _hint_wide(found.state, source)
    if guessed:
        without = "a single path" if paired else "unpaired observations"
        log.info(
            "%s: time %r, %s, state %s (guessed from the header%s)", source, found.time,
            f"path {found.id!r}" if found.id else f"no column of paths, so {without}",
            ", ".join(map(repr, found.state)), note,
        )  # fmt: skip
    return found


def check_id(id: str | None, paired: bool) -> None:
    """Check that no column tells paths apart where observations are unpaired."""
    if id and not paired:
        raise InputError(
            f"id: the column {id!r} tells which observations are of the same path, but "
            "paired=False says that none are: leave out one of the two."
        )


def check_present(names: Sequence[str], columns: Columns, source: str) -> None:
    """Check that a further file has the columns of the first."""
    _check_given(names, columns.time, columns.id, columns.state, source)


def is_decimal_comma(text: str) -> bool:
    return "," in text and bool(_NUMBER.fullmatch(text.strip()))


def _check_header(names: list[str], source: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{source}: two columns are called {twice[0]!r}: rename one of them.")
    if names and all(_NUMBER.fullmatch(name) for name in names):
        raise InputError(
            f"{source}: the first line holds numbers ({', '.join(names[:3])}), not the names of "
            "the columns: put a line such as t,x,y before it."
        )


def _check_given(
    names: Sequence[str], time: str | None, id: str | None, state: Sequence[str], source: str
) -> None:
    given = [("time", time), ("id", id), *(("state", name) for name in state)]
    roles: dict[str, str] = {}
    for role, name in given:
        if not name:
            continue
        if name not in names:
            raise InputError(f"{source}: {role}: no column {name!r}: {nearest(name, names)}")
        if name in roles:
            raise InputError(
                f"{source}: the column {name!r} is named as {roles[name]} and as {role}: name "
                "each column once."
            )
        roles[name] = role


def _guess_time(sample: pd.DataFrame, taken: set[str], source: str) -> str:
    names = [str(name) for name in sample.columns]
    found = _by_name(names, _TIME_NAMES, taken)
    if found:
        return found
    dated = [n for n in names if n not in taken and types.is_datetime64_any_dtype(sample[n])]
    if len(dated) == 1:
        return dated[0]
    numbered = [name for name in names if _NUMBER.fullmatch(name)]
    if len(numbered) > max(2, len(names) // 2):
        raise InputError(
            f"{source}: the columns {', '.join(numbered[:3])}, ... look like times, one path in "
            "each row: bring it into long form (path, t, state) with pandas.melt."
        )
    raise InputError(
        f"{source}: no column has a usual name of time (t, time, date, ...) among "
        f"{_listed(names)}: say which it is with time='...'."
    )


def _guess_state(sample: pd.DataFrame, taken: set[str], source: str) -> tuple[str, ...]:
    free = [name for name in map(str, sample.columns) if name not in taken]
    free = [name for name in free if not _ROW_NUMBERS.fullmatch(name.strip().casefold())]
    state = tuple(name for name in free if _holds_numbers(sample[name]))
    if not state:
        raise InputError(
            f"{source}: no column of numbers is left for the state beside {_listed(taken)}: name "
            "its columns with state=[...]."
        )
    left = [name for name in free if name not in state]
    if left:
        log.info("%s: left out, since they hold no numbers: %s", source, _listed(left))
    return state


def _by_name(names: Sequence[str], usual: Sequence[str], taken: set[str]) -> str | None:
    free = {name.strip().casefold(): name for name in reversed(names) if name not in taken}
    return next((free[name] for name in usual if name in free), None)


def _holds_numbers(column: pd.Series) -> bool:
    """Whether a column is meant to hold numbers: a few texts among them are errors to report."""
    if types.is_bool_dtype(column) or types.is_datetime64_any_dtype(column):
        return False
    if types.is_numeric_dtype(column):
        return bool(column.notna().any())
    texts = column.dropna().astype(str).str.strip()
    return bool(len(texts)) and bool(texts.map(lambda s: bool(_NUMBER.fullmatch(s))).mean() > 0.5)


def _hint_wide(state: tuple[str, ...], source: str) -> None:
    numbered = [name for name in state if re.search(r"\d$", name)]
    if len(numbered) >= _WIDE and len(numbered) > len(state) // 2:
        log.info(
            "%s: %d numbered columns (%s, ...) are taken for the coordinates of one state; if "
            "each is a path of its own, bring the table into long form with pandas.melt",
            source, len(numbered), ", ".join(numbered[:3]),
        )  # fmt: skip


def _listed(names: Sequence[str] | set[str]) -> str:
    shown = [repr(name) for name in names]
    return ", ".join(shown[:12]) + (", ..." if len(shown) > 12 else "")
