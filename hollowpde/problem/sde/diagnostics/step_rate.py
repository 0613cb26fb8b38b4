"""How far the drift turns within a step of observation."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hollowpde.data import Pairs
from hollowpde.operators.dimwise import dimwise
from hollowpde.operators.field import Field

_CHUNK = 8192


@dataclass(frozen=True)
class StepRate:
    """h |d_i f_i| over transitions and coordinates: its maximum and its 99 % quantile."""

    largest: float
    quantile99: float

    def verdict(self) -> str:
        """Which likelihoods such steps ask for."""
        if self.quantile99 < 0.1:
            return "short steps: every likelihood will do"
        if self.quantile99 < 1:
            return "steps in which the drift changes: Euler-Maruyama is biased"
        return "steps longer than the process remembers: only moment or mixture closure will do"


@torch.no_grad()
def step_rate(drift: Field, pairs: Pairs) -> StepRate:
    """`h |d_i f_i|` over transitions: how far the drift changes along itself in a step.

    Arguments:
        drift: f, in the units of the pairs; its exact diagonal derivatives are used.
        pairs: transitions.

    Example:
        >>> drift = hp.Autonomous(hp.HollowNet(1))
        >>> data = hp.Trajectories.from_dense(torch.arange(3.0), torch.randn(5, 3, 1))
        >>> rate = step_rate(drift, data.pairs())
        >>> rate.largest >= rate.quantile99
        True
    """
    parts = []
    for start in range(0, len(pairs.t), _CHUNK):
        rows = slice(start, start + _CHUNK)
        slope = dimwise(drift, pairs.t[rows], pairs.x[rows], order=1)[1]
        parts.append((pairs.step[rows].unsqueeze(-1) * slope).abs().flatten())
    rates = torch.cat(parts).double()
    # torch.quantile takes no more than 16 million values.
    rank = max(1, round(0.99 * len(rates)))
    return StepRate(float(rates.max()), float(rates.kthvalue(rank).values))
