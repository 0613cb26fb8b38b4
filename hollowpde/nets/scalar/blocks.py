"""Large batches without gradients go block by block, so that activations stay in the cache."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# Rows (samples x directions) of one block.
_ROWS = 4096

Parts = tuple[Tensor, ...]


def by_samples(
    function: Callable[..., Parts], directions: int, t: Tensor, x: Tensor, *others: Tensor
) -> Parts:
    """`function(t, x, *others)`, whose work for a sample is that of so many directions."""
    samples = max(1, _ROWS // directions)
    if torch.is_grad_enabled() or x.ndim != 2 or len(x) <= samples:
        return function(t, x, *others)
    inputs = (t.expand(len(x)), x, *others)
    blocks = zip(*(y.split(samples) for y in inputs), strict=True)
    parts = [function(*block) for block in blocks]
    return tuple(torch.cat(y) for y in zip(*parts, strict=True))
