"""The coefficients of known equations: numbers, one for each dimension, or known functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import TypeAlias

import torch
from torch import Tensor

from hollowpde.errors import InputError
from hollowpde.nets.structured import as_field
from hollowpde.operators.dimwise import dimwise
from hollowpde.operators.field import Field
from hollowpde.operators.reference import FieldLike

# A known vector field: one number for each dimension, or a function.
Coefficient: TypeAlias = tuple[float, ...] | Field | FieldLike

_WRITE = "in two dimensions write (1.0, 0.5)"


def check_number(name: str, value: object, *, signed: bool = False) -> None:
    """Refuse what is no finite number, or a negative one unless it is `signed`."""
    if not _is_number(value, signed):
        raise InputError(f"{name} must be {_range(signed)}, but is {value!r}.")


def check_numbers(name: str, value: object, *, signed: bool = False) -> None:
    """Refuse what is no tuple of such numbers."""
    if not _are_numbers(value, signed):
        raise InputError(f"{name} must be {_tuple(signed)}, but is {value!r}: {_WRITE}.")


def check_coefficient(name: str, value: object, *, signed: bool = False) -> None:
    """Refuse what is neither a tuple of such numbers nor a function or field."""
    if not (callable(value) or _are_numbers(value, signed)):
        raise InputError(
            f"{name} must be {_tuple(signed)}, or a function or field, but is {value!r}: "
            f"{_WRITE}, or a lambda of (t, y)."
        )


def check_scalar(name: str, value: object, call: str) -> None:
    """Refuse what is neither a finite number nor a function."""
    if not (callable(value) or _is_number(value, signed=True)):
        raise InputError(
            f"{name} must be a finite number, or a function called as {call}, but is {value!r}."
        )


def per_dimension(name: str, value: float | tuple[float, ...], x: Tensor) -> Tensor:
    """Numbers as a tensor `(d,)` like x; one alone is that of every dimension.

    >>> per_dimension("diffusivity", 0.5, torch.zeros(4, 2))
    tensor([0.5000, 0.5000])
    """
    d = x.shape[-1]
    numbers = value if isinstance(value, tuple) else (value,) * d
    if len(numbers) != d:
        raise InputError(
            f"{name} must hold one number for each of the {d} columns of x, but holds "
            f"{len(numbers)}: {numbers}."
        )
    return torch.tensor(numbers, dtype=x.dtype, device=x.device)


def coefficient(
    name: str, value: Coefficient, t: Tensor, x: Tensor, order: int
) -> tuple[Tensor, ...]:
    """A known vector field and its dimension-wise derivatives; of numbers `(d,)` all are zero.

    >>> coefficient("drift", (1.0, 2.0), torch.zeros(4), torch.zeros(4, 2), 1)
    (tensor([1., 2.]), tensor([0., 0.]))
    """
    if isinstance(value, tuple):
        constant = per_dimension(name, value, x)
        return constant, *(torch.zeros_like(constant) for _ in range(order))
    out = dimwise(as_field(value), t, x, order=order)
    if out[0].shape != x.shape:
        raise InputError(
            f"{name} must return the shape {tuple(x.shape)} of x, but returned "
            f"{tuple(out[0].shape)}: give a vector field."
        )
    return out


def scalar(
    name: str, value: float | Callable[..., Tensor], arguments: tuple[Tensor, ...], like: Tensor
) -> Tensor | float:
    """A number, or the scalar that a function returns, in the shape of another.

    >>> scalar("source", lambda x: x.sum(-1), (torch.ones(4, 2),), torch.zeros(4))
    tensor([2., 2., 2., 2.])
    """
    if not callable(value):
        return value
    out = value(*arguments)
    # What has another shape might broadcast to one number for each pair of points.
    if not isinstance(out, Tensor) or out.shape != like.shape:
        shape = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise InputError(
            f"{name} must return one number for each point, of shape {tuple(like.shape)}, but "
            f"returned {shape}: index x[..., i] or sum over its last axis."
        )
    return out


def _is_number(value: object, signed: bool) -> bool:
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    return math.isfinite(value) and (signed or float(value) >= 0)


def _are_numbers(value: object, signed: bool) -> bool:
    return isinstance(value, tuple) and bool(value) and all(_is_number(v, signed) for v in value)


def _range(signed: bool) -> str:
    return "a finite number" if signed else "a number of at least 0"


def _tuple(signed: bool) -> str:
    return f"a tuple, with {_range(signed)} for each dimension"
