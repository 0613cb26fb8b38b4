r"""Truncated Taylor series: all derivatives 0..k of a composition, in one forward pass.

A series is the list of coefficients `c[j] = y^{(j)} / j!` of y along one direction. A function of
one variable enters by its own coefficients about a point, `f(v + s) = sum_j f_j s^j`, which follow
from a differential equation that it solves; a `Rule` makes of them a function on series (Faa di
Bruno's formula, by powers of a truncated series). Nothing is differentiated numerically, and the
work is polynomial in k (Griewank and Walther, Evaluating Derivatives, 2008, ch. 13). A coefficient
that is exactly zero may be `None`: the sums skip it. The coefficients are ordinary tensors, so
autograd differentiates a series like anything else, with respect to parameters and inputs, as
often as asked.

A new rule is one function:

    @Rule
    def exp(v, order):
        y = v.exp()
        return [y / math.factorial(k) for k in range(order + 1)]
"""

from __future__ import annotations

import importlib
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Series = list[Tensor | None]


@dataclass(frozen=True)
class Rule:
    """A function of one variable on series, from its coefficients `f_0 .. f_order` about a point.

    It has no trainable numbers of its own: those belong to a module, as its parameters.

    >>> @Rule
    ... def reciprocal(v, order):
    ...     return [(-1) ** k / v ** (k + 1) for k in range(order + 1)]
    >>> reciprocal([torch.tensor(2.0), torch.tensor(1.0)])
    [tensor(0.5000), tensor(-0.2500)]
    """

    about: Callable[[Tensor, int], list[Tensor]]

    def __call__(self, z: Series) -> Series:
        return compose(self.about(_value(z), len(z) - 1), z)

    def __deepcopy__(self, memo: dict[int, object]) -> Rule:
        return self  # it never changes; and by name, as pickled, local rules are not found

    def __reduce__(self) -> tuple[Callable[[str, str], Rule], tuple[str, str]]:
        # By name: a decorated function is not found under its own name, where the rule stands.
        return _named, (self.about.__module__, self.about.__qualname__)

    @property
    def name(self) -> str:
        return self.about.__name__


def _named(module: str, name: str) -> Rule:
    rule: Rule = operator.attrgetter(name)(importlib.import_module(module))
    return rule


def compose(f: Sequence[Tensor], z: Series) -> Series:
    """`f_0 + f_1 w + f_2 w^2 + ...` with w = z less its value, cut off at the order of z."""
    order = len(z) - 1
    y: Series = [f[0], *([None] * order)]
    w: Series = [None, *z[1:]]
    power = w
    for j in range(1, order + 1):
        # The j-th power starts at order j.
        if j == 2:
            power = [None, None, *(_square(w, n) for n in range(2, order + 1))]
        elif j > 2:
            power = [*[None] * j, *(_convolve(power, w, n) for n in range(j, order + 1))]
        for n in range(j, order + 1):
            y[n] = _fma(y[n], f[j], power[n])
    return y


def derivatives(series: Series) -> tuple[Tensor, ...]:
    """Derivatives 0..k from the coefficients: `y^{(j)} = j! c[j]`.

    >>> derivatives([torch.tensor(1.0), torch.tensor(2.0), torch.tensor(3.0)])
    (tensor(1.), tensor(2.), tensor(6.))
    """
    value = _value(series)
    out = [value]
    for j, coefficient in enumerate(series[1:], start=1):
        if coefficient is None:
            coefficient = torch.zeros_like(value)
        elif coefficient.shape != value.shape:  # like the constant slope of a linear map
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


def divide(a: Series, b: Series) -> Series:
    """`y b = a`, for b != 0."""
    b0 = _value(b)
    y: Series = []
    for k in range(len(a)):
        # b0 y_k = a_k - sum_{j<k} y_j b_{k-j}
        total = a[k]
        for j in range(k):
            total = _fma(total, y[j], b[k - j], -1.0)
        y.append(None if total is None else total / b0)
    return y


def power(z: Series, exponent: float) -> Series:
    """`y = z^p`, for z > 0; any z if p is a whole number (any z but 0 if it is negative).

    >>> derivatives(power([torch.tensor(0.0), torch.tensor(1.0), None], 2))
    (tensor(0.), tensor(0.), tensor(2.))
    """
    z0 = _value(z)
    f, binomial = [z0.pow(exponent)], 1.0
    for k in range(1, len(z)):
        binomial *= (exponent - k + 1) / k
        # Of a polynomial the derivatives beyond its degree vanish, also at 0.
        f.append(binomial * z0.pow(exponent - k) if binomial else torch.zeros_like(z0))
    return compose(f, z)


@Rule
def square(v: Tensor, order: int) -> list[Tensor]:
    """`y = z^2`."""
    y = [v.square(), 2 * v, torch.ones_like(v), *([torch.zeros_like(v)] * (order - 2))]
    return y[: order + 1]


@Rule
def exp(v: Tensor, order: int) -> list[Tensor]:
    """`y' = y`."""
    y = v.exp()
    return [y, *(y * (1 / math.factorial(k)) for k in range(1, order + 1))]


@Rule
def log(v: Tensor, order: int) -> list[Tensor]:
    """`v y' = 1`, for v > 0."""
    y = [v.log()]
    if order:
        slope = 1 / v
        y.append(slope)
        for k in range(2, order + 1):
            y.append(y[-1] * slope * (-(k - 1) / k))
    return y


@Rule
def sin(v: Tensor, order: int) -> list[Tensor]:
    """`y'' = -y`."""
    return _wave([v.sin(), v.cos()] if order else [v.sin()], order)


@Rule
def cos(v: Tensor, order: int) -> list[Tensor]:
    """`y'' = -y`."""
    return _wave([v.cos(), -v.sin()] if order else [v.cos()], order)


@Rule
def tanh(v: Tensor, order: int) -> list[Tensor]:
    """`y' = 1 - y^2`, to rounding of the largest slope, 1: beyond |v| = 9 it is 0 in float32.

    `4 sigmoid(2v) sigmoid(-2v)` would keep the relative accuracy of such slopes, and would make
    a training step of a network on second derivatives a third dearer.
    """
    y = [v.tanh()]
    if order:
        y.append(torch.addcmul(y[0].new_ones(()), y[0], y[0], value=-1.0))
        for k in range(1, order):
            y.append(_sum_square(y, k, -1 / (k + 1)))
    return y


@Rule
def sigmoid(v: Tensor, order: int) -> list[Tensor]:
    """`y' = y (1 - y)`."""
    s = v.sigmoid()
    # 1 - s is sigmoid(-v), which keeps its relative accuracy where s is nearly 1.
    return _logistic(s, s * (-v).sigmoid(), order) if order else [s]


@Rule
def softplus(v: Tensor, order: int) -> list[Tensor]:
    """`y' = sigmoid(v)`: no threshold beyond which higher derivatives vanish."""
    # Beyond 40 the logarithm is v to rounding in float64 too, which it is not at torch's 20.
    value = F.softplus(v, threshold=40.0)
    return [value, *_primitive(sigmoid.about(v, order - 1))] if order else [value]


@Rule
def silu(v: Tensor, order: int) -> list[Tensor]:
    """`y = v s` with the sigmoid s."""
    if order == 0:
        return [F.silu(v)]
    s = v.sigmoid()
    if order > 2:
        return _times_v(v, _logistic(s, torch.addcmul(s, s, s, value=-1.0), order))
    # The orders that matter most, in as few operations as they take.
    y = v * s
    slope = torch.lerp(y, y.new_ones(()), s)  # y + s - y s
    if order == 1:
        return [y, slope]
    bend = torch.sub(slope, y, alpha=0.5)
    return [y, slope, torch.addcmul(bend, bend, s, value=-1.0)]  # (1 - s) (slope - y / 2)


@Rule
def erf(v: Tensor, order: int) -> list[Tensor]:
    """`y' = 2 / sqrt(pi) exp(-v^2)`."""
    if order == 0:
        return [v.erf()]
    return [v.erf(), *_primitive(_bell(v, order - 1, 1.0, 2 / math.sqrt(math.pi)))]


@Rule
def gelu(v: Tensor, order: int) -> list[Tensor]:
    """`y = v Phi(v)` with the normal distribution function Phi: the exact GELU."""
    if order == 0:
        return [F.gelu(v)]
    # By erfc, not 1 + erf, whose rounding v would multiply far out on the left.
    cdf = 0.5 * torch.erfc(v * -math.sqrt(0.5))
    density = _bell(v, order - 1, 0.5, 1 / math.sqrt(2 * math.pi))
    return _times_v(v, [cdf, *_primitive(density)])


def _logistic(s: Tensor, slope: Tensor, order: int) -> list[Tensor]:
    """`s' = s (1 - s)`, hence s_2 = s' (1/2 - s), s_3 = s' (1/6 - s'), s_4 = s_2 (1/12 - s')."""
    y = [s, slope]
    if order > 1:
        y.append(slope * (0.5 - s))
    if order > 2:
        y.append(slope * (1 / 6 - slope))
    if order > 3:
        y.append(y[2] * (1 / 12 - slope))
    for k in range(4, order):
        y.append((y[k] - _sum_square(y, k)) * (1 / (k + 1)))
    return y


def _wave(y: list[Tensor], order: int) -> list[Tensor]:
    """The solution of `y'' = -y` that starts with y_0 and y_1."""
    for k in range(2, order + 1):
        y.append(y[k - 2] * (-1 / (k * (k - 1))))
    return y


def _bell(v: Tensor, order: int, rate: float, height: float) -> list[Tensor]:
    """`height exp(-rate v^2)`, which solves `y' = -2 rate v y`."""
    y = [(v.square() * -rate).exp() * height]
    for k in range(1, order + 1):
        total = v * y[-1] if k == 1 else torch.addcmul(y[-2], v, y[-1])
        y.append(total * (-2 * rate / k))
    return y


def _primitive(slope: list[Tensor]) -> list[Tensor]:
    """The coefficients from the first on of what has that slope."""
    return [c if k == 1 else c * (1 / k) for k, c in enumerate(slope, start=1)]


def _times_v(v: Tensor, f: list[Tensor]) -> list[Tensor]:
    """The coefficients of `v f(v)` from those of f."""
    return [v * f[0], *(torch.addcmul(f[k - 1], v, f[k]) for k in range(1, len(f)))]


def _sum_square(a: list[Tensor], k: int, factor: float = 1.0) -> Tensor:
    """Coefficient k of `factor a^2`."""
    return _present(_square([*a], k, factor))


def _convolve(a: Series, b: Series, k: int) -> Tensor | None:
    """Coefficient k of the product a b."""
    total: Tensor | None = None
    for j in range(k + 1):
        total = _fma(total, a[j], b[k - j])
    return total


def _square(a: Series, k: int, factor: float = 1.0) -> Tensor | None:
    """Coefficient k of `factor a^2`, each cross term taken once."""
    total: Tensor | None = None
    for j in range((k + 1) // 2):
        total = _fma(total, a[j], a[k - j], 2.0 * factor)
    return total if k % 2 else _fma(total, a[k // 2], a[k // 2], factor)


def _fma(
    total: Tensor | None, a: Tensor | None, b: Tensor | None, factor: float = 1.0
) -> Tensor | None:
    """total + factor a b, where None is zero."""
    if a is None or b is None:
        return total
    if total is None:
        product = a * b
        # A product of our own, whose result the backward pass does not need.
        return product if factor == 1.0 else product.mul_(factor)
    # Not into `total`, which costs the same within the noise: vmap has no rule for that, and a
    # coefficient that is still to be broadcast has no room for the sum.
    return torch.addcmul(total, a, b, value=factor)


def _plus(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return b if a is None else a
    return a + b


def _present(coefficient: Tensor | None) -> Tensor:
    if coefficient is None:
        raise ValueError("a coefficient that has no reason to vanish is None.")
    return coefficient


def _value(series: Sequence[Tensor | None]) -> Tensor:
    value = series[0]
    if value is None:
        raise ValueError("a Taylor series must have a value: coefficient 0 is None.")
    return value
