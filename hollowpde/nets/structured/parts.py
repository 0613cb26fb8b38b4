"""What the structured fields share: lists, masks of dimensions, checks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from hollowpde.errors import InputError
from hollowpde.operators.field import Field


def fields_of(modules: nn.ModuleList) -> Iterable[Field]:
    """The modules of a list that holds fields alone, as what they are."""
    return cast(Iterable[Field], modules)


def mask_of(name: str, given: Tensor | Sequence[bool]) -> Tensor:
    """One boolean for each dimension, `(d,)`, as a tensor of its own."""
    mask = torch.as_tensor(given)
    if mask.dtype != torch.bool or mask.ndim != 1 or not len(mask):
        raise InputError(
            f"{name} must hold one boolean for each dimension, such as [True, False], but is of "
            f"shape {tuple(mask.shape)} and {mask.dtype}."
        )
    return mask.clone()


def check_dim(x: Tensor, dim: int, name: str) -> None:
    """Refuse points of another dimension than that of a field."""
    if x.shape[-1] != dim:
        raise InputError(
            f"x must have {dim} columns, the dimension of this {name}, but has shape "
            f"{tuple(x.shape)}."
        )


def check_vector(value: Tensor, x: Tensor, name: str) -> None:
    """Refuse scalar fields where one value for each dimension is needed."""
    if value.shape != x.shape:
        raise InputError(
            f"{name} takes vector fields, whose value has the shape {tuple(x.shape)} of x, but "
            f"was given one with a value of shape {tuple(value.shape)}."
        )


def present(coefficient: Tensor | None) -> Tensor:
    """A coefficient of a series that has no reason to be None."""
    if coefficient is None:
        raise ValueError("a coefficient that has no reason to vanish is None.")
    return coefficient
