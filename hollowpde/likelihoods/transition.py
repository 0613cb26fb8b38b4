"""Transition distributions: what a likelihood takes the state to be after a step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

_LOG_2PI = math.log(2 * math.pi)


class Transition(ABC):
    """The distribution of the state after a step, one for each of n states before it."""

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """The log density at x `(n, d)`; `(n,)`."""

    @abstractmethod
    def uniforms(self, x: Tensor) -> Tensor:
        r"""The Rosenblatt transform `u_i = P(X_i <= x_i | X_1 = x_1, ..., X_{i-1} = x_{i-1})`.

        Independent and uniform on [0, 1] where x follows this distribution; `(n, d)`.

        Source:
            Rosenblatt, Remarks on a multivariate transformation (1952).
        """


@dataclass(frozen=True, eq=False)
class DiagonalNormal(Transition):
    """N(mean, diag(variance)), both `(n, d)`.

    >>> DiagonalNormal(torch.zeros(1, 1), torch.ones(1, 1)).log_prob(torch.zeros(1, 1)).item()
    -0.9189...
    """

    mean: Tensor
    variance: Tensor

    def log_prob(self, x: Tensor) -> Tensor:
        z2 = (x - self.mean).square() / self.variance
        return -0.5 * (z2 + self.variance.log() + _LOG_2PI).sum(-1)

    def uniforms(self, x: Tensor) -> Tensor:
        return torch.special.ndtr((x - self.mean) / self.variance.sqrt())


class Mixture(Transition):
    """A mixture of laws each coordinate of which, given those before, maps to a normal one."""

    weight: Tensor  # (K,), positive, of sum one

    @abstractmethod
    def normal(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Standard normal coordinates, and `log |dz_i / dx_i|`, each `(K, n, d)`."""

    def log_prob(self, x: Tensor) -> Tensor:
        return torch.logsumexp(_terms(*self.normal(x)).sum(-1) + self._log_weight, dim=0)

    def uniforms(self, x: Tensor) -> Tensor:
        z, log_slope = self.normal(x)
        terms = _terms(z, log_slope)
        # What component a row belongs to, as judged by the coordinates before each one.
        before = torch.cat([torch.zeros_like(terms[..., :1]), terms[..., :-1].cumsum(-1)], dim=-1)
        posterior = torch.softmax(before + self._log_weight.unsqueeze(-1), dim=0)
        return (posterior * torch.special.ndtr(z)).sum(0).clamp(max=1)  # a sum may round above

    @property
    def _log_weight(self) -> Tensor:
        return self.weight.log().unsqueeze(-1)


def _terms(z: Tensor, log_slope: Tensor) -> Tensor:
    """The log density of each coordinate given those before it, within each component."""
    return -0.5 * (z.square() + _LOG_2PI) + log_slope


@dataclass(frozen=True, eq=False)
class NormalMixture(Mixture):
    """A mixture of normals, `sum_k weight_k N(mean_k, factor_k factor_k^T)`.

    Arguments:
        weight: `(K,)`, positive, of sum one.
        mean: `(K, n, d)`.
        factor: lower triangular, `(K, n, d, d)`.
    """

    weight: Tensor
    mean: Tensor
    factor: Tensor

    def normal(self, x: Tensor) -> tuple[Tensor, Tensor]:
        gap = x - self.mean
        scale = torch.diagonal(self.factor, dim1=-2, dim2=-1)
        if gap.shape[-1] == 1:
            return gap / scale, -scale.log()
        gap = gap.unsqueeze(-1)
        z = torch.linalg.solve_triangular(self.factor, gap, upper=False).squeeze(-1)
        return z, -scale.log()
