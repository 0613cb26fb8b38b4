"""Files of tables, read in pieces: CSV and Parquet."""

from __future__ import annotations

import bz2
import csv
import gzip
import importlib
import lzma
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import pandas as pd

from hollowpde.errors import InputError

# Rows that are looked at to tell what a column holds, and rows that are read at once.
SAMPLE = 1000
PIECE = 100_000

_OPEN: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_CSV = (".csv", ".tsv", ".txt", ".dat")
_PARQUET = (".parquet", ".pq")


class Source(Protocol):
    """A table that is read piece by piece."""

    @property
    def name(self) -> str:
        """What errors call it."""

    def sample(self) -> pd.DataFrame:
        """The first rows, with all columns."""

    def pieces(self, columns: Sequence[str], labels: Sequence[str]) -> Iterator[pd.DataFrame]:
        """The rows of some columns in turn; `labels` are those that are not numbers."""

    def place(self, row: int) -> str:
        """Where in the table a row is, counted from 0."""


@dataclass(frozen=True)
class CSVFile:
    """A CSV file, compressed or not.

    Arguments:
        path: the file.
        sep: between columns; None takes what the header holds most of: `,`, `;`, tab, `|` or,
            if there is none of these, blanks.
        decimal: the decimal point.
        missing: texts that mean a missing value, beside the usual ones (empty, NA, NaN, null).
    """

    path: Path
    sep: str | None = None
    decimal: str = "."
    missing: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return repr(str(self.path))

    def separator(self) -> str:
        if self.sep is not None:
            return self.sep
        with self._opened() as file:
            header = next((line for line in file if line.strip()), "")
        best = max(",;\t|", key=header.count)
        return best if best in header or " " not in header.strip() else " "

    def sample(self) -> pd.DataFrame:
        sep = self.separator()
        self._check_head(sep)
        with self._reader(sep, nrows=SAMPLE) as reader:
            return _stripped(next(iter(reader)))

    def pieces(self, columns: Sequence[str], labels: Sequence[str]) -> Iterator[pd.DataFrame]:
        sep = self.separator()
        self._check_head(sep)
        # All columns are parsed and the needed ones kept of each piece: with `usecols` pandas
        # takes rows with too many values, as decimal commas make them, without a word.
        with self._reader(sep, chunksize=PIECE, labels=labels) as reader:
            for piece in reader:
                yield _stripped(piece)[list(columns)]

    def place(self, row: int) -> str:
        with self._opened() as file:
            reader = csv.reader(file, delimiter=self.separator(), skipinitialspace=True)
            filled = (reader.line_num for fields in reader if "".join(fields).strip())
            line = next((n for k, n in enumerate(filled) if k == row + 1), None)
        return f"{self.name}, row {row}" if line is None else f"{self.name}, line {line}"

    @contextmanager
    def _opened(self) -> Iterator[IO[str]]:
        try:
            with _OPEN.get(self.path.suffix, open)(
                self.path, "rt", encoding="utf-8-sig", newline=""
            ) as file:
                yield file
        except UnicodeDecodeError as error:
            raise InputError(f"{self.name} is not text in UTF-8: save it as such.") from error
        except (EOFError, gzip.BadGzipFile, lzma.LZMAError) as error:
            raise InputError(f"{self.name} cannot be unpacked: {error}") from error

    @contextmanager
    def _reader(
        self, sep: str, nrows: int | None = None, chunksize: int = SAMPLE,
        labels: Sequence[str] = (),
    ) -> Iterator[Iterator[pd.DataFrame]]:  # fmt: skip
        try:
            with self._opened() as file, pd.read_csv(
                file, sep=r"\s+" if sep == " " else sep, decimal=self.decimal, nrows=nrows,
                chunksize=chunksize, na_values=list(self.missing), low_memory=False,
                index_col=False, skipinitialspace=True,
                dtype={label: "category" for label in labels},
            ) as reader:  # fmt: skip
                yield iter(reader)
        except (pd.errors.EmptyDataError, StopIteration) as error:
            raise InputError(f"{self.name} is empty.") from error
        except pd.errors.ParserError as error:
            reason = str(error).strip().removeprefix("Error tokenizing data. C error: ")
            raise InputError(
                f"{self.name} cannot be read with sep={sep!r}: {reason}; decimal commas, or a "
                "separator within a text, are the usual cause: see sep and decimal."
            ) from error

    def _check_head(self, sep: str) -> None:
        """Check what pandas would silently mend: a first row that is too wide, a name twice."""
        with self._opened() as file:
            reader = csv.reader(file, delimiter=sep, skipinitialspace=True)
            rows = (fields for fields in reader if "".join(fields).strip())
            header, first = next(rows, []), next(rows, [])
            names = [name.strip() for name in header if name.strip()]
            twice = [name for name in names if names.count(name) > 1]
            if twice:
                raise InputError(
                    f"{self.name}: two columns are called {twice[0]!r}: rename one of them."
                )
            if len(first) > len(header):
                raise InputError(
                    f"{self.name}, line {reader.line_num}: {len(first)} values under "
                    f"{len(header)} names, separated by {sep!r}: are there decimal commas (then "
                    "separate the columns by ';' and give decimal=','), or is a name missing?"
                )


@dataclass(frozen=True)
class ParquetFile:
    """A Parquet file, of which only the needed columns are read, batch by batch."""

    path: Path

    @property
    def name(self) -> str:
        return repr(str(self.path))

    def sample(self) -> pd.DataFrame:
        with self._opened() as file:
            first = next(file.iter_batches(batch_size=SAMPLE), None)
            table = file.schema_arrow.empty_table() if first is None else first
            return table.to_pandas()

    def pieces(self, columns: Sequence[str], labels: Sequence[str]) -> Iterator[pd.DataFrame]:
        with self._opened() as file:
            for batch in file.iter_batches(batch_size=PIECE, columns=list(columns)):
                yield batch.to_pandas()[list(columns)]

    def place(self, row: int) -> str:
        return f"{self.name}, row {row}"

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        parquet = import_pyarrow("pyarrow.parquet")
        arrow = import_pyarrow("pyarrow")
        try:
            with parquet.ParquetFile(self.path, memory_map=True) as file:
                yield file
        except arrow.ArrowInvalid as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{self.name} cannot be read as Parquet: {reason}") from error


def import_pyarrow(module: str) -> Any:
    """A module of pyarrow.

    Raises:
        InputError: pyarrow is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            "Parquet files need pyarrow: pip install 'hollowpde[parquet]'."
        ) from error


def open_table(
    path: Path, sep: str | None, decimal: str, missing: tuple[str, ...]
) -> CSVFile | ParquetFile:
    """The reader of a file, by its ending.

    Raises:
        InputError: no file, or of another kind.
    """
    if path.is_dir():
        raise InputError(
            f"file: {str(path)!r} is a folder: name its files, as in {str(path / '*.csv')!r}."
        )
    if not path.is_file():
        raise InputError(f"file: nothing at {str(path)!r}: check the path.")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] and suffixes[-1] in _OPEN:
        suffixes.pop()
    kind = suffixes[-1] if suffixes else ""
    if kind in _PARQUET:
        return ParquetFile(path)
    if kind in _CSV:
        return CSVFile(path, sep, decimal, missing)
    raise InputError(
        f"file: {str(path)!r} is neither CSV ({', '.join(_CSV)}, also .gz, .bz2, .xz) nor Parquet "
        f"({', '.join(_PARQUET)}): read it with pandas and use hp.Trajectories.from_frame."
    )


def _stripped(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.rename(columns=lambda name: str(name).strip())
