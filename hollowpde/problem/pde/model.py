"""The model of a PDE problem: its fields, its unknown coefficients, and what training keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from hollowpde.operators.field import Field
from hollowpde.operators.jets import Jet
from hollowpde.problem.pde.unknowns import UnknownNumber


class Solution(nn.Module):
    """The fields by name, the unknown numbers, and the unknown fields: all that is learned."""

    def __init__(
        self,
        fields: Mapping[str, Field],
        numbers: Mapping[str, UnknownNumber],
        coefficients: Mapping[str, Field],
    ) -> None:
        super().__init__()
        self.fields = nn.ModuleDict(dict(fields))
        self.numbers = nn.ModuleDict(dict(numbers))
        self.coefficients = nn.ModuleDict(dict(coefficients))

    def field(self, name: str) -> Field:
        return cast(Field, self.fields[name])

    @property
    def all_fields(self) -> list[Field]:
        """Those of the solution, then the coefficients: in the order of an equation's jets."""
        return [cast(Field, f) for f in (*self.fields.values(), *self.coefficients.values())]

    def arguments(self, jets: Sequence[Jet]) -> tuple[Sequence[Jet], dict[str, Tensor | Jet]]:
        """What an equation takes by position, and by keyword."""
        own = len(self.fields)
        named: dict[str, Tensor | Jet] = {k: number() for k, number in self.numbers.items()}
        return jets[:own], named | dict(zip(self.coefficients, jets[own:], strict=True))


class PDEModel(nn.Module):
    """A solution, and what a resumed fit must know beside it.

    Arguments:
        solution: what is learned.
        terms: names of the terms of the loss.
        points: for each group of points, how many, and the widths of the tensors that belong to
            each point (None: one number).
    """

    weights: Tensor
    balanced: Tensor

    def __init__(
        self,
        solution: Solution,
        terms: int,
        points: Mapping[str, tuple[int, Sequence[int | None]]],
    ) -> None:
        super().__init__()
        self.solution = solution
        self.register_buffer("weights", torch.ones(terms, dtype=torch.float64))
        # How many stages have had the terms balanced.
        self.register_buffer("balanced", torch.zeros((), dtype=torch.int64))
        self.points = nn.ModuleDict({name: Pool(*shape) for name, shape in points.items()})

    def batch(self) -> dict[str, tuple[Tensor, ...]]:
        """The points in use, by group."""
        return {name: cast(Pool, pool).tensors for name, pool in self.points.items()}

    def keep(self, batch: Mapping[str, Sequence[Tensor]]) -> None:
        """Use these points from now on."""
        for name, tensors in batch.items():
            cast(Pool, self.points[name]).keep(tensors)


class Pool(nn.Module):
    """The points of one group, as buffers."""

    def __init__(self, n: int, widths: Sequence[int | None]) -> None:
        super().__init__()
        for k, width in enumerate(widths):
            shape = (n,) if width is None else (n, width)
            self.register_buffer(f"part{k}", torch.zeros(shape, dtype=torch.float64))

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return tuple(self.buffers())

    def keep(self, tensors: Sequence[Tensor]) -> None:
        for mine, given in zip(self.buffers(), tensors, strict=True):
            mine.copy_(given)
