"""Scalar functions of a sum of functions of one coordinate each: `F(sum_j phi_j(x_j))`."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from hollowpde import taylor


def along_each(
    outer: Callable[[taylor.Series], taylor.Series],
    total: Tensor,
    slopes: taylor.Series,
    x: Tensor,
) -> tuple[Tensor, ...]:
    """F and its derivatives along every x_j, by a Taylor pass of F for all j at once.

    Along x_j the sum moves as phi_j alone does: its value is shared by all j, and passes through
    F once; the other coefficients are those of phi_j, and pass d times.

    Arguments:
        outer: F on series; it takes the axis of the features away.
        total: `sum_j phi_j`, with an axis of size 1 in the place of j.
        slopes: the coefficients 1..k of each phi_j along x_j.
        x: the points `(..., d)`.
    """
    value, *rest = outer([total, *slopes])
    if value is None:
        raise ValueError("F must return a value.")
    return value.squeeze(-1), *taylor.derivatives([value.expand_as(x), *rest])[1:]
