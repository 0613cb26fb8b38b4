"""Windows: consecutive transitions of one path, for likelihoods that look at several at once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from hollowpde.data.trajectories import Pairs


class Windows(NamedTuple):
    """Runs of up to L consecutive transitions of a path, padded by repeating the last one."""

    t: Tensor  # (n, L), before each transition
    x: Tensor  # (n, d), the first observation
    step: Tensor  # (n, L)
    x_next: Tensor  # (n, L, d)
    scored: Tensor  # (n, L): not padding, and not of the lead-in
    path: Tensor  # (n,)


def windows(pairs: Pairs, length: int, lead: int) -> Windows:
    """Every transition once, in windows of `length`, each after up to `lead` that come before.

    >>> path = torch.tensor([0, 0, 0, 1])
    >>> pairs = Pairs(torch.arange(4.0), torch.zeros(4, 1), torch.ones(4), torch.zeros(4, 1), path)
    >>> windows(pairs, length=2, lead=1).t
    tensor([[0., 1.],
            [1., 2.],
            [3., 3.]])
    >>> windows(pairs, length=2, lead=1).scored.int()
    tensor([[1, 1],
            [0, 1],
            [1, 0]], dtype=torch.int32)
    """
    _, count = pairs.path.unique_consecutive(return_counts=True)
    many = (count + length - 1) // length  # windows of each path
    which = torch.repeat_interleave(torch.arange(len(count), device=count.device), many)
    place = torch.arange(len(which), device=count.device) - (many.cumsum(0) - many)[which]
    offset = (count.cumsum(0) - count)[which]
    first = place * length
    start = (first - lead).clamp(min=0)
    end = torch.minimum(first + length, count[which])
    at = start.unsqueeze(1) + torch.arange(int((end - start).max()), device=count.device)
    scored = (at >= first.unsqueeze(1)) & (at < end.unsqueeze(1))
    rows = offset.unsqueeze(1) + torch.minimum(at, (end - 1).unsqueeze(1))
    return Windows(
        pairs.t[rows],
        pairs.x[rows[:, 0]],
        pairs.step[rows],
        pairs.x_next[rows],
        scored,
        pairs.path[rows[:, 0]],
    )
