"""Tables in files: declared now, read when they are needed."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from hollowpde.data.columns import Columns, check_id, check_present, choose
from hollowpde.data.frames import gather
from hollowpde.data.readers import CSVFile, Source, open_table
from hollowpde.data.trajectories import Trajectories
from hollowpde.data.values import Clock
from hollowpde.errors import InputError


@dataclass(frozen=True, repr=False)
class Table:
    """Observations in CSV or Parquet files, in long form: one row for each.

    Declaring it reads nothing. CSV may be compressed (.gz, .bz2, .xz). Both kinds are read piece
    by piece, and only the needed columns are kept.

    Arguments:
        file: a path, a pattern such as "runs/*.csv", or several of them. Without an id each file
            is one path.
        time: the column of times, numbers or dates; guessed from the header if None.
        id: the column that tells paths apart; guessed if None, and "" if there is none.
        state: the columns of the state, a sequence or "x,y"; all others with numbers if empty.
        sep: between the columns of a CSV file; guessed from the header if None.
        decimal: the decimal point in a CSV file.
        missing: texts in a CSV file that mean a missing value, beside the usual ones.
        unit: in which dates are measured, from the first: us, ms, s, min, h, D, W or Y (365.25 D).
        time_format: of dates in text, such as "%d/%m/%Y"; ISO 8601 if None.
        join: the same id in two files is the same path; otherwise each file has its own paths.
        paired: the rows are observations of paths; otherwise of a population, no two of which are
            known to be of the same path: there is no id, and rows that repeat others are kept.

    Raises:
        InputError: on loading: no such file or column, or content that cannot be used.

    Example:
        >>> import tempfile, pathlib
        >>> folder = tempfile.TemporaryDirectory()
        >>> file = pathlib.Path(folder.name) / "mice.csv"
        >>> _ = file.write_text("mouse,day,weight\\nA,0,20\\nA,1,21\\nB,0,19\\nB,2,22\\n")
        >>> data = hp.Table(file, time="day", id="mouse", state=["weight"])
        >>> data.load()
        Trajectories(2 paths, 4 observations, d=1, t=[0, 2])
        >>> folder.cleanup()
    """

    file: str | Path | Sequence[str | Path]
    time: str | None = None
    id: str | None = None
    state: str | Sequence[str] = ()
    sep: str | None = None
    decimal: str = "."
    missing: str | Sequence[str] = ()
    unit: str = "D"
    time_format: str | None = None
    join: bool = False
    paired: bool = True

    def __post_init__(self) -> None:
        several = not isinstance(self.file, str | Path)
        file = tuple(str(f) for f in self.file) if several else str(self.file)  # type: ignore[union-attr]
        if not file:
            raise InputError("file: no file is named: give a path or several.")
        object.__setattr__(self, "file", file)
        state = self.state.split(",") if isinstance(self.state, str) else self.state
        object.__setattr__(self, "state", tuple(name.strip() for name in state if name.strip()))
        missing = (self.missing,) if isinstance(self.missing, str) else self.missing
        object.__setattr__(self, "missing", tuple(missing))
        for name in ("sep", "decimal"):
            text = getattr(self, name)
            if text is not None and len(text) != 1:
                raise InputError(f"{name} must be one character, but is {text!r}.")
        if self.sep == self.decimal:
            raise InputError(f"sep and decimal are both {self.sep!r}: they must differ.")
        Clock(self.unit, self.time_format)
        check_id(self.id, self.paired)

    def __repr__(self) -> str:
        given = [
            f"{f.name}={getattr(self, f.name)!r}"
            for f in fields(self)[1:]
            if getattr(self, f.name) != f.default
        ]
        return f"Table({', '.join([repr(self.file), *given])})"

    def load(self) -> Trajectories:
        """Read the files.

        Raises:
            InputError: no such file or column, or content that cannot be used.
        """
        sources = self._sources()
        columns = self._columns(sources)
        clock = Clock(self.unit, self.time_format)
        rows = gather(sources, columns, clock, self.join, self.paired)
        return Trajectories(rows.t, rows.x, rows.path, columns.state)

    def named(self) -> Table:
        """The same table with every name that was guessed written out.

        Raises:
            InputError: as for `load`, but only the first rows of each file are read.
        """
        columns = self._columns(self._sources())
        return replace(self, time=columns.time, id=columns.id or "", state=columns.state)

    def _sources(self) -> list[Source]:
        wanted = (self.file,) if isinstance(self.file, str) else self.file
        paths = [path for name in wanted for path in _expanded(str(name))]  # type: ignore[union-attr]
        twice = {str(path) for path in paths if paths.count(path) > 1}
        if twice:
            raise InputError(f"file: {min(twice)!r} is named twice.")
        missing = tuple(self.missing)
        return [open_table(path, self.sep, self.decimal, missing) for path in paths]

    def _columns(self, sources: list[Source]) -> Columns:
        first = sources[0]
        sample = first.sample()
        note = _guessed_sep(first)
        columns = choose(
            sample, self.time, self.id, tuple(self.state), first.name, self.paired, note
        )
        for source in sources[1:]:
            check_present([str(name) for name in source.sample().columns], columns, source.name)
        return columns


def _guessed_sep(source: Source) -> str:
    """What to say of a separator that was guessed."""
    if not isinstance(source, CSVFile) or source.sep is not None or source.separator() == ",":
        return ""
    return f"; columns separated by {source.separator()!r}"


def _expanded(name: str) -> list[Path]:
    """The files that a path or pattern means, in the order of their names."""
    if Path(name).exists() or not glob.has_magic(name):
        return [Path(name)]
    found = sorted(glob.glob(name, recursive=True))
    if not found:
        raise InputError(f"file: nothing matches {name!r}: check the pattern.")
    return [Path(path) for path in found]
