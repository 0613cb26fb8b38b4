"""Residuals of a module at many points, with their derivatives by every parameter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

# Numbers in the Jacobian of one chunk of points, whose intermediate results are some ten times it.
_CHUNK = 2_000_000


def linearise(
    module: nn.Module, rows: Callable[..., Tensor], batch: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    r"""The residuals of all points, and their Jacobian by the parameters of a module.

    $$ r \in R^n, \quad J = \partial r / \partial \theta \in R^{n \times P} $$

    Arguments:
        module: its parameters that require a gradient are theta, in the order of `parameters()`.
        rows: called as `rows(module, *point)` for a single point, without a batch axis; returns
            one residual `()` or several `(m,)`, as a function of torch operations alone.
        batch: tensors whose first axis runs over the points.

    Returns:
        r `(n,)` or, flattened, `(n m,)`, and J with as many rows.

    Example:
        >>> net = hp.RidgeNet(2, hidden=(4,))
        >>> r, J = linearise(net, lambda u, t, x: u(t, x), (torch.zeros(5), torch.randn(5, 2)))
        >>> r.shape, J.shape
        (torch.Size([5]), torch.Size([5, 21]))
    """
    free = {k: v.detach() for k, v in module.named_parameters() if v.requires_grad}
    width = sum(v.numel() for v in free.values())
    call = _Call(module, rows)

    def of_one(theta: dict[str, Tensor], *point: Tensor) -> tuple[Tensor, Tensor]:
        named = {f"module.{k}": v for k, v in theta.items()}
        out: Tensor = torch.func.functional_call(call, named, point)
        return out, out

    derivative: Callable[..., tuple[dict[str, Tensor], Tensor]] = torch.func.vmap(
        torch.func.jacrev(of_one, has_aux=True),
        in_dims=(None, *[0] * len(batch)),
        chunk_size=max(1, _CHUNK // width),
    )
    by_name, r = derivative(free, *batch)
    J = torch.cat([v.reshape(*r.shape, -1) for v in by_name.values()], dim=-1)
    return r.flatten(), J.flatten(0, -2)


class _Call(nn.Module):
    """A function of a module as a module, which functional_call asks for."""

    def __init__(self, module: nn.Module, rows: Callable[..., Tensor]) -> None:
        super().__init__()
        self.module, self.rows = module, rows

    def forward(self, *point: Tensor) -> Any:
        return self.rows(self.module, *point)
