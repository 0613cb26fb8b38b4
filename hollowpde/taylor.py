r"""Truncated Taylor series: all derivatives 0..k of a composition, in one forward pass.

A series is the list of coefficients `c[j] = y^{(j)} / j!` of y along one direction. Every rule
below is the recurrence that follows from a differential equation of the function, so its cost is
O(k^2) elementwise products and nothing is differentiated numerically (Griewank and Walther,
Evaluating Derivatives, 2008, ch. 13). A coefficient that is exactly zero may be `None`: the sums
skip it. The coefficients are ordinary tensors, so autograd differentiates a series like anything
else, with respect to parameters and inputs, as often as asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Series = list[Tensor | None]
Rule = Callable[[Series], Series]


def derivatives(series: Series) -> tuple[Tensor, ...]:
    """Derivatives 0..k from the coefficients: `y^{(j)} = j! c[j]`.

    >>> derivatives([torch.tensor(1.0), torch.tensor(2.0), torch.tensor(3.0)])
    (tensor(1.), tensor(2.), tensor(6.))
    """
    value = _value(series)
    out = [value]
    for j, coefficient in enumerate(series[1:], start=1):
        if coefficient is None:
            out.append(torch.zeros_like(value))
        else:
            # A coefficient may still be broadcastable, like the constant slope of a linear map.
            coefficient = coefficient.expand_as(value)
            out.append(coefficient if j == 1 else coefficient * float(math.factorial(j)))
    return tuple(out)


def coefficients(derivatives: Sequence[Tensor]) -> Series:
    """The series with the given derivatives 0..k: the inverse of `derivatives`."""
    return [y if j < 2 else y / float(math.factorial(j)) for j, y in enumerate(derivatives)]


def linear(series: Series, weight: Tensor, bias: Tensor | None = None) -> Series:
    """`y = W z + b`: the bias enters the value alone."""
    value = F.linear(_value(series), weight, bias)
    return [value, *(None if c is None else F.linear(c, weight) for c in series[1:])]


def add(a: Series, b: Series) -> Series:
    """`y = a + b`, coefficient by coefficient."""
    return [_plus(p, q) for p, q in zip(a, b, strict=True)]


def multiply(a: Series, b: Series) -> Series:
    """`y = a b`: the Cauchy product."""
    return [_convolve(a, b, k) for k in range(len(a))]


def exp(z: Series) -> Series:
    """`y' = y z'`."""
    y: Series = [_value(z).exp()]
    for k in range(1, len(z)):
        y.append(_integral(z, y, k))
    return y


def log(z: Series) -> Series:
    """`z y' = z'`, for z > 0."""
    z0 = _value(z)
    y: Series = [z0.log()]
    for k in range(1, len(z)):
        # k z0 y_k = k z_k - sum_{0<j<k} j y_j z_{k-j}
        total: Tensor | None = None
        for j in range(1, k):
            total = _fma(total, y[j], z[k - j], -j / k)
        total = _plus(total, z[k])
        y.append(None if total is None else total / z0)
    return y


def tanh(z: Series) -> Series:
    """`y' = (1 - y^2) z'`."""
    y0 = _value(z).tanh()
    y: Series = [y0]
    if len(z) > 1:
        slope: Series = [torch.addcmul(y0.new_ones(()), y0, y0, value=-1.0)]
        for k in range(1, len(z)):
            y.append(_integral(z, slope, k))
            slope.append(_square(y, k, -1.0) if k + 1 < len(z) else None)
    return y


def sigmoid(z: Series) -> Series:
    """`y' = (y - y^2) z'`."""
    y0 = _value(z).sigmoid()
    y: Series = [y0]
    if len(z) > 1:
        slope: Series = [y0 * (1.0 - y0)]
        for k in range(1, len(z)):
            y.append(_integral(z, slope, k))
            slope.append(_plus(y[k], _square(y, k, -1.0)) if k + 1 < len(z) else None)
    return y


def silu(z: Series) -> Series:
    """`y = z sigmoid(z)`."""
    if len(z) == 1:
        return [F.silu(_value(z))]
    return multiply(z, sigmoid(z))


def softplus(z: Series) -> Series:
    """`y' = sigmoid(z) z'`: no threshold beyond which higher derivatives vanish."""
    y: Series = [F.softplus(_value(z))]
    if len(z) > 1:
        slope = sigmoid(z[:-1])
        for k in range(1, len(z)):
            y.append(_integral(z, slope, k))
    return y


def _integral(z: Series, slope: Series, k: int) -> Tensor | None:
    """Coefficient k of y from `y' = slope z'`: `y_k = sum_{0<j<=k} (j/k) z_j slope_{k-j}`."""
    total: Tensor | None = None
    for j in range(k, 0, -1):
        total = _fma(total, z[j], slope[k - j], j / k)
    return total


def _convolve(a: Series, b: Series, k: int) -> Tensor | None:
    """Coefficient k of the product a b."""
    total: Tensor | None = None
    for j in range(k + 1):
        total = _fma(total, a[j], b[k - j], 1.0)
    return total


def _square(a: Series, k: int, factor: float) -> Tensor | None:
    """Coefficient k of `factor a^2`, each cross term taken once."""
    total: Tensor | None = None
    for j in range((k + 1) // 2):
        total = _fma(total, a[j], a[k - j], 2.0 * factor)
    return total if k % 2 else _fma(total, a[k // 2], a[k // 2], factor)


def _fma(total: Tensor | None, a: Tensor | None, b: Tensor | None, factor: float) -> Tensor | None:
    """total + factor a b, where None is zero; `total` is a sum of ours, updated in place.

    Neither a product nor a sum saves its result for the backward pass, so autograd allows it.
    """
    if a is None or b is None:
        return total
    if total is None:
        product = a * b
        return product if factor == 1.0 else product.mul_(factor)
    if total.numel() < max(a.numel(), b.numel()):  # a coefficient that is still to be broadcast
        return torch.addcmul(total, a, b, value=factor)
    return total.addcmul_(a, b, value=factor)


def _plus(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return b if a is None else a
    return a + b


def _value(series: Sequence[Tensor | None]) -> Tensor:
    value = series[0]
    if value is None:
        raise ValueError("a Taylor series must have a value: coefficient 0 is None.")
    return value
