"""The brute-force reference: every operator by plain autograd, one dimension at a time.

It costs d reverse passes per order and works on any differentiable `field(t, x)`. The exact
operators are tested against it, and a user's own module falls back to it. Samples must not
influence one another (no batch normalisation): derivatives are taken of the sum over the batch.

It is ordinary reverse mode, which can be differentiated again, but not within a transform of
`torch.func`: there it would miss what the transform wraps, and refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from hollowpde.errors import InputError, UnsupportedError
from hollowpde.operators.field import as_time, refuse_inference_mode

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
        UnsupportedError: called within a transform of `torch.func`.

    >>> x = torch.tensor([[1.0, 2.0]])
    >>> dimwise(lambda t, x: x**3, 0.0, x, order=2)[2].detach()
    tensor([[ 6., 12.]])
    """
    keep_graph, time = torch.is_grad_enabled(), as_time(t, x)
    with torch.enable_grad():
        leaf = _leaf(x, keep_graph)
        value = field(time, leaf)
        vector = _is_vector(value, x)
        columns: list[list[Tensor]] = []
        for i in range(x.shape[-1]):
            y = value[..., i] if vector else value
            column = []
            for _ in range(order):
                y = _grad(y, leaf)[..., i]
                column.append(y)
            columns.append(column)
        out = [value]
        for k in range(order):
            out.append(torch.stack([column[k] for column in columns], dim=-1))
    return _released(out, keep_graph)


def dimwise_in_time(
    field: FieldLike, t: Tensor | float, x: Tensor, *, order: int = 0
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """What `dimwise` gives, and d/dt of each part at fixed x, by brute force.

    >>> values, slopes = dimwise_in_time(lambda t, x: t[..., None] * x**2, 3.0, torch.ones(1, 1),
    ...                                  order=1)
    >>> [slope.item() for slope in slopes]
    [1.0, 2.0]
    """
    keep_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        time = _leaf(as_time(t, x), keep_graph)
        values = dimwise(field, time, x, order=order)
        slopes = [
            torch.stack([_grad(y, time) for y in value.unbind(-1)], dim=-1)
            if value.shape == x.shape
            else _grad(value, time)
            for value in values
        ]
    return _released(values, keep_graph), _released(slopes, keep_graph)


def divergence(field: FieldLike, t: Tensor | float, x: Tensor) -> Tensor:
    """`sum_i d f_i / dx_i` by brute force, shape `(...)`."""
    return dimwise(field, t, x, order=1)[1].sum(-1)


def laplacian(
    field: FieldLike, t: Tensor | float, x: Tensor, weights: Tensor | None = None
) -> Tensor:
    """`sum_i a_i d^2 u / dx_i^2` of a scalar field by brute force, shape `(...)`."""
    d2 = dimwise(field, t, x, order=2)[2]
    return (d2 if weights is None else weights * d2).sum(-1)


def jacobian(field: FieldLike, t: Tensor | float, x: Tensor) -> Tensor:
    """The full Jacobian `d f_i / dx_j` of a vector field, shape `(..., d, d)`."""
    keep_graph, time = torch.is_grad_enabled(), as_time(t, x)
    with torch.enable_grad():
        leaf = _leaf(x, keep_graph)
        rows = [_grad(y, leaf) for y in field(time, leaf).unbind(-1)]
        (out,) = _released([torch.stack(rows, dim=-2)], keep_graph)
    return out


def hessian(field: FieldLike, t: Tensor | float, x: Tensor) -> Tensor:
    """The full Hessian `d^2 u / dx_i dx_j` of a scalar field, shape `(..., d, d)`.

    >>> hessian(lambda t, x: x[..., 0] * x[..., 1], 0.0, torch.ones(2))
    tensor([[0., 1.],
            [1., 0.]])
    """
    keep_graph, time = torch.is_grad_enabled(), as_time(t, x)
    with torch.enable_grad():
        leaf = _leaf(x, keep_graph)
        rows = [_grad(y, leaf) for y in _grad(field(time, leaf), leaf).unbind(-1)]
        (out,) = _released([torch.stack(rows, dim=-2)], keep_graph)
    return out


def _leaf(x: Tensor, keep_graph: bool) -> Tensor:
    """x as something to differentiate by; tied to x, if the result is to be differentiated too."""
    refuse_inference_mode("brute force")
    try:
        # Within a transform of torch.func this raises, on any tensor. Not asked here, the graph
        # of a tensor from outside would have nothing in it, and every derivative would be zero.
        leaf = x.detach().requires_grad_()
    except RuntimeError as error:
        raise UnsupportedError(
            "brute force is ordinary reverse mode, which cannot run within a transform of "
            "torch.func (vmap, grad, jvp, ...): use a HollowNet or another Field, whose "
            "derivatives need none, or put the batch into the leading axes of x."
        ) from error
    # A view of x, not x: what t owes to x outside is no derivative at fixed t (and vice versa).
    return x.view_as(x) if keep_graph and x.requires_grad else leaf


def _released(out: Iterable[Tensor], keep_graph: bool) -> tuple[Tensor, ...]:
    return tuple(out) if keep_graph else tuple(y.detach() for y in out)


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
