"""The functions that exponential integrators are made of, differentiable any number of times."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

_NEAR = 0.5
# Terms of the series that reach rounding for |z| < 1/2.
_TERMS = {torch.float32: 9, torch.float64: 15}


def phi(z: Tensor, k: int) -> Tensor:
    r"""The k-th of the functions of exponential integrators, exact to rounding for small k.

    $$ \varphi_0(z) = e^z, \quad
       \varphi_k(z) = \frac{\varphi_{k-1}(z) - 1/(k-1)!}{z} = \sum_n \frac{z^n}{(n + k)!} $$

    One operation for autograd, in reverse and in forward mode, with derivatives of every order
    that are finite at zero and far below it.

    Arguments:
        z: of any shape, float32 or float64.
        k: at least 0.

    Source:
        Hochbruck and Ostermann, Exponential integrators (2010).

    >>> phi(torch.tensor([0.0, 1.0]), 1)
    tensor([1.0000, 1.7183])
    """
    return z.exp() if k == 0 else _Phi.apply(z, k)


class _Phi(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor, k: int) -> Tensor:
        # No derivative passes through here: what a branch makes of other points does not matter.
        value = torch.expm1(z) / z
        if k == 1:
            return torch.where(z == 0, torch.ones_like(z), value)
        for j in range(1, k):
            value = (value - 1 / math.factorial(j)) / z
        return torch.where(z.abs() < _NEAR, _series(z, k), value)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:
        z, ctx.k = inputs
        ctx.save_for_backward(z, output)
        ctx.save_for_forward(z, output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        z, value = ctx.saved_tensors
        return gradient * _slope(z, value, ctx.k), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        z, value = ctx.saved_tensors
        return tangent * _slope(z, value, ctx.k)


def _slope(z: Tensor, value: Tensor, k: int) -> Tensor:
    """The derivative of phi_k, by whichever of two identities does not cancel."""
    near = z.abs() < _NEAR
    far = torch.where(near, torch.ones_like(z), z)
    inner = torch.where(near, z, torch.zeros_like(z))
    return torch.where(near, value - k * phi(inner, k + 1), (phi(far, k - 1) - k * value) / far)


def _series(z: Tensor, k: int) -> Tensor:
    """`sum_n z^n / (n + k)!`, of use where z is small."""
    inner = z.clamp(-_NEAR, _NEAR)  # powers of the others may overflow
    last = k + _TERMS[z.dtype] - 1
    series = torch.full_like(z, 1 / math.factorial(last))
    for n in range(last - 1, k - 1, -1):
        series.mul_(inner).add_(1 / math.factorial(n))
    return series
