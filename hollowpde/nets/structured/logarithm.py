r"""Drift and squared diffusion of positive coordinates, and of their logarithms.

With `dX = f dt + g dW`, D = g^2 and `Y = log X`, Ito's formula (Kloeden and Platen, Numerical
Solution of Stochastic Differential Equations, 1992) says

$$ f_Y = \frac{f}{x} - \frac{D}{2 x^2}, \quad D_Y = \frac{D}{x^2}, \quad
   f = x \left(f_Y + \frac{D_Y}{2}\right), \quad D = x^2 D_Y $$

Derivatives along x_i compose those of the inner field along y_i with the series of the logarithm,
or of the exponential, and are exact at any order. Coordinates that are not positive by nature are
left as they are.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hollowpde import taylor
from hollowpde.nets.structured.function import as_field
from hollowpde.nets.structured.parts import check_dim, check_vector, fields_of, mask_of, present
from hollowpde.operators.field import Field
from hollowpde.operators.reference import FieldLike


class Change(NamedTuple):
    """The inner coordinate as a series along the outer one, and the inner's slope on x or 1/x."""

    to: taylor.Series
    factor: taylor.Series


def to_logarithm(x: Tensor, positive: Tensor, order: int) -> Change:
    """`y = log x` along x, and the factor x; elsewhere `y = x` and 1.

    Points at or below zero are taken as the fourth root of the smallest number of the dtype, where
    powers of x are still finite, and nothing varies.
    """
    floor = torch.finfo(x.dtype).tiny ** 0.25
    below = positive & (x <= floor)
    varies = positive & ~below
    # Ones where no logarithm is taken: a NaN that is left out would be one in the gradient.
    safe = torch.where(varies, x, torch.ones_like(x))
    value = torch.where(below, torch.full_like(x, floor), safe)
    line, zero = _dense(_along(x, order)), torch.zeros_like(x)
    slopes = taylor.log(_along(safe, order))[1:]
    to: taylor.Series = [torch.where(positive, value.log(), x)]
    for log, own in zip(slopes, line[1:], strict=True):
        to.append(torch.where(varies, present(log), torch.where(below, zero, own)))
    factor = _along(value, order)
    if order:
        factor[1] = varies.to(x)
    return Change(to, factor)


def to_exponential(y: Tensor, positive: Tensor, order: int) -> Change:
    """`x = exp y` along y, and the factor exp(-y); elsewhere `x = y` and 1."""
    safe = torch.where(positive, y, torch.zeros_like(y))
    line = _dense(_along(y, order))
    exp = taylor.exp(_along(safe, order))
    to = [torch.where(positive, present(a), b) for a, b in zip(exp, line, strict=True)]
    decay = [present(c) * (-1.0) ** k for k, c in enumerate(taylor.exp(_along(-safe, order)))]
    one = _dense([torch.ones_like(y), *([None] * order)])
    factor = [torch.where(positive, a, b) for a, b in zip(decay, one, strict=True)]
    return Change([*to], [*factor])


class _Changed(Field):
    """A field of other coordinates, which is linear in the inner fields."""

    positive: Tensor

    def __init__(
        self, fields: Sequence[Field | FieldLike | nn.Module], positive: Tensor | Sequence[bool]
    ) -> None:
        super().__init__()
        self.fields = nn.ModuleList(as_field(f) for f in fields)
        self.register_buffer("positive", mask_of("positive", positive))
        self.dim = len(self.positive)

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        change = self._checked_change(x, order)
        inner = [f.dimwise(t, _value(change.to), order) for f in fields_of(self.fields)]
        return self._outer(inner, change)

    def in_time(
        self, t: Tensor, x: Tensor, order: int
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        change = self._checked_change(x, order)
        both = [f.in_time(t, _value(change.to), order) for f in fields_of(self.fields)]
        return self._outer([b[0] for b in both], change), self._outer([b[1] for b in both], change)

    def extra_repr(self) -> str:
        return f"positive={self.positive.tolist()}"

    @abstractmethod
    def _change(self, x: Tensor, order: int) -> Change:
        """The inner coordinates at x."""

    @abstractmethod
    def _combined(self, inner: list[taylor.Series], factor: taylor.Series) -> taylor.Series:
        """The outer series from those of the inner fields along the outer coordinate."""

    def _checked_change(self, x: Tensor, order: int) -> Change:
        check_dim(x, self.dim, type(self).__name__)
        return self._change(x, order)

    def _outer(self, inner: list[tuple[Tensor, ...]], change: Change) -> tuple[Tensor, ...]:
        for parts in inner:
            check_vector(parts[0], _value(change.to), type(self).__name__)
        along = [taylor.compose(_coefficients(parts), change.to) for parts in inner]
        return taylor.derivatives(self._combined(along, change.factor))

    def _half(self, series: taylor.Series) -> taylor.Series:
        """Half of the positive coordinates' parts: Ito's correction."""
        return [
            None if c is None else torch.where(self.positive, 0.5 * c, torch.zeros_like(c))
            for c in series
        ]


class FromLogDrift(_Changed):
    """The drift of X from the drift and squared diffusion of log X: `x (f + D / 2)`.

    Where x <= 0 it is what it is at the least x > 0 that counts, 1e-77 (in float32 3e-10).

    Arguments:
        drift, diffusion: of y, which is log x where x is positive and x elsewhere.
        positive: which coordinates are, booleans `(d,)`.

    Raises:
        InputError: positive is not booleans `(d,)`, or x has another dimension.

    Example:
        >>> y_drift, y_diffusion = (lambda t, y: 0.22 + 0 * y), (lambda t, y: 0.16 + 0 * y)
        >>> hp.nets.FromLogDrift(y_drift, y_diffusion, [True])(0.0, torch.tensor([2.0]))
        tensor([0.6000])
    """

    def __init__(
        self,
        drift: Field | FieldLike | nn.Module,
        diffusion: Field | FieldLike | nn.Module,
        positive: Tensor | Sequence[bool],
    ) -> None:
        super().__init__([drift, diffusion], positive)

    def _change(self, x: Tensor, order: int) -> Change:
        return to_logarithm(x, self.positive, order)

    def _combined(self, inner: list[taylor.Series], factor: taylor.Series) -> taylor.Series:
        f, D = inner
        return taylor.multiply(factor, taylor.add(f, self._half(D)))


class ToLogDrift(_Changed):
    """The drift of log X from the drift and squared diffusion of X: `f / x - D / (2 x^2)`.

    Arguments:
        drift, diffusion: of x.
        positive: of which coordinates the logarithm is taken, booleans `(d,)`.

    Raises:
        InputError: positive is not booleans `(d,)`, or x has another dimension.

    Example:
        >>> gbm = hp.nets.ToLogDrift(lambda t, x: 0.3 * x, lambda t, x: (0.4 * x) ** 2, [True])
        >>> gbm(0.0, torch.tensor([1.7]))
        tensor([0.2200])
    """

    def __init__(
        self,
        drift: Field | FieldLike | nn.Module,
        diffusion: Field | FieldLike | nn.Module,
        positive: Tensor | Sequence[bool],
    ) -> None:
        super().__init__([drift, diffusion], positive)

    def _change(self, x: Tensor, order: int) -> Change:
        return to_exponential(x, self.positive, order)

    def _combined(self, inner: list[taylor.Series], factor: taylor.Series) -> taylor.Series:
        f, D = inner
        correction = taylor.multiply(factor, self._half(D))
        opposite: taylor.Series = [None if c is None else -c for c in correction]
        return taylor.multiply(factor, taylor.add(f, opposite))


class FromLogDiffusion(_Changed):
    """The squared diffusion of X from that of log X: `x^2 D`; zero or nearly so where x <= 0.

    Arguments:
        diffusion: of y, which is log x where x is positive and x elsewhere.
        positive: which coordinates are, booleans `(d,)`.

    Raises:
        InputError: positive is not booleans `(d,)`, or x has another dimension.

    Example:
        >>> D = hp.nets.FromLogDiffusion(lambda t, y: 0.16 + 0 * y, [True])
        >>> D(0.0, torch.tensor([2.0]))
        tensor([0.6400])
    """

    def __init__(
        self, diffusion: Field | FieldLike | nn.Module, positive: Tensor | Sequence[bool]
    ) -> None:
        super().__init__([diffusion], positive)

    def _change(self, x: Tensor, order: int) -> Change:
        return to_logarithm(x, self.positive, order)

    def _combined(self, inner: list[taylor.Series], factor: taylor.Series) -> taylor.Series:
        return taylor.multiply(factor, taylor.multiply(factor, inner[0]))


class ToLogDiffusion(_Changed):
    """The squared diffusion of log X from that of X: `D / x^2`.

    Arguments:
        diffusion: of x.
        positive: of which coordinates the logarithm is taken, booleans `(d,)`.

    Raises:
        InputError: positive is not booleans `(d,)`, or x has another dimension.

    Example:
        >>> D = hp.nets.ToLogDiffusion(lambda t, x: (0.4 * x) ** 2, [True])
        >>> D(0.0, torch.tensor([1.7]))
        tensor([0.1600])
    """

    def __init__(
        self, diffusion: Field | FieldLike | nn.Module, positive: Tensor | Sequence[bool]
    ) -> None:
        super().__init__([diffusion], positive)

    def _change(self, x: Tensor, order: int) -> Change:
        return to_exponential(x, self.positive, order)

    def _combined(self, inner: list[taylor.Series], factor: taylor.Series) -> taylor.Series:
        return taylor.multiply(factor, taylor.multiply(factor, inner[0]))


def _along(value: Tensor, order: int) -> taylor.Series:
    """The series of a coordinate along itself."""
    line: taylor.Series = [value, torch.ones_like(value), *([None] * (order - 1))]
    return line[: order + 1]


def _dense(series: taylor.Series) -> list[Tensor]:
    zero = torch.zeros_like(_value(series))
    return [zero if c is None else c for c in series]


def _coefficients(parts: tuple[Tensor, ...]) -> list[Tensor]:
    return [present(c) for c in taylor.coefficients(parts)]


def _value(series: taylor.Series) -> Tensor:
    return present(series[0])
