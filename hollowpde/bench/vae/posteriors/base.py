"""What a posterior is: a way to draw codes of images, and to say how likely they were drawn."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Draw(NamedTuple):
    """Codes, and the density that they were drawn from."""

    z: Tensor  # (..., n, d)
    log_q: Tensor  # (..., n)
    evaluations: int = 0  # of a velocity, in the solve that this took


class Posterior(nn.Module, ABC):
    r"""q(z | x): a Gaussian of the encoder's, carried on by steps that are its own.

    $$ z_0 = \mu(x) + \sigma(x) \epsilon, \quad z = f(z_0; x), \quad
       \log q(z | x) = \log N(z_0; \mu, \sigma^2) - \log |\det \partial f / \partial z_0| $$

    mu and log sigma are linear in the features that the encoder makes of x, in every posterior.

    Arguments:
        features: of the encoder.
        dim: d, of a code.
    """

    def __init__(self, features: int, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.mean = nn.Linear(features, dim)
        self.log_scale = nn.Linear(features, dim)
        # It begins between the prior and a point.
        nn.init.zeros_(self.log_scale.weight)
        nn.init.constant_(self.log_scale.bias, -1.0)

    def forward(
        self, features: Tensor, noise: Tensor, generator: torch.Generator | None = None
    ) -> Draw:
        """One draw for each standard normal noise.

        Arguments:
            features: of n images, `(n, features)`.
            noise: epsilon, `(..., n, d)`.
            generator: of what else is random in training.
        """
        log_scale = self.log_scale(features)
        z = self.mean(features) + log_scale.exp() * noise
        log_q = -0.5 * noise.square().sum(-1) - log_scale.sum(-1)
        log_q = log_q - 0.5 * self.dim * math.log(2 * math.pi)
        moved, log_det, evaluations = self.carry(features, z, generator)
        return Draw(moved, log_q - log_det, evaluations)

    @abstractmethod
    def carry(
        self, features: Tensor, z: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, int]:
        """f(z), `(..., n, d)`, the logarithm of its volume factor, `(..., n)`, and evaluations."""
