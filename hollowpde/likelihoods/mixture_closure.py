"""Mixture closure: a transition that need not be Gaussian, by one Chapman-Kolmogorov split."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import prod

import numpy as np
import torch
from torch import Tensor

from hollowpde.errors import InputError, UnsupportedError
from hollowpde.likelihoods.base import TransitionLikelihood
from hollowpde.likelihoods.moment_closure import Gaussian, MomentClosure
from hollowpde.likelihoods.transition import NormalMixture
from hollowpde.operators.field import Field

# Components beyond which a quadrature in all dimensions is no longer sensible.
_MOST_COMPONENTS = 1000


@dataclass(frozen=True)
class MixtureClosure(TransitionLikelihood):
    r"""A mixture of Gaussians, from the states that the process may have passed on its way.

    The step is split at `share` of its length. Up to there a Gaussian moment closure holds; from
    each of its Gauss-Hermite nodes z_k a closure of its own carries on:

    $$ p(x_{t+h} \mid x_t) = \int p(x_{t+h} \mid z) \, N(z; m, P) \, dz
       \approx \sum_k w_k \, N(x_{t+h}; m(z_k), P(z_k)) $$

    Skewed transitions and those with two modes come out right where one Gaussian cannot hold
    them. There are `nodes`^d components, each as dear as a moment closure: for d up to 3.

    Arguments:
        nodes: of the quadrature, in each dimension.
        share: of the step at which it is split.
        closure: of the two parts.

    Raises:
        UnsupportedError: there would be more than 1000 components.

    Source:
        The Chapman-Kolmogorov equation, closed as in Sarkka and Solin, Applied Stochastic
        Differential Equations (2019), chapter 9.
    """

    nodes: int = 5
    share: float = 0.5
    closure: MomentClosure = MomentClosure(nodes=1)

    def __post_init__(self) -> None:
        if self.nodes < 2:
            raise InputError(f"nodes must be at least 2, but is {self.nodes}.")
        if not 0 < self.share < 1:
            raise InputError(f"share must lie between 0 and 1, but is {self.share}.")

    def transition(
        self, drift: Field, diffusion: Field, t: Tensor, x: Tensor, step: Tensor
    ) -> NormalMixture:
        d = x.shape[-1]
        if self.nodes**d > _MOST_COMPONENTS:
            raise UnsupportedError(
                f"a mixture closure of {self.nodes} nodes in each of {d} dimensions has "
                f"{self.nodes**d} components: use MomentClosure, or fewer nodes."
            )
        first = self.share * step
        half_way = self.closure.carry(drift, diffusion, t, Gaussian(x, None), first)
        assert half_way.factor is not None
        nodes, weights = _gauss_hermite(self.nodes, d)
        z = torch.as_tensor(nodes, dtype=x.dtype, device=x.device)  # (K, d)
        starts = half_way.mean + torch.einsum("...ij,kj->k...i", half_way.factor, z)
        times = (t + first).expand(starts.shape[:-1])
        rest = (step - first).expand(starts.shape[:-1])
        after = self.closure.carry(drift, diffusion, times, Gaussian(starts, None), rest)
        assert after.factor is not None
        weight = torch.as_tensor(weights, dtype=x.dtype, device=x.device)
        return NormalMixture(weight, after.mean, after.factor)


@lru_cache
def _gauss_hermite(nodes: int, dim: int) -> tuple[list[tuple[float, ...]], list[float]]:
    """Nodes and weights of the standard normal in `dim` dimensions."""
    at, weights = np.polynomial.hermite_e.hermegauss(nodes)
    weights = weights / weights.sum()
    return (
        list(product(at.tolist(), repeat=dim)),
        [prod(w) for w in product(weights.tolist(), repeat=dim)],
    )
