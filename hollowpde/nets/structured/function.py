"""A user's function or module as a field."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hollowpde.errors import InputError
from hollowpde.operators import forward, reference
from hollowpde.operators.field import Field, as_time, transformed
from hollowpde.operators.reference import FieldLike


class FromFunction(Field):
    """A vector field from `f(t, y)` in the manner of torchsde; derivatives by brute force.

    The function sees a batch as torchsde gives it, y `(n, d)`, whatever the shape of x, and one
    time for each row, `(n, 1)`, which broadcasts against y; it returns `(n, d)`. Each row must
    depend on its own time and point alone.

    Order k costs k d reverse passes, without a warning: for a formula of a few operations that is
    little. Within a transform of `torch.func` it is forward mode in d directions at once.

    Parameters are those of a module, or of the module whose method the function is; those of a
    module that a lambda merely mentions are not found, and not trained.

    Arguments:
        function: a module or function, called as `function(t, y)`.

    Raises:
        InputError: it cannot be called, or returns another shape than that of y.

    Example:
        >>> field = hp.nets.FromFunction(lambda t, y: torch.sin(t) - y**3)
        >>> hp.dimwise(field, 0.0, torch.ones(1, 2), order=2)[2].tolist()
        [[-6.0, -6.0]]
    """

    def __init__(self, function: FieldLike | nn.Module) -> None:
        super().__init__()
        if not callable(function):
            raise InputError(
                f"function must be called as f(t, y), but is a {type(function).__name__}: give "
                "an nn.Module, a function or a Field."
            )
        self.function = function
        owner = getattr(function, "__self__", None)
        if isinstance(owner, nn.Module):
            self.owner = owner

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        if order == 0:
            return (self._at(t, x),)
        if transformed():
            return forward.dimwise(self._at, t, x, order=order)
        # t from outside, not as it is passed on: it may be in float64 where x is not.
        return reference.dimwise(lambda _, y: self._at(t, y), 0.0, x, order=order)

    def in_time(
        self, t: Tensor, x: Tensor, order: int
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        def later(s: Tensor, y: Tensor) -> Tensor:
            return self._at(t + s, y)

        if transformed():
            return super().in_time(t, x, order)
        if order:
            return reference.dimwise_in_time(later, 0.0, x, order=order)
        now = as_time(0.0, x)
        both = torch.func.jvp(lambda s: later(s, x), (now,), (torch.ones_like(now),))
        return (both[0],), (both[1],)

    def extra_repr(self) -> str:
        if isinstance(self.function, nn.Module):
            return ""
        return getattr(self.function, "__qualname__", type(self.function).__name__)

    def _at(self, t: Tensor, x: Tensor) -> Tensor:
        batch, d = x.shape[:-1], x.shape[-1]
        y = x.reshape(batch.numel(), d)
        value = self.function(t.expand(batch).reshape(-1, 1), y)
        if not isinstance(value, Tensor) or value.shape != y.shape:
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise InputError(
                f"function(t, y) must return the shape {tuple(y.shape)} of y for t of shape "
                f"({len(y)}, 1), but returned {shape}: use t as it comes, and .expand_as(y) on "
                "what does not depend on y."
            )
        return value.reshape(x.shape).to(x)


def as_field(field: Field | FieldLike | nn.Module) -> Field:
    """The field itself, or a `FromFunction` of what is none.

    >>> hp.nets.as_field(lambda t, y: -y)(0.0, torch.ones(2))
    tensor([-1., -1.])
    """
    return field if isinstance(field, Field) else FromFunction(field)
