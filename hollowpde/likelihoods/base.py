"""What a transition likelihood is: log p(x(t + h) | x(t)) of an SDE with diagonal noise."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from hollowpde.operators.field import Field


class TransitionLikelihood(ABC):
    """An approximation of the transition density of dX = f dt + g dW, D = g^2, over a step h."""

    @abstractmethod
    def log_prob(
        self, drift: Field, diffusion: Field, t: Tensor, x: Tensor, step: Tensor, x_next: Tensor
    ) -> Tensor:
        """log p(x_next, t + step | x, t), `(n,)`; t, step `(n,)`; x, x_next `(n, d)`."""


def normal_log_prob(x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """log N(x; mean, diag(variance)), summed over the last axis.

    >>> normal_log_prob(torch.zeros(1), torch.zeros(1), torch.ones(1)).item()
    -0.9189...
    """
    z2 = (x - mean).square() / variance
    return -0.5 * (z2 + variance.log() + math.log(2 * math.pi)).sum(-1)


def phi1(z: Tensor) -> Tensor:
    """(e^z - 1) / z, and 1 at z = 0, with a finite gradient there."""
    safe = torch.where(_small(z), torch.ones_like(z), z)
    return torch.where(_small(z), _series(z, 1), torch.expm1(safe) / safe)


def phi2(z: Tensor) -> Tensor:
    """(e^z - 1 - z) / z^2, and 1/2 at z = 0, with a finite gradient there."""
    safe = torch.where(_small(z), torch.ones_like(z), z)
    return torch.where(_small(z), _series(z, 2), (torch.expm1(safe) - safe) / safe.square())


def _small(z: Tensor) -> Tensor:
    return z.abs() < 0.5


def _series(z: Tensor, k: int) -> Tensor:
    """`sum_n z^n / (n + k)!` where z is small: exact to rounding, and so are its derivatives."""
    near = torch.where(_small(z), z, torch.zeros_like(z))  # powers of the others may overflow
    series = torch.zeros_like(z)
    for n in range(k + 14, k - 1, -1):
        series = series * near + 1 / math.factorial(n)
    return series
