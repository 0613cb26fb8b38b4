"""What the contract checks share: independent copies, points, comparisons."""

from __future__ import annotations

from copy import deepcopy
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from hollowpde.errors import InputError
from hollowpde.nets.hollow import Given, HollowNet
from hollowpde.operators.field import Field

F = TypeVar("F", bound=Field)


def independent(field: F, dtype: torch.dtype = torch.float64) -> F:
    """A deep copy on the CPU, as for evaluation."""
    return deepcopy(field).to("cpu", dtype).eval()


def redrawn(field: F, seed: int = 0, dtype: torch.dtype = torch.float64) -> F:
    """An independent copy of a field with every parameter drawn anew, of moderate size.

    >>> from hollowpde.testing import redrawn
    >>> net = hp.HollowNet(2)
    >>> bool((net.transformer.slope == 0).all()), bool((redrawn(net).transformer.slope == 0).any())
    (True, False)
    """
    copy = independent(field, dtype)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in copy.parameters():
            draw = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            # As wide as keeps the sum over a row of a weight matrix of order one.
            parameter.copy_(draw * (draw.shape[-1] ** -0.5 if draw.ndim > 1 else 0.5))
    return copy


def bound(field: Field, seed: int = 0) -> Field:
    """The field itself, or a network that needs a context with a random one bound to it."""
    if isinstance(field, HollowNet) and field.context:
        return field.given(random_context(field, seed, next(field.parameters()).dtype))
    return field


def random_context(net: HollowNet, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(net.context, generator=generator, dtype=torch.float64).to(dtype)


def hollow_nets(field: Field) -> list[tuple[HollowNet, Tensor | None]]:
    """The hollow networks inside a field, each with the context that is bound to it."""
    contexts = {id(m.net): m.context for m in field.modules() if isinstance(m, Given)}
    return [(m, contexts.get(id(m))) for m in field.modules() if isinstance(m, HollowNet)]


def dimension(field: Field, dim: int | None) -> int:
    """d, as given or as some part of the field says."""
    if dim is not None:
        return dim
    for module in field.modules():
        if isinstance(d := getattr(module, "dim", None), int):
            return d
    raise InputError(f"{type(field).__name__} has no attribute dim: pass dim=...")


def points(
    dim: int, batch: tuple[int, ...], seed: int, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """Times in [0, 1] of a batch shape, and points of order one."""
    generator = torch.Generator().manual_seed(seed)
    t = torch.rand(batch, generator=generator, dtype=torch.float64)
    x = torch.randn(*batch, dim, generator=generator, dtype=torch.float64)
    return t.to(dtype), (1.5 * x).to(dtype)


def agree(what: str, got: Tensor, expected: Tensor, rtol: float = 1e-7) -> None:
    """Equal up to `rtol` of one and the largest value expected; a NaN agrees with nothing."""
    shape = tuple(expected.shape)
    if got.shape != shape:
        raise AssertionError(f"{what} has the shape {tuple(got.shape)}, but should have {shape}.")
    if not expected.numel():
        return
    got, expected = got.detach().flatten(), expected.detach().flatten()
    error = (got - expected).abs().nan_to_num(torch.inf)
    worst = int(error.argmax())
    # What is far below one may be the sum of terms that are not.
    if not error[worst] <= rtol * (1 + float(expected.abs().max())):
        index = tuple(map(int, np.unravel_index(worst, shape)))
        raise AssertionError(
            f"{what} is {float(got[worst]):.10g} at index {index}, but should be "
            f"{float(expected[worst]):.10g}: off by {float(error[worst]):.3g}."
        )
