"""What a transition likelihood is: log p(x(t + h) | x(t)) of an SDE with diagonal noise."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from hollowpde.likelihoods.transition import Transition
from hollowpde.operators.field import Field


class TransitionLikelihood(ABC):
    """An approximation of the transition density of dX = f dt + g dW, D = g^2, over a step h."""

    @abstractmethod
    def transition(
        self, drift: Field, diffusion: Field, t: Tensor, x: Tensor, step: Tensor
    ) -> Transition:
        """The distribution of X(t + step) given X(t) = x; t, step `(n,)`; x `(n, d)`."""

    def log_prob(
        self, drift: Field, diffusion: Field, t: Tensor, x: Tensor, step: Tensor, x_next: Tensor
    ) -> Tensor:
        """log p(x_next, t + step | x, t), `(n,)`; t, step `(n,)`; x, x_next `(n, d)`."""
        return self.transition(drift, diffusion, t, x, step).log_prob(x_next)
