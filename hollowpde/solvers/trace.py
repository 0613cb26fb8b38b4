"""What a solver did on its way, where that was asked for."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Flags = NDArray[np.bool_]
Numbers = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Trace:
    """Every attempted step of every sample, in the order in which they were made.

    Arguments:
        sample: which sample, `(N,)`.
        t: where the step began, `(N,)`; y: the state there, `(N, d)`.
        h: its size, with a sign, `(N,)`.
        order: of the method, `(N,)`.
        accepted: whether it stands, `(N,)`.
        iterations: evaluations of f that it took, `(N,)`.
        rate: the contraction of the inner iteration, as measured of late; nan where there is
            none, `(N,)`.
    """

    sample: Counts
    t: Numbers
    y: NDArray[np.floating]
    h: Numbers
    order: Counts
    accepted: Flags
    iterations: Counts
    rate: Numbers

    def of(self, sample: int) -> Trace:
        """The steps of one sample."""
        mine = self.sample == sample
        return Trace(*(getattr(self, f.name)[mine] for f in fields(self)))


@dataclass
class Recorder:
    """Collects steps while a solver is at work."""

    rows: list[tuple[np.ndarray, ...]] = field(default_factory=list)

    def add(
        self,
        samples: Counts,
        t: Numbers,
        y: Tensor,
        h: Numbers,
        order: Counts,
        accepted: Flags,
        iterations: Counts,
        rate: Numbers | None,
    ) -> None:
        """Note one attempt of each of some samples."""
        rate = np.full(len(samples), np.nan) if rate is None else rate
        state = y.detach().cpu().numpy()
        row = (samples, t, state, h, order, accepted, iterations, rate)
        self.rows.append(tuple(np.array(part) for part in row))

    def trace(self, dim: int, dtype: torch.dtype) -> Trace:
        if not self.rows:
            nothing = np.zeros(0, np.int64)
            self.add(
                nothing, np.zeros(0), torch.zeros(0, dim, dtype=dtype), np.zeros(0), nothing,
                np.zeros(0, bool), nothing, None,
            )  # fmt: skip
        return Trace(*(np.concatenate(column) for column in zip(*self.rows, strict=True)))
