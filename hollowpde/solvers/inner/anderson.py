"""Anderson's acceleration of a fixed-point iteration, for each sample of a batch by itself."""

from __future__ import annotations

import torch
from torch import Tensor


class Anderson:
    r"""The next iterate from the last few, such that their residuals nearly cancel.

    $$ z^+ = z + r - \sum_j \gamma_j (\Delta z_j + \Delta r_j), \quad
       \gamma = \mathrm{argmin} \; | r - \sum_j \gamma_j \Delta r_j |^2 $$

    The least squares are in units of the scale, by normal equations that are never singular.

    Arguments:
        memory: how many differences are kept; 0 is the plain iteration.
        eps: the rounding of residuals, relative.

    Source:
        Walker and Ni, Anderson Acceleration for Fixed-Point Iterations (2011).
    """

    def __init__(self, memory: int, eps: float) -> None:
        self.memory = memory
        # What keeps the normal equations from being singular.
        self._ridge = 1e-13 if eps < 1e-10 else 1e-6
        self._steps: list[Tensor] = []
        self._changes: list[Tensor] = []

    def keep(self, rows: Tensor) -> None:
        """Only these samples go on."""
        self._steps = [y[rows] for y in self._steps]
        self._changes = [y[rows] for y in self._changes]

    def learn(self, step: Tensor, change: Tensor) -> None:
        """Of a step of z, and of the change of r along it."""
        if self.memory:
            self._steps = [*self._steps, step][-self.memory :]
            self._changes = [*self._changes, change][-self.memory :]

    def step(self, r: Tensor, scale: Tensor) -> Tensor:
        """By how much to move z, where the residual is r."""
        if not self._steps:
            return r
        changes = torch.stack(self._changes, dim=-1)  # (n, d, m)
        steps = torch.stack(self._steps, dim=-1)
        scaled = changes / scale.unsqueeze(-1)
        gram = torch.bmm(scaled.mT, scaled)
        right = torch.bmm(scaled.mT, (r / scale).unsqueeze(-1))
        if gram.shape[-1] == 1:
            gamma = right / (gram + torch.finfo(r.dtype).tiny)
        else:
            diagonal = gram.diagonal(dim1=-2, dim2=-1)
            diagonal += self._ridge * diagonal.sum(-1, keepdim=True) + torch.finfo(r.dtype).tiny
            gamma, _ = torch.linalg.solve_ex(gram, right)
        return r - torch.bmm(steps + changes, gamma).squeeze(-1)
