"""Unknown coefficients of an equation: numbers, or fields."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hollowpde.errors import InputError
from hollowpde.nets import Autonomous, Positive
from hollowpde.nets.structured.specs import Spec
from hollowpde.operators.field import Field


@dataclass(frozen=True)
class Unknown:
    """An unknown number in an equation, to be found from data.

    The expression of the equation takes it by keyword, under the name that it has in `unknowns`.

    Arguments:
        start: where the search begins.
        positive: whether it is searched for among positive numbers, by its logarithm.
        truth: the true value, to compare with only.

    Raises:
        InputError: a start that is not positive, or not finite.

    >>> Unknown(0.5).build()()
    tensor(0.5000, grad_fn=<ExpBackward0>)
    """

    start: float = 1.0
    positive: bool = True
    truth: float | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.start) or (self.positive and not self.start > 0):
            kind = "positive" if self.positive else "finite"
            raise InputError(f"start of an Unknown must be {kind}, but is {self.start}.")

    def build(self) -> UnknownNumber:
        return UnknownNumber(self.start, self.positive)


class UnknownNumber(nn.Module):
    """A number that is learned; where it must be positive, its logarithm is."""

    def __init__(self, start: float, positive: bool) -> None:
        super().__init__()
        self.positive = positive
        self.raw = nn.Parameter(torch.tensor(math.log(start) if positive else start))

    def forward(self) -> Tensor:
        return self.raw.exp() if self.positive else self.raw


@dataclass(frozen=True)
class UnknownField:
    """An unknown coefficient that varies from place to place, to be found from data.

    The expression takes it by keyword as a `Jet`: `kappa.value`, `kappa.gradient`.

    Arguments:
        network: a scalar network, such as `hp.Ridge()`, in the scaled coordinates of the domain.
        positive: whether it is positive, through a softplus.
        steady: whether it does not depend on time.
        truth: the true coefficient `truth(t, x)`, to compare with only.
    """

    network: Spec
    positive: bool = True
    steady: bool = True
    truth: Callable[[Tensor, Tensor], Tensor] | None = None

    def build(self, dim: int) -> Field:
        net = self.network.build(dim)
        if self.steady:
            net = Autonomous(net)
        return Positive(net) if self.positive else net
