"""The values of one column, as numbers or as dates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api import types

from hollowpde.data.columns import is_decimal_comma
from hollowpde.errors import InputError, nearest

Array = NDArray[Any]
# Names the place of a row for an error, such as "'a.csv', line 7".
Place = Callable[[int], str]

# Nanoseconds in each unit in which times that are given as dates may be measured.
UNITS = {
    "us": 10**3, "ms": 10**6, "s": 10**9, "min": 60 * 10**9, "h": 3600 * 10**9,
    "D": 86400 * 10**9, "W": 7 * 86400 * 10**9, "Y": 31_557_600 * 10**9,
}  # fmt: skip
# And in a tick of numpy's dates.
_TICKS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}


def numbers(column: pd.Series, place: Place) -> Array:
    """The numbers of a column, NaN where they are missing; float32 stays float32.

    Raises:
        InputError: text, dates or truth values among them; the first is named.
    """
    if types.is_numeric_dtype(column) and not types.is_bool_dtype(column):
        if types.is_complex_dtype(column):
            raise _not_a_number(column, 0, place)
        single = column.dtype == np.float32
        kind = np.float32 if single else np.float64
        return column.to_numpy(dtype=kind, na_value=np.nan)
    present = column.notna()
    if types.is_object_dtype(column) or types.is_string_dtype(column):
        found = pd.to_numeric(column, errors="coerce")
        truth = column.map(lambda value: isinstance(value, bool | np.bool_)).astype(bool)
        blank = column.astype(str).str.strip() == ""
        wrong = (present & ~blank & (found.isna() | truth)).to_numpy(dtype=bool)
        if not wrong.any():
            return found.to_numpy(dtype=np.float64, na_value=np.nan)
        raise _not_a_number(column, int(wrong.argmax()), place)
    raise _not_a_number(column, int(present.to_numpy().argmax()), place)


@dataclass(frozen=True)
class Clock:
    """How a column of times is read.

    Arguments:
        unit: in which dates are measured.
        format: of dates in text, as in `datetime.strptime`; ISO 8601 (2024-01-31) if None.
    """

    unit: str = "D"
    format: str | None = None

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise InputError(f"unit: unknown unit {self.unit!r}: {nearest(self.unit, UNITS)}")

    def read(self, column: pd.Series, place: Place) -> Array:
        """Numbers in float64, or dates as datetime64 (UTC, if they have a zone).

        Raises:
            InputError: text that is neither; the first is named.
        """
        if types.is_timedelta64_dtype(column):
            seconds: Array = column.dt.total_seconds().to_numpy(dtype=np.float64)
            return seconds / (UNITS[self.unit] / UNITS["s"])
        if types.is_datetime64_any_dtype(column):
            return _utc(column)
        numeric = types.is_numeric_dtype(column) and not types.is_bool_dtype(column)
        if self.format is not None and numeric:
            # 20240131 is a number to whoever reads the file.
            column = column.astype("Int64").astype("string")
        elif numeric or not column.notna().any() or not self._dated(column):
            return numbers(column, place).astype(np.float64, copy=False)
        return self._dates(column, place)

    def _dated(self, column: pd.Series) -> bool:
        """Whether text is meant as dates: then text that is none is reported as such."""
        if self.format is not None:
            return True
        texts = column.dropna()
        return bool(pd.to_numeric(texts, errors="coerce").isna().mean() > 0.5)

    def _dates(self, column: pd.Series, place: Place) -> Array:
        found = pd.to_datetime(column, format=self.format or "ISO8601", utc=True, errors="coerce")
        blank = column.astype(str).str.strip() == ""
        wrong = (found.isna() & column.notna() & ~blank).to_numpy(dtype=bool)
        if wrong.any():
            row = int(wrong.argmax())
            text = str(column.iloc[row])
            if is_decimal_comma(text):
                raise _not_a_number(column, row, place)
            wanted = "an ISO date (2024-01-31)" if self.format is None else f"like {self.format!r}"
            raise InputError(
                f"{place(row)}, column {column.name!r}: {text!r} is neither a number nor "
                f"{wanted}: give the form of the dates, as in time_format='%d/%m/%Y'."
            )
        return _utc(found)

    def measure(self, dates: Array) -> tuple[Array, str]:
        """Dates as float64 numbers in `unit` since the first, and that first date."""
        first = dates.min()
        ticks = UNITS[self.unit] / _TICKS[np.datetime_data(dates.dtype)[0]]
        return (dates - first).astype(np.int64) / ticks, str(pd.Timestamp(first))


def _utc(column: pd.Series) -> Array:
    if column.dt.tz is not None:
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    return column.to_numpy()


def _not_a_number(column: pd.Series, row: int, place: Place) -> InputError:
    value = column.iloc[row]
    shown = value if isinstance(value, str) else str(value)
    if is_decimal_comma(shown):
        fix = "read the file with decimal=','"
    elif any(c.isdigit() for c in shown):
        fix = "mend it, or empty the cell to leave the row out"
    else:
        fix = "empty the cell to leave the row out, or read it as missing=(...,)"
    return InputError(f"{place(row)}, column {column.name!r}: {shown!r} is not a number: {fix}.")
