"""Snapshots from a table: the weights of animals that are seen once each, by day.

dX = (3 - X) dt / 2 + 0.6 dW, of some 500 animals a day. The table is made when it is first needed:
put your own in its place.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import hollowpde as hp


@dataclass(frozen=True)
class Weights:
    """A table of columns day and weight, a row for each animal."""

    file: Path = Path(tempfile.gettempdir()) / "hollowpde_weights.csv"
    paired: bool = False

    def load(self) -> hp.Trajectories:
        if not self.file.exists():
            self.make()
        return hp.Table(self.file, time="day", state=["weight"], paired=False).load()

    def make(self) -> None:
        random = np.random.default_rng(0)
        days = np.repeat(np.linspace(0, 4, 9), random.integers(400, 600, 9))
        mean = 3 - 2 * np.exp(-days / 2)
        variance = 0.04 * np.exp(-days) + 0.36 * (1 - np.exp(-days))
        weights = mean + np.sqrt(variance) * random.standard_normal(len(days))
        pd.DataFrame({"day": days, "weight": weights}).to_csv(self.file, index=False)


hp.register(hp.SDEProblem(name="snapshots_csv", data=Weights()))
