"""Many samples gathered on few nodes, between which functions are interpolated linearly."""

from __future__ import annotations

import torch
from torch import Tensor

# Intervals between the ends of the data, by dimension: fine enough that the interpolation error
# of a smooth drift is below its statistical error, and far fewer nodes than samples.
_INTERVALS = {1: 300, 2: 64}


class Nodes:
    """The nodes of a grid that have samples in a cell beside them.

    A function of x is evaluated at the nodes instead of at each sample; a sample has the value
    that interpolation between the corners of its cell gives. Beyond two dimensions a grid would
    have more nodes than there are samples, and every sample is a node of its own.

    Arguments:
        x: samples, `(n, d)`.
    """

    def __init__(self, x: Tensor) -> None:
        n, d = x.shape
        intervals = _INTERVALS.get(d)
        if intervals is None:
            self.points = x
            self.corners = torch.arange(n, device=x.device).unsqueeze(1)
            self.shares = torch.ones(n, 1, dtype=x.dtype, device=x.device)
            return
        low = x.amin(0)
        spacing = ((x.amax(0) - low) / intervals).clamp(min=torch.finfo(x.dtype).tiny)
        place = (x - low) / spacing
        cell = place.floor().clamp(0, intervals - 1).long()
        within = place - cell
        steps = torch.cartesian_prod(*[torch.arange(2, device=x.device)] * d).reshape(-1, d)
        corner = cell.unsqueeze(1) + steps  # (n, 2^d, d)
        share = torch.where(steps.bool(), within.unsqueeze(1), 1 - within.unsqueeze(1)).prod(-1)
        radix = (intervals + 1) ** torch.arange(d, device=x.device)
        used, index = (corner * radix).sum(-1).unique(return_inverse=True)
        place = used.unsqueeze(-1) // radix % (intervals + 1)
        self.points = low + place * spacing
        self.corners, self.shares = index, share

    def __len__(self) -> int:
        return len(self.points)

    def at_samples(self, values: Tensor, rows: slice) -> Tensor:
        """Values at the nodes `(P, k)` carried to some samples, `(n, k)`."""
        corner, share = self.corners[rows], self.shares[rows]
        return (values[corner] * share.unsqueeze(-1)).sum(1)

    def from_samples(self, values: Tensor, rows: slice) -> Tensor:
        """Sums over some samples of values `(n, k)`, each dealt to the nodes around: `(P, k)`."""
        total = torch.zeros(len(self), values.shape[-1], dtype=values.dtype, device=values.device)
        corner, share = self.corners[rows], self.shares[rows]
        for c in range(corner.shape[1]):
            total.index_add_(0, corner[:, c], values * share[:, c, None])
        return total
