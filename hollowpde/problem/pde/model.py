"""The model of a PDE problem: its fields, its unknown coefficients, and what training keeps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from hollowpde.operators.field import Field
from hollowpde.operators.jets import Jet
from hollowpde.problem.pde.conditions import Batch
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
        # Names stay out of torch, which has names of its own.
        self._names = [*fields], [*numbers], [*coefficients]
        self._fields = nn.ModuleList(fields.values())
        self._numbers = nn.ModuleList(numbers.values())
        self._coefficients = nn.ModuleList(coefficients.values())

    @property
    def fields(self) -> dict[str, Field]:
        return dict(zip(self._names[0], cast("Iterable[Field]", self._fields), strict=True))

    @property
    def numbers(self) -> dict[str, UnknownNumber]:
        modules = cast("Iterable[UnknownNumber]", self._numbers)
        return dict(zip(self._names[1], modules, strict=True))

    @property
    def coefficients(self) -> dict[str, Field]:
        modules = cast("Iterable[Field]", self._coefficients)
        return dict(zip(self._names[2], modules, strict=True))

    @property
    def all_fields(self) -> list[Field]:
        """Those of the solution, then the coefficients: in the order of an equation's jets."""
        return [*self.fields.values(), *self.coefficients.values()]

    def arguments(self, jets: Sequence[Jet]) -> tuple[Sequence[Jet], dict[str, Tensor | Jet]]:
        """What an equation takes by position, and by keyword."""
        own = len(self._fields)
        named: dict[str, Tensor | Jet] = {k: number() for k, number in self.numbers.items()}
        return jets[:own], named | dict(zip(self._names[2], jets[own:], strict=True))


class PDEModel(nn.Module):
    """A solution, and what a resumed fit must know beside it.

    Arguments:
        solution: what is learned.
        terms: how many terms the loss has.
        batch: points of each group; those in use later are as many, and of these shapes.
    """

    weights: Tensor
    balanced: Tensor

    def __init__(self, solution: Solution, terms: int, batch: Sequence[Batch]) -> None:
        super().__init__()
        self.solution = solution
        self.register_buffer("weights", torch.ones(terms, dtype=torch.float64))
        # How many stages have had the terms balanced.
        self.register_buffer("balanced", torch.zeros((), dtype=torch.int64))
        self._pools = nn.ModuleList(nn.Module() for _ in batch)
        for pool, points in zip(self._pools, batch, strict=True):
            for k, part in enumerate(points):
                pool.register_buffer(f"part{k}", part.clone())

    @property
    def batch(self) -> list[Batch]:
        """The points in use, of each group."""
        return [tuple(pool.buffers()) for pool in self._pools]

    def keep(self, batch: Sequence[Batch]) -> None:
        """Use these points from now on."""
        for mine, given in zip(self.batch, batch, strict=True):
            for part, new in zip(mine, given, strict=True):
                part.copy_(new)
