"""Work on a few samples at a time, so that intermediate results stay in the cache."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# Rows (samples x dimensions) of one block, where work and memory are linear in them.
ROWS = 1 << 13


def in_blocks(
    function: Callable[[Tensor, Tensor], Tensor], x: Tensor, c: Tensor, samples: int
) -> Tensor:
    """`function(x, c)`, evaluated on that many rows of x `(B, d)` and c `(B, m)` at a time.

    >>> in_blocks(lambda x, c: x + c, torch.ones(5, 2), torch.ones(5, 1), samples=2).shape
    torch.Size([5, 2])
    """
    samples = max(1, samples)
    if x.ndim != 2 or len(x) <= samples:
        return function(x, c)
    parts = zip(x.split(samples), c.split(samples), strict=True)
    return torch.cat([function(*part) for part in parts])
