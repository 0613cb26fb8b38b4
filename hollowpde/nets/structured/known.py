"""A function of time and place, or a user's own module, as a field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hollowpde.errors import InputError
from hollowpde.operators import forward, reference
from hollowpde.operators.field import Field, transformed


class KnownFunction(Field):
    """A field from a formula or module `u(t, x)`, by brute force and without a warning.

    By reverse mode, d passes for each order, or within a transform of `torch.func` by forward
    mode. The parameters of a module are those of the field.

    Arguments:
        function: called as `function(t, x)` with t `(...)` and x `(..., d)`; returns `(...)`, or
            `(..., d)` for a vector field.

    Raises:
        InputError: it cannot be called, or returns another shape.

    Example:
        >>> wave = hp.nets.KnownFunction(lambda t, x: torch.sin(x).sum(-1))
        >>> hp.laplacian(wave, 0.0, torch.zeros(4, 3))
        tensor([0., 0., 0., 0.])
    """

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        if not callable(function):
            raise InputError(
                f"function must be called as u(t, x), but is a {type(function).__name__}."
            )
        self.function = function
        self._memo: tuple[_At, tuple[Tensor, ...]] | None = None

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        if order == 0:
            return (self._at(t, x),)
        if transformed():
            return forward.dimwise(self._at, t, x, order=order)
        if x.requires_grad or t.requires_grad or self.state_dict():
            return reference.dimwise(self._at, t, x, order=order)
        # Numbers, to whoever differentiates what is made of them: the same at the same points.
        key = _At(t, x, t._version, x._version, order)
        if self._memo is None or not self._memo[0].same(key):
            with torch.no_grad():
                self._memo = key, reference.dimwise(self._at, t, x, order=order)
        return self._memo[1]

    def _at(self, t: Tensor, x: Tensor) -> Tensor:
        value = self.function(t, x)
        if not isinstance(value, Tensor) or value.shape not in (x.shape[:-1], x.shape):
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise InputError(
                f"a function of (t, x) must return the shape {tuple(x.shape[:-1])} (a scalar) or "
                f"{tuple(x.shape)} (a vector) for x of shape {tuple(x.shape)}, but returned "
                f"{shape}: reduce over the last axis of x, as in x.square().sum(-1) or x[..., 0]."
            )
        return value


@dataclass(frozen=True, eq=False)
class _At:
    """The points that a memory is of: the same tensors, unchanged since."""

    t: Tensor
    x: Tensor
    t_version: int
    x_version: int
    order: int

    def same(self, other: _At) -> bool:
        versions = (self.t_version, self.x_version, self.order)
        return (
            self.t is other.t
            and self.x is other.x
            and versions == (other.t_version, other.x_version, other.order)
        )
