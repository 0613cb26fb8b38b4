"""Penalties along a flow, which make its equation easier to solve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from hollowpde.densities.cnf.trace import pulled_back
from hollowpde.errors import InputError
from hollowpde.operators.hutchinson import Distribution, rademacher
from hollowpde.operators.reference import FieldLike

# The rate `(...)` of a penalty, from the velocity field, t, x and the value of the velocity.
Rate: TypeAlias = Callable[[FieldLike, Tensor, Tensor, Tensor], Tensor]


class Penalty(Protocol):
    """A rate that is integrated along the flow of each sample, in units of time."""

    @property
    def weight(self) -> float:
        """Of the mean over samples, beside the negative log-likelihood."""
        ...

    def begin(self, x: Tensor, generator: torch.Generator | None) -> Rate:
        """The rate of one solve from points in the shape of x."""
        ...


@dataclass(frozen=True)
class KineticEnergy:
    r"""The kinetic energy along the flow, `int |v(t, x(t))|^2 / (2 d) dt`: paths become straight.

    Arguments:
        weight: in the loss.

    Raises:
        InputError: a negative weight.

    Source:
        Finlay et al., How to Train Your Neural ODE (RNODE, 2020); per dimension, as there.

    >>> KineticEnergy(0.01).begin(torch.zeros(5, 2), None) is not None
    True
    """

    weight: float = 0.01

    def __post_init__(self) -> None:
        _check_weight(self.weight)

    def begin(self, x: Tensor, generator: torch.Generator | None) -> Rate:
        return lambda field, t, x, value: 0.5 * value.square().mean(-1)


@dataclass(frozen=True)
class JacobianNorm:
    r"""The Jacobian along the flow, `int |dv/dx|_F^2 / d dt`: it turns and stretches little.

    The Frobenius norm is estimated without bias by `E |J^T e|^2` with one probe e, which is fixed
    within a solve. Its diagonal is exact for a hollow velocity, the rest of it is not.

    Arguments:
        weight: in the loss.
        distribution: of the probe.

    Raises:
        InputError: a negative weight.

    Source:
        Finlay et al., How to Train Your Neural ODE (RNODE, 2020).

    >>> rate = JacobianNorm(0.01).begin(torch.zeros(5, 2), None)
    >>> x = torch.ones(5, 2)
    >>> rate(lambda t, x: 3 * x, torch.tensor(0.0), x, 3 * x)
    tensor([9., 9., 9., 9., 9.])
    """

    weight: float = 0.01
    distribution: Distribution = rademacher

    def __post_init__(self) -> None:
        _check_weight(self.weight)

    def begin(self, x: Tensor, generator: torch.Generator | None) -> Rate:
        probe = self.distribution(x, generator)

        def rate(field: FieldLike, t: Tensor, x: Tensor, value: Tensor) -> Tensor:
            return pulled_back(field, t, x, [probe])[1][0].square().mean(-1)

        return rate


def _check_weight(weight: float) -> None:
    if not weight >= 0:
        raise InputError(f"weight must not be negative, but is {weight}.")
