"""The brute-force reference: every operator by plain autograd, one dimension at a time.

It costs d reverse passes per order and works on any differentiable `field(t, x)`. The exact
operators are tested against it, and a user's own module falls back to it. Samples must not
influence one another (no batch normalisation): derivatives are taken of the sum over the batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hollowpde.errors import InputError
from hollowpde.operators.field import as_time

FieldLike = Callable[[Tensor, Tensor], Tensor]


def dimwise(
    field: FieldLike, t: Tensor | float, x: Tensor, *, order: int = 1
) -> tuple[Tensor, ...]:
    r"""Dimension-wise derivatives by brute force: value and `d^k f_i / dx_i^k`, k = 1..order.

    Arguments:
        field: called as `field(t, x)`, returns `(..., d)` (vector) or `(...)` (scalar).
        t: time, scalar or `(...)`.
        x: points, `(..., d)`.
        order: highest derivative, at least 0.

    Returns:
        `order + 1` tensors: the value, then derivatives of the shape of `x`.

    Raises:
        InputError: the field returns another shape.

    >>> x = torch.tensor([[1.0, 2.0]])
    >>> dimwise(lambda t, x: x**3, 0.0, x, order=2)[2].detach()
    tensor([[ 6., 12.]])
    """
    keep_graph = torch.is_grad_enabled()
    time = as_time(t, x)
    with torch.enable_grad():
        leaf = x if keep_graph and x.requires_grad else x.detach().requires_grad_()
        value = field(time, leaf)
        vector = _is_vector(value, x)
        columns: list[list[Tensor]] = []
        for i in range(x.shape[-1]):
            y = value[..., i] if vector else value
            column = []
            for _ in range(order):
                y = _partial(y, leaf, i)
                column.append(y)
            columns.append(column)
        out = [value]
        for k in range(order):
            out.append(torch.stack([column[k] for column in columns], dim=-1))
    return tuple(out) if keep_graph else tuple(y.detach() for y in out)


def divergence(field: FieldLike, t: Tensor | float, x: Tensor) -> Tensor:
    """`sum_i d f_i / dx_i` by brute force, shape `(...)`."""
    return dimwise(field, t, x, order=1)[1].sum(-1)


def laplacian(field: FieldLike, t: Tensor | float, x: Tensor) -> Tensor:
    """`sum_i d^2 u / dx_i^2` of a scalar field by brute force, shape `(...)`."""
    return dimwise(field, t, x, order=2)[2].sum(-1)


def jacobian(field: FieldLike, t: Tensor | float, x: Tensor) -> Tensor:
    """The full Jacobian `d f_i / dx_j` of a vector field, shape `(..., d, d)`."""
    time = as_time(t, x)
    with torch.enable_grad():
        leaf = x if x.requires_grad else x.detach().requires_grad_()
        value = field(time, leaf)
        rows = [_grad(value[..., i], leaf) for i in range(x.shape[-1])]
    return torch.stack(rows, dim=-2)


def _partial(y: Tensor, x: Tensor, i: int) -> Tensor:
    return _grad(y, x)[..., i]


def _grad(y: Tensor, x: Tensor) -> Tensor:
    if not y.requires_grad:  # constant in x
        return torch.zeros_like(x)
    (gradient,) = torch.autograd.grad(y.sum(), x, create_graph=True, materialize_grads=True)
    return gradient


def _is_vector(value: Tensor, x: Tensor) -> bool:
    if value.shape == x.shape:
        return True
    if value.shape == x.shape[:-1]:
        return False
    raise InputError(
        f"field(t, x) must return {tuple(x.shape)} (a vector field) or {tuple(x.shape[:-1])} "
        f"(a scalar field) for x of shape {tuple(x.shape)}, but returned {tuple(value.shape)}."
    )
