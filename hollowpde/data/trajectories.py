"""Trajectories: observations of a process along paths, stored ragged."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from hollowpde.data.columns import check_id, choose
from hollowpde.data.frames import FrameSource, gather
from hollowpde.data.values import Clock
from hollowpde.errors import InputError

Values: TypeAlias = Tensor | npt.ArrayLike


class Data(Protocol):
    """Anything with `.load()`: simulated, read from a file, or at hand already."""

    def load(self) -> Trajectories: ...


class Pairs(NamedTuple):
    """Consecutive observations of the same path: x at t, x_next at t + step."""

    t: Tensor  # (n,)
    x: Tensor  # (n, d)
    step: Tensor  # (n,)
    x_next: Tensor  # (n, d)
    path: Tensor  # (n,)


class Split(NamedTuple):
    """Paths to fit, to choose by, and to quote figures on."""

    train: Trajectories
    validation: Trajectories
    test: Trajectories


@dataclass(frozen=True, eq=False)
class Trajectories:
    """Observations x at times t of numbered paths, in one table sorted by path, then time.

    Ragged: paths may differ in length and in their times. Observations of which no two are known
    to be of the same path are unpaired: each is a path of its own, and there are no `pairs()`.

    Arguments:
        t: times, `(M,)`, tensor or array. Large time stamps belong in float64.
        x: states, `(M, d)`, finite.
        path: the number of the path of each row, `(M,)`, integers.
        names: a name for each coordinate; `x1..xd` by default.

    Raises:
        InputError: shapes or types are wrong, values are not finite, rows are unsorted, or times
            repeat.

    Example:
        >>> times = torch.tensor([0.0, 1.0, 0.0, 0.5, 1.5])
        >>> data = hp.Trajectories(times, torch.randn(5, 2), torch.tensor([0, 0, 1, 1, 1]))
        >>> data
        Trajectories(2 paths, 5 observations, d=2, t=[0, 1.5])
        >>> data.pairs().x.shape
        torch.Size([3, 2])
    """

    t: Tensor
    x: Tensor
    path: Tensor
    names: Sequence[str] = field(default=())

    def __post_init__(self) -> None:
        for name in ("t", "x", "path"):
            object.__setattr__(self, name, tensor_of(getattr(self, name), name))
        for name, column in (("t", self.t), ("x", self.x)):
            if not column.is_floating_point():
                raise InputError(
                    f"{name} must be floating-point, but is {column.dtype}: use {name}.double()."
                )
        if self.path.is_floating_point() or self.path.is_complex():
            raise InputError(
                f"path must hold integers, but is {self.path.dtype}: use path.long()."
            )
        if self.x.ndim != 2 or not len(self.x):
            raise InputError(
                f"x must have shape (M, d) with M > 0, but has {tuple(self.x.shape)}."
            )
        for name, column in (("t", self.t), ("path", self.path)):
            if column.shape != self.x.shape[:1]:
                raise InputError(
                    f"{name} must have shape ({len(self.x)},), one entry for each row of x, but "
                    f"has {tuple(column.shape)}."
                )
        if not self.names:
            object.__setattr__(self, "names", tuple(f"x{i + 1}" for i in range(self.dim)))
        elif len(self.names) != self.dim:
            raise InputError(
                f"names must hold {self.dim} names, one for each column of x, but holds "
                f"{len(self.names)}."
            )
        self._check_finite()
        self._check_order()

    @classmethod
    def from_dense(cls, t: Values, x: Values, names: Sequence[str] = ()) -> Trajectories:
        """Paths on common times: t `(T,)`, x `(paths, T, d)`, tensors or arrays.

        >>> hp.Trajectories.from_dense(torch.arange(3.0), torch.zeros(10, 3, 1)).paths
        10
        """
        t, x = tensor_of(t, "t"), tensor_of(x, "x")
        if x.ndim != 3 or t.shape != x.shape[1:2]:
            raise InputError(
                "x must have shape (paths, T, d) and t (T,), but they are "
                f"{tuple(x.shape)} and {tuple(t.shape)}."
            )
        n, length, d = x.shape
        path = torch.arange(n).repeat_interleave(length)
        return cls(t.repeat(n), x.reshape(-1, d), path, names)

    @classmethod
    def from_snapshots(
        cls, t: Values, x: Sequence[Values], names: Sequence[str] = ()
    ) -> Trajectories:
        """Unpaired observations of a population: t `(T,)`, for each time an x `(n, d)`.

        Snapshots may differ in size; which row of one belongs to which of another is unknown.

        Raises:
            InputError: shapes do not fit, or as for `Trajectories`.

        Example:
            >>> snapshots = [torch.randn(30, 2), torch.randn(50, 2)]
            >>> hp.Trajectories.from_snapshots([0.0, 2.0], snapshots)
            Trajectories(80 unpaired observations, d=2, t=[0, 2])
        """
        t = tensor_of(t, "t")
        states = [tensor_of(state, f"x[{k}]") for k, state in enumerate(x)]
        if not states or t.shape != (len(states),):
            raise InputError(
                f"x must hold one snapshot for each time in t (T,), but holds {len(states)}, and "
                f"t has shape {tuple(t.shape)}."
            )
        for k, state in enumerate(states):
            if state.ndim != 2 or state.shape[1] != states[0].shape[1]:
                dim = states[0].shape[1] if states[0].ndim == 2 else "d"
                fix = f": use x[{k}][:, None] for one coordinate" if state.ndim == 1 else ""
                raise InputError(
                    f"x[{k}] must have shape (n, {dim}), one row for each observation, but has "
                    f"{tuple(state.shape)}{fix}."
                )
        sizes = torch.tensor([len(state) for state in states], device=t.device)
        rows = torch.cat(states)
        path = torch.arange(len(rows), device=rows.device)
        return cls(t.repeat_interleave(sizes), rows, path, names).unpaired()

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        time: str | None = None,
        id: str | None = None,
        state: str | Sequence[str] = (),
        *,
        unit: str = "D",
        time_format: str | None = None,
        paired: bool = True,
    ) -> Trajectories:
        """Paths in a pandas frame in long form: one row for each observation.

        Rows with a missing time or state and, if paired, exact repetitions are left out, the rest
        is sorted; a line in the log counts what was done. Named index levels count as columns.

        Arguments:
            frame: the table.
            time, id, state, unit, time_format, paired: as for `Table`: guessed and logged if not
                given.

        Raises:
            InputError: a column that is not there, or content that cannot be used.

        Example:
            >>> import pandas as pd
            >>> frame = pd.DataFrame({"t": [0, 1, 0, 2], "path": [1, 1, 2, 2], "x": [1., 2, 0, 3]})
            >>> hp.Trajectories.from_frame(frame)
            Trajectories(2 paths, 4 observations, d=1, t=[0, 2])
        """
        source = FrameSource.of(frame)
        wanted = state.split(",") if isinstance(state, str) else [str(name) for name in state]
        wanted = [name.strip() for name in wanted if name.strip()]
        check_id(id, paired)
        columns = choose(source.sample(), time, id, wanted, source.name, paired)
        rows = gather([source], columns, Clock(unit, time_format), join=False, paired=paired)
        return cls(rows.t, rows.x, rows.path, columns.state)

    def load(self) -> Trajectories:
        return self

    @property
    def dim(self) -> int:
        return self.x.shape[1]

    @property
    def paths(self) -> int:
        return len(self.path.unique_consecutive())

    @property
    def paired(self) -> bool:
        """Whether some path has at least two observations."""
        return bool((self.path[1:] == self.path[:-1]).any())

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        low, high = self.t.min().item(), self.t.max().item()
        count = (
            f"{self.paths} paths, {len(self)} observations"
            if self.paired
            else f"{len(self)} unpaired observations"
        )
        return f"Trajectories({count}, d={self.dim}, t=[{low:g}, {high:g}])"

    def pairs(self) -> Pairs:
        """Consecutive observations; none straddles the end of a path."""
        (i,) = torch.where(self.path[1:] == self.path[:-1])
        return Pairs(self.t[i], self.x[i], self.t[i + 1] - self.t[i], self.x[i + 1], self.path[i])

    def each(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The times and states of each path in turn."""
        lengths = self.path.unique_consecutive(return_counts=True)[1].tolist()
        yield from zip(self.t.split(lengths), self.x.split(lengths), strict=True)

    def unpaired(self) -> Trajectories:
        """The same observations, sorted by time, each a path of its own.

        >>> hp.Trajectories.from_dense(torch.arange(3.0), torch.randn(10, 3, 1)).unpaired()
        Trajectories(30 unpaired observations, d=1, t=[0, 2])
        """
        rows = self.t.argsort(stable=True)
        path = torch.arange(len(self), device=self.path.device)
        return Trajectories(self.t[rows], self.x[rows], path, self.names)

    def double(self) -> Trajectories:
        """The same in double precision."""
        return Trajectories(self.t.double(), self.x.double(), self.path, self.names)

    def fingerprint(self) -> str:
        """A hash of all values."""
        digest = hashlib.sha256()
        for column in (self.t, self.x, self.path):
            digest.update(np.ascontiguousarray(column.cpu().numpy()).tobytes())
        return digest.hexdigest()

    def select(self, rows: Tensor) -> Trajectories:
        """The rows that a mask or index picks."""
        return Trajectories(self.t[rows], self.x[rows], self.path[rows], self.names)

    def blocks(self, n: int) -> Trajectories:
        """Each path cut into n consecutive blocks that are paths of their own, numbered from 0.

        So that a single long path can be split into parts to fit and to validate: no pair goes
        from one block to the next, and times stay as they are. The blocks of a path differ by at
        most one observation in length; a path of less than 2 n observations gives fewer blocks,
        so that each holds at least one pair.

        Raises:
            InputError: n is not positive.

        Example:
            >>> path = hp.Trajectories.from_dense(torch.arange(10.0), torch.randn(1, 10, 1))
            >>> path.blocks(3).path.tolist()
            [0, 0, 0, 0, 1, 1, 1, 2, 2, 2]
        """
        if n < 1:
            raise InputError(f"n, the number of blocks, must be at least 1, but is {n}.")
        lengths = self.path.unique_consecutive(return_counts=True)[1]
        count = (lengths // 2).clamp(1, n)
        first = lengths.cumsum(0) - lengths
        place = torch.arange(len(self), device=lengths.device) - first.repeat_interleave(lengths)
        # As numpy.array_split does it: the first length % count blocks are longer by one.
        short, longer = lengths // count, lengths % count
        short, longer, count_before = (
            column.repeat_interleave(lengths)
            for column in (short, longer, count.cumsum(0) - count)
        )
        head = longer * (short + 1)
        block = torch.where(place < head, place // (short + 1), longer + (place - head) // short)
        return Trajectories(self.t, self.x, count_before + block, self.names)

    def split(self, fractions: tuple[float, float, float], seed: int) -> Split:
        """Paths dealt at random into train, validation and test.

        Raises:
            InputError: fractions that are not positive or do not sum to 1, or too few paths.
        """
        if min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
            raise InputError(f"fractions must be positive and sum to 1, but are {fractions}.")
        numbers, label = self.path.unique_consecutive(return_inverse=True)
        n = len(numbers)
        held = [max(1, round(fraction * n)) for fraction in fractions[1:]]
        if n - sum(held) < 1:
            raise InputError(
                f"data must hold enough paths to fit, to validate and to test (at least 3), but "
                f"{n} paths are dealt as {fractions}."
            )
        order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
        part = torch.zeros(n, dtype=torch.long)
        part[order[: held[0]]] = 1
        part[order[held[0] : sum(held)]] = 2
        row_part = part[label]
        return Split(*(self.select(row_part == k) for k in range(3)))

    def _check_finite(self) -> None:
        for name, values in (("t", self.t), ("x", self.x)):
            bad = ~torch.isfinite(values)
            if bad.any():
                row = int(bad.nonzero()[0, 0])
                raise InputError(
                    f"{name} must be finite, but {int(bad.sum())} of its {values.numel()} values "
                    f"are NaN or infinite, the first in row {row}: drop or repair these rows."
                )

    def _check_order(self) -> None:
        if len(self) < 2:
            return
        same = self.path[1:] == self.path[:-1]
        backwards = same & (self.t[1:] <= self.t[:-1])
        if backwards.any():
            row = int(backwards.nonzero()[0]) + 1
            raise InputError(
                f"t must increase along each path, but does not in row {row} of path "
                f"{int(self.path[row])}: sort the rows by path and time and drop repeated times."
            )
        runs = self.path.unique_consecutive()
        if not (runs[1:] > runs[:-1]).all() and len(runs) != len(runs.unique()):
            raise InputError(
                "path must number the paths in contiguous rows, but a path is interrupted by "
                "another: sort the rows by path and time."
            )


def tensor_of(values: Values, name: str) -> Tensor:
    """Values as a tensor that shares their memory where it may."""
    if isinstance(values, Tensor):
        return values
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise InputError(
            f"{name} must hold numbers, but is an array of {array.dtype}: convert it, or use "
            "hp.Trajectories.from_frame."
        )
    if array.dtype.kind == "u":
        array = array.astype(np.int64)
    # Of arrays that are not writable, as pandas gives them, or in foreign byte order, or reversed,
    # torch makes no tensor without a word.
    plain = array.flags.writeable and array.dtype.isnative and min(array.strides, default=0) >= 0
    return torch.from_numpy(array if plain else array.astype(array.dtype.newbyteorder("=")))
