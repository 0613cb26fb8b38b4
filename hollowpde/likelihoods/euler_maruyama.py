"""The Euler-Maruyama transition density: right for small steps, biased for large ones."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hollowpde.likelihoods.base import TransitionLikelihood
from hollowpde.likelihoods.transition import DiagonalNormal
from hollowpde.operators.field import Field


@dataclass(frozen=True)
class EulerMaruyama(TransitionLikelihood):
    r"""`x(t + h) | x ~ N(x + h f, h D)`, with drift and diffusion frozen over the step.

    Source:
        Kloeden and Platen, Numerical Solution of Stochastic Differential Equations (1992).
    """

    def transition(
        self, drift: Field, diffusion: Field, t: Tensor, x: Tensor, step: Tensor
    ) -> DiagonalNormal:
        h = step.unsqueeze(-1)
        return DiagonalNormal(x + h * drift(t, x), h * diffusion(t, x))
