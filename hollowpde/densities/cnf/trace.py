"""Traces: how the divergence of a velocity is found along a flow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from hollowpde.errors import InputError
from hollowpde.operators import reference
from hollowpde.operators.dimwise import dimwise
from hollowpde.operators.field import as_time
from hollowpde.operators.hutchinson import Distribution, rademacher
from hollowpde.operators.reference import FieldLike

# The value `(..., d)` and the divergence `(...)` of a velocity at (t, x).
Estimate: TypeAlias = Callable[[FieldLike, Tensor, Tensor], tuple[Tensor, Tensor]]


class Trace(Protocol):
    """How a divergence is found: one estimate for each solve, the same from its start to its end.

    A trace holds no parameters: a flow that was trained with one is evaluated with any other.
    """

    def begin(self, x: Tensor, generator: torch.Generator | None) -> Estimate:
        """The estimate of one solve from points in the shape of x."""
        ...


@dataclass(frozen=True)
class ExactTrace:
    """The divergence by the dimension-wise derivatives of a field: exact, for about two passes.

    Of a hollow velocity, or any other `Field`; a module without structure is differentiated by
    brute force, with a warning.

    >>> value, divergence = ExactTrace().begin(torch.zeros(5, 2), None)(
    ...     hp.HollowNet(2), torch.tensor(0.0), torch.zeros(5, 2))
    >>> divergence.shape
    torch.Size([5])
    """

    def begin(self, x: Tensor, generator: torch.Generator | None) -> Estimate:
        return _exact


@dataclass(frozen=True)
class BruteForceTrace:
    """The divergence by d reverse passes of any velocity: the reference, for small d.

    >>> estimate = BruteForceTrace().begin(torch.zeros(5, 2), None)
    >>> estimate(lambda t, x: 3 * x, torch.tensor(0.0), torch.zeros(5, 2))[1]
    tensor([6., 6., 6., 6., 6.])
    """

    def begin(self, x: Tensor, generator: torch.Generator | None) -> Estimate:
        return _brute_force


@dataclass(frozen=True)
class HutchinsonTrace:
    r"""An unbiased estimate of the divergence by random probes, for any velocity.

    $$ \frac1n \sum_v v^\top \frac{\partial f}{\partial x} v $$

    The probes of every point are drawn once for each solve: drawn anew at every evaluation, they
    would make the equation rough, and no step would be small enough.

    Arguments:
        probes: n, each a reverse pass.
        distribution: `hp.hutchinson.rademacher`, `hp.hutchinson.gaussian`, or any function
            `(x, generator) -> v` with `E[v v^T] = I`.

    Raises:
        InputError: probes below 1.

    Source:
        Grathwohl et al., FFJORD (2019).

    Example:
        >>> trace = HutchinsonTrace(probes=2, distribution=hp.hutchinson.gaussian)
        >>> estimate = trace.begin(torch.zeros(5, 2), torch.Generator().manual_seed(0))
        >>> estimate(lambda t, x: 3 * x, torch.tensor(0.0), torch.ones(5, 2))[0].shape
        torch.Size([5, 2])
    """

    probes: int = 1
    distribution: Distribution = rademacher

    def __post_init__(self) -> None:
        if isinstance(self.probes, bool) or self.probes < 1:
            raise InputError(f"probes must be at least 1, but is {self.probes!r}.")

    def begin(self, x: Tensor, generator: torch.Generator | None) -> Estimate:
        noise = [self.distribution(x, generator) for _ in range(self.probes)]

        def estimate(field: FieldLike, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
            value, pulled = pulled_back(field, t, x, noise)
            each = [(v * p).sum(-1) for v, p in zip(noise, pulled, strict=True)]
            return value, torch.stack(each).mean(0)

        return estimate


def pulled_back(
    field: FieldLike, t: Tensor, x: Tensor, probes: list[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """The value, and `J^T v` for each probe v; differentiable where gradients are recorded."""
    record = torch.is_grad_enabled()
    with torch.enable_grad():
        # A view, so that what x owes to other tensors is no derivative here.
        leaf = x.view_as(x) if record and x.requires_grad else x.detach().requires_grad_()
        value = field(as_time(t, x), leaf)
        if not value.requires_grad:  # constant in x
            return value, [torch.zeros_like(x) for _ in probes]
        pulled = [
            torch.autograd.grad(
                value, leaf, v, create_graph=record, retain_graph=True, materialize_grads=True
            )[0]
            for v in probes
        ]
    return (value if record else value.detach()), pulled


def _exact(field: FieldLike, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    value, slope = dimwise(field, t, x, order=1)
    return value, slope.sum(-1)


def _brute_force(field: FieldLike, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    value, slope = reference.dimwise(field, t, x, order=1)
    return value, slope.sum(-1)
