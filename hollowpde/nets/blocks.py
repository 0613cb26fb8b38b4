"""Transformers in blocks of rows: activations stay in the cache, and training keeps none of them.

A row is one dimension of one sample. Of a large batch the transformer is evaluated block by block;
its backward pass evaluates each block again instead of keeping what the first pass computed
(gradient checkpointing: Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from hollowpde.nets.transformers import Transformer
from hollowpde.operators.field import transformed

# Numbers in one activation of a block: few enough that several stay in the cache, enough to hide
# the cost of a call.
SIZE = 2**17

Parts = tuple[Tensor, ...]


def dimwise(transformer: Transformer, x: Tensor, h: Tensor, c: Tensor, order: int) -> Parts:
    """`transformer.dimwise(x, h, c, order)`, in blocks where that pays."""
    width = transformer.width
    if width is None or x.ndim < 2 or x.numel() * width <= SIZE or transformed():
        return transformer.dimwise(x, h, c, order)
    flat = (x.flatten(0, -2), h.flatten(0, -3), c.flatten(0, -2))
    if torch.is_grad_enabled():
        out: Parts = _Blocks.apply(transformer, order, *flat, *transformer.parameters())
    else:
        out = _evaluate(transformer, order, *flat)
    return tuple(y.view_as(x) for y in out)


class _Blocks(torch.autograd.Function):
    """The derivatives of a transformer, recomputed in the backward pass.

    Differentiated once more, the backward pass recomputes everything at once and leaves it to
    autograd, so that derivatives of any order are right.
    """

    @staticmethod
    def forward(
        ctx: Any, transformer: Transformer, order: int, x: Tensor, h: Tensor, c: Tensor, *p: Tensor
    ) -> Parts:
        ctx.transformer, ctx.order = transformer, order
        ctx.save_for_backward(x, h, c, *p)
        return _evaluate(transformer, order, x, h, c)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        needed = ctx.needs_input_grad[2:]
        # Many gradients at once (is_grads_batched, vmap) pass through what autograd records.
        batched = transformed() or any(_batched(g) for g in grads)
        differentiate = _whole if torch.is_grad_enabled() or batched else _by_blocks
        with torch.set_grad_enabled(torch.is_grad_enabled() or batched):
            found = differentiate(ctx.transformer, ctx.order, ctx.saved_tensors, needed, grads)
        return None, None, *found


def _evaluate(transformer: Transformer, order: int, x: Tensor, h: Tensor, c: Tensor) -> Parts:
    parts = [
        transformer.dimwise(x[rows], h[rows], c[rows], order) for rows in _blocks(transformer, x)
    ]
    return tuple(torch.cat(y) for y in zip(*parts, strict=True))


def _whole(
    transformer: Transformer, order: int, inputs: Parts, needed: tuple[bool, ...], grads: Parts
) -> list[Tensor | None]:
    """The vector-Jacobian product as a differentiable function of the inputs and of `grads`."""
    # Views, not the inputs themselves: h depends on x, but not here.
    copies = [y.view_as(y) for y in inputs]
    (x, h, c), parameters = copies[:3], copies[3:]
    out = _with(transformer, parameters, lambda tau: tau.dimwise(x, h, c, order))
    wanted = [y for y, need in zip(copies, needed, strict=True) if need]
    out, grads = _differentiable(out, grads)
    found = iter(torch.autograd.grad(out, wanted, grads, create_graph=True, allow_unused=True))
    return [next(found) if need else None for need in needed]


def _by_blocks(
    transformer: Transformer, order: int, inputs: Parts, needed: tuple[bool, ...], grads: Parts
) -> list[Tensor | None]:
    """The vector-Jacobian product, block by block."""
    parameters = [
        p.detach().requires_grad_(need) for p, need in zip(inputs[3:], needed[3:], strict=True)
    ]
    found = [
        torch.zeros_like(y) if need else None
        for y, need in zip(inputs[:3], needed[:3], strict=True)
    ]
    sums: list[Tensor | None] = [None] * len(parameters)

    def run(tau: Transformer) -> None:
        for rows in _blocks(tau, inputs[0]):
            leaves = [
                y[rows].detach().requires_grad_(need)
                for y, need in zip(inputs[:3], needed[:3], strict=True)
            ]
            x, h, c = leaves
            with torch.enable_grad():
                out = tau.dimwise(x, h, c, order)
            out, given = _differentiable(out, tuple(g[rows] for g in grads))
            wanted = [y for y in (*leaves, *parameters) if y.requires_grad]
            # By name: `backward` would also write into tensors that nobody asked about.
            parts = iter(torch.autograd.grad(out, wanted, given, allow_unused=True))
            for total in found:
                if total is not None and (part := next(parts)) is not None:
                    total[rows] = part
            for k, p in enumerate(parameters):
                if p.requires_grad and (part := next(parts)) is not None:
                    sums[k] = part if (total := sums[k]) is None else total + part

    _with(transformer, parameters, run)
    return [*found, *sums]


def _batched(g: Tensor) -> bool:
    functorch = torch._C._functorch
    return functorch.is_batchedtensor(g) or functorch.is_legacy_batchedtensor(g)


def _differentiable(out: Parts, grads: Parts) -> tuple[Parts, Parts]:
    """The outputs that are not constant, and their gradients."""
    kept = [k for k, y in enumerate(out) if y.requires_grad]
    return tuple(out[k] for k in kept), tuple(grads[k] for k in kept)


def _blocks(transformer: Transformer, x: Tensor) -> Iterator[slice]:
    """The samples of each block of x `(n, d)`."""
    samples = max(1, SIZE // (x.shape[1] * (transformer.width or 1)))
    return (slice(start, start + samples) for start in range(0, len(x), samples))


class _Bound(nn.Module):
    """A module that hands its part to a function: what `functional_call` needs."""

    def __init__(self, transformer: Transformer) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(self, function: Callable[[Transformer], Any]) -> Any:
        return function(self.transformer)


def _with(
    transformer: Transformer, parameters: list[Tensor], function: Callable[[Transformer], Any]
) -> Any:
    """`function(transformer)` with other parameters in the place of its own."""
    names = (f"transformer.{name}" for name, _ in transformer.named_parameters())
    bound = dict(zip(names, parameters, strict=True))
    return functional_call(_Bound(transformer), bound, (function,))
