"""What a problem is: a declaration that knows how to begin a fit and what to show of it."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from hollowpde.errors import InputError
from hollowpde.problem.panel import Panel
from hollowpde.problem.stage import Group

Metrics = dict[str, float | int]


@dataclass(frozen=True)
class Compute:
    """Where and in which precision a fit is computed, and its seed."""

    seed: int = 0
    device: torch.device = torch.device("cpu")
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise InputError(f"seed must be a non-negative integer, but is {self.seed}.")


class Fit(ABC):
    """A problem with its data and its model, being fitted.

    `model` holds everything that is learned or measured, so that its state is the fit's state.
    """

    model: nn.Module

    @abstractmethod
    def stages(self) -> Iterator[Group]:
        """The stages in order; each is asked for when the one before has been run.

        A resumed fit asks for all of them again with the model already restored, so decisions
        between stages must be kept in the model.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """A hash of the data, by which a resumed fit knows that they are the same."""

    @abstractmethod
    def metrics(self) -> Metrics:
        """The figures of the fitted model, on held-out data."""

    @abstractmethod
    def panels(self) -> list[Panel]:
        """The pictures of the fitted model."""

    def sentences(self) -> list[str]:
        """What the user must know of the fitted model: warnings, none if all is well."""
        return []

    def headlines(self, metrics: Metrics) -> Mapping[str, str]:
        """The few figures to show first, as text."""
        return {}


@dataclass(frozen=True, kw_only=True)
class Problem(ABC):
    """A declared problem; its settings are its fields. Declaring computes nothing.

    Arguments:
        name: what the command line calls it.
    """

    # What a problem of this kind is computed in, unless asked otherwise.
    precision: ClassVar[torch.dtype] = torch.float32

    name: str

    def __post_init__(self) -> None:
        # It becomes a folder, and a word on the command line.
        if not re.fullmatch(r"\w[\w.-]*", self.name):
            raise InputError(
                f"name must be letters, digits, '_', '-' and '.', but is {self.name!r}."
            )

    @abstractmethod
    def begin(self, compute: Compute) -> Fit:
        """Load the data and make the untrained model."""

    @abstractmethod
    def restore(self, state: Mapping[str, Any]) -> object:
        """What was learned, in the user's units, from the model's saved state alone."""

    @abstractmethod
    def summary(self) -> Mapping[str, str]:
        """A few words on what is given, for `list` and `show`."""
