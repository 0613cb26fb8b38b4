"""Mixture closure: a transition that need not be Gaussian, by one Chapman-Kolmogorov split."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hollowpde.errors import InputError, UnsupportedError
from hollowpde.likelihoods.base import TransitionLikelihood
from hollowpde.likelihoods.closure import Closure, Law
from hollowpde.likelihoods.moment_closure import MomentClosure
from hollowpde.likelihoods.transition import Mixture
from hollowpde.operators.field import Field

# Components beyond which a quadrature in all dimensions is no longer sensible.
_MOST_COMPONENTS = 1000


@dataclass(frozen=True)
class MixtureClosure(TransitionLikelihood):
    r"""A mixture, from the states that the process may have passed on its way.

    The step is split at `share` of its length. Up to there a closure holds, by default a Gaussian
    one; from each of its Gauss-Hermite nodes z_k a closure of its own carries on:

    $$ p(x_{t+h} \mid x_t) = \int p(x_{t+h} \mid z) \, p(z \mid x_t) \, dz
       \approx \sum_k w_k \, p(x_{t+h} \mid z_k) $$

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
    closure: Closure[Any] = MomentClosure(nodes=1)

    def __post_init__(self) -> None:
        if self.nodes < 2:
            raise InputError(f"nodes must be at least 2, but is {self.nodes}.")
        if not 0 < self.share < 1:
            raise InputError(f"share must lie between 0 and 1, but is {self.share}.")

    def transition(
        self, drift: Field, diffusion: Field, t: Tensor, x: Tensor, step: Tensor
    ) -> Mixture:
        d = x.shape[-1]
        if self.nodes**d > _MOST_COMPONENTS:
            raise UnsupportedError(
                f"a mixture closure of {self.nodes} nodes in each of {d} dimensions has "
                f"{self.nodes**d} components: use MomentClosure, or fewer nodes."
            )
        first = self.share * step
        half_way: Law = self.closure.carry(drift, diffusion, t, self.closure.known(x), first)
        nodes, weights = _gauss_hermite(self.nodes, d)
        starts = half_way.at(torch.as_tensor(nodes, dtype=x.dtype, device=x.device))
        times = (t + first).expand(starts.shape[:-1])
        rest = (step - first).expand(starts.shape[:-1])
        after: Law = self.closure.carry(drift, diffusion, times, self.closure.known(starts), rest)
        return after.mixture(torch.as_tensor(weights, dtype=x.dtype, device=x.device))


@lru_cache
def _gauss_hermite(nodes: int, dim: int) -> tuple[list[tuple[float, ...]], list[float]]:
    """Nodes and weights of the standard normal in `dim` dimensions."""
    at, weights = np.polynomial.hermite_e.hermegauss(nodes)
    weights = weights / weights.sum()
    return (
        list(product(at.tolist(), repeat=dim)),
        [prod(w) for w in product(weights.tolist(), repeat=dim)],
    )
