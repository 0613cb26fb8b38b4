"""What an equation asks of an ordinary network, by nested autograd."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor, nn


class NestedJet:
    """Value and derivatives of a network of (x, t): the second ones by d reverse passes.

    Arguments:
        net: called with points `(n, d + 1)`, x first; returns `(n, 1)`.
        t: times `(n,)`.
        x: points `(n, d)`.
        keep_graph: whether what comes out is to be differentiated again.

    >>> jet = NestedJet(lambda z: z[:, :1] ** 2, torch.zeros(3), torch.ones(3, 1), False)
    >>> jet.laplacian
    tensor([2., 2., 2.])
    """

    def __init__(self, net: nn.Module, t: Tensor, x: Tensor, keep_graph: bool) -> None:
        self._dim, self._keep_graph = x.shape[-1], keep_graph
        with torch.enable_grad():
            self._points = torch.cat([x, t.unsqueeze(-1)], dim=-1).requires_grad_()
            self.value: Tensor = net(self._points).squeeze(-1)

    @property
    def dt(self) -> Tensor:
        return self._slopes[:, -1]

    @property
    def gradient(self) -> Tensor:
        return self._slopes[:, :-1]

    @property
    def laplacian(self) -> Tensor:
        return torch.stack(self._bends).sum(0)

    def weighted_laplacian(self, weights: Tensor) -> Tensor:
        return (torch.stack(self._bends, dim=-1) * weights).sum(-1)

    @cached_property
    def _slopes(self) -> Tensor:
        with torch.enable_grad():
            return torch.autograd.grad(self.value.sum(), self._points, create_graph=True)[0]

    @cached_property
    def _bends(self) -> list[Tensor]:
        with torch.enable_grad():
            slopes = self._slopes
            return [
                torch.autograd.grad(
                    slopes[:, i].sum(),
                    self._points,
                    create_graph=self._keep_graph,
                    retain_graph=True,
                )[0][:, i]
                for i in range(self._dim)
            ]
