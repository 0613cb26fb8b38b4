"""The density of positive coordinates from that of their logarithms."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hollowpde import taylor
from hollowpde.densities.base import Density
from hollowpde.nets.structured.logarithm import to_logarithm
from hollowpde.nets.structured.parts import check_dim, mask_of, present


class FromLogDensity(Density):
    r"""The density of X from that of Y, where `y = log x` for positive coordinates.

    $$ \log p_X(t, x) = \log p_Y(t, \log x) - \sum_{i\ positive} \log x_i $$

    It is -inf where a positive coordinate is not above zero, with derivatives of zero along it.

    Arguments:
        density: of y, which is log x where x is positive and x elsewhere.
        positive: which coordinates are, booleans `(d,)`.

    Raises:
        InputError: positive is not booleans `(d,)`, or x has another dimension.

    Example:
        >>> from hollowpde.densities import FromLogDensity
        >>> density = FromLogDensity(hp.GaussianMixture(dim=1, components=2), [True])
        >>> density.log_prob(0.0, torch.tensor([[1.0], [-1.0]])).isfinite()
        tensor([ True, False])
    """

    positive: Tensor

    def __init__(self, density: Density, positive: Tensor | Sequence[bool]) -> None:
        super().__init__()
        self.density = density
        self.register_buffer("positive", mask_of("positive", positive))
        self.dim = len(self.positive)

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        to = self._logarithm(x, order)
        inner = self.density.dimwise(t, present(to[0]), order)
        return self._less_logarithms(_along(inner, to, x), to, x)

    def in_time(
        self, t: Tensor, x: Tensor, order: int
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        to = self._logarithm(x, order)
        values, slopes = self.density.in_time(t, present(to[0]), order)
        return self._less_logarithms(_along(values, to, x), to, x), _along(slopes, to, x)

    def sample(
        self, t: Tensor | float, n: int, generator: torch.Generator | None = None
    ) -> Tensor:
        y = self.density.sample(t, n, generator)
        return torch.where(self.positive, y.exp(), y)

    def extra_repr(self) -> str:
        return f"positive={self.positive.tolist()}"

    def _logarithm(self, x: Tensor, order: int) -> taylor.Series:
        check_dim(x, self.dim, "FromLogDensity")
        return to_logarithm(x, self.positive, order).to

    def _less_logarithms(
        self, parts: tuple[Tensor, ...], to: taylor.Series, x: Tensor
    ) -> tuple[Tensor, ...]:
        zero = torch.zeros_like(x)
        value, *slopes = (torch.where(self.positive, y, zero) for y in taylor.derivatives(to))
        outside = (self.positive & (x <= 0)).any(-1)
        total = parts[0] - value.sum(-1)
        total = torch.where(outside, torch.full_like(total, -torch.inf), total)
        return total, *(a - b for a, b in zip(parts[1:], slopes, strict=True))


def _along(parts: tuple[Tensor, ...], to: taylor.Series, x: Tensor) -> tuple[Tensor, ...]:
    """The scalar parts `(...)`, `(..., d)`, ... of y as those of x."""
    value, *rest = parts
    if not rest:
        return (value,)
    series = taylor.coefficients((value.unsqueeze(-1).expand_as(x), *rest))
    _, *slopes = taylor.derivatives(taylor.compose([present(c) for c in series], to))
    return value, *slopes
