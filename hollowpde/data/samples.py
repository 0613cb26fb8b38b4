"""Samples of a density: points without times or paths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from hollowpde.data.trajectories import Data, Trajectories, Values, tensor_of
from hollowpde.errors import InputError

# What a density can be fitted to: `(n, d)` values, a frame with a column for each dimension, or
# anything with `.load()`.
DensityData: TypeAlias = Data | Tensor | np.ndarray | pd.DataFrame


@dataclass(frozen=True)
class Samples:
    """Samples that a function draws, when they are needed and not before.

    Arguments:
        draw: called as `draw(n, generator)`, returns `(n, d)`.
        samples: n.
        seed: of the generator.
        names: of the coordinates; `x1..xd` by default.

    Raises:
        InputError: `draw` returns something else than n rows.

    >>> noise = hp.Samples(lambda n, generator: torch.randn(n, 2, generator=generator), 100)
    >>> noise.load()
    Trajectories(100 unpaired observations, d=2, t=[0, 0])
    """

    draw: Callable[[int, torch.Generator], Tensor]
    samples: int = 50_000
    seed: int = 0
    names: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not callable(self.draw):
            raise InputError(
                f"draw must be called as draw(n, generator), but is a {type(self.draw).__name__}."
            )
        if self.samples < 1:
            raise InputError(f"samples must be at least 1, but is {self.samples}.")

    def load(self) -> Trajectories:
        x = self.draw(self.samples, torch.Generator().manual_seed(self.seed))
        if not isinstance(x, Tensor) or x.ndim != 2 or len(x) != self.samples:
            shape = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise InputError(
                f"draw(n, generator) must return {self.samples} rows of shape "
                f"({self.samples}, d), but returned {shape}."
            )
        return points(x, self.names)


def points(x: Values, names: Sequence[str] = ()) -> Trajectories:
    """Points `(n, d)`, each a path of its own at time zero."""
    rows = tensor_of(x, "data")
    if rows.ndim != 2:
        raise InputError(
            f"data must have shape (n, d), but has {tuple(rows.shape)}: use x[:, None] for one "
            "coordinate."
        )
    if not rows.is_floating_point():
        rows = rows.to(torch.get_default_dtype())
    return Trajectories(
        torch.zeros(len(rows), dtype=rows.dtype), rows, torch.arange(len(rows)), names
    )


def load(data: DensityData) -> Trajectories:
    """Whatever a density can be fitted to, as points at time zero.

    Raises:
        InputError: it is of another kind, not numbers, or of several times.
    """
    if isinstance(data, pd.DataFrame):
        bad = [str(name) for name, kind in data.dtypes.items() if kind.kind not in "fiub"]
        if bad:
            raise InputError(
                f"data must hold numbers, but the columns {', '.join(bad)} do not: drop or "
                "convert them."
            )
        return points(data.to_numpy(float), [str(name) for name in data.columns])
    if isinstance(data, Tensor | np.ndarray):
        return points(data)
    loaded = data.load()
    if loaded.t.min() < loaded.t.max():
        raise InputError(
            "data: a DensityProblem takes samples of one density, but these are of several times: "
            "take those of one time, or an hp.SDEProblem, whose density moves in time."
        )
    return points(loaded.x, loaded.names)
