"""Held-out and re-simulated states side by side, as arrays."""

from __future__ import annotations

import numpy as np

from hollowpde.problem.panel import Array
from hollowpde.problem.sde.metrics import Resimulated

_FAR = 10.0


def pooled(pairs: Resimulated) -> Array:
    """Held-out states first, then each replicate: `(1 + replicates, M, d)`, all finite.

    Simulated states that have run away are held ten times the range of the observed ones beyond
    it: far, but not so far that sums of squares see nothing else.
    """
    observed = pairs.observed.double().numpy()
    low, high = observed.min(0), observed.max(0)
    reach = _FAR * (high - low)
    simulated = np.nan_to_num(pairs.simulated.double().numpy(), nan=np.inf)
    return np.concatenate([observed[None], np.clip(simulated, low - reach, high + reach)])
