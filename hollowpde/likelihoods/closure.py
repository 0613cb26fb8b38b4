"""Closures: likelihoods that carry a distribution, of a few moments, through the step."""

from __future__ import annotations

from abc import abstractmethod
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from hollowpde.likelihoods.base import TransitionLikelihood
from hollowpde.likelihoods.transition import Mixture
from hollowpde.operators.field import Field


class Law(Protocol):
    """A distribution of the state, one for each entry of a batch `(...)`."""

    def at(self, z: Tensor) -> Tensor:
        """The states that standard normal values `(K, d)` stand for, `(K, ..., d)`."""

    def mixture(self, weight: Tensor) -> Mixture:
        """The transition with these laws, of batch `(K, n)`, as its components."""


L = TypeVar("L", bound=Law)


class Closure(TransitionLikelihood, Generic[L]):
    """A likelihood that carries a law of few moments from one time to another."""

    @abstractmethod
    def known(self, x: Tensor) -> L:
        """The law of states `(..., d)` that are known exactly."""

    @abstractmethod
    def carry(self, drift: Field, diffusion: Field, t: Tensor, law: L, step: Tensor) -> L:
        """The law after a step, from that before it; t and step `(...)`."""

    def transition(
        self, drift: Field, diffusion: Field, t: Tensor, x: Tensor, step: Tensor
    ) -> Mixture:
        start = self.known(x.unsqueeze(0))
        return self.carry(drift, diffusion, t.unsqueeze(0), start, step.unsqueeze(0)).mixture(
            torch.ones(1, dtype=x.dtype, device=x.device)
        )
