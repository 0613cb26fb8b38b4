"""A time-dependent mixture of products of one-dimensional Gaussians."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from hollowpde.densities.mixture import Mixture


class GaussianMixture(Mixture):
    r"""A normalised density whose score and diagonal derivatives of any order are closed-form.

    $$ p(t, x) = \sum_r w_r(t) \prod_j N(x_j; \mu_{rj}(t), \sigma_{rj}(t)^2) $$

    Weights, means and log standard deviations are constants plus a small network of t. Along x_j
    each component is a quadratic in the exponent, so that log p is a logarithm of a sum of
    exponentials of short Taylor series. A product cannot hold correlation between dimensions:
    several components together approximate it, and `CorrelatedMixture` has it in each.

    Arguments:
        dim: d.
        components: the number of products.
        hidden: width of the two hidden layers of the network of t.

    Raises:
        InputError: dim or components below 1.

    Source:
        Bishop, Mixture Density Networks (1994).

    Example:
        >>> density = hp.GaussianMixture(dim=2, components=3)
        >>> density.log_prob(0.5, torch.zeros(4, 2)).shape
        torch.Size([4])
        >>> density.sample(0.5, 10).shape
        torch.Size([10, 2])
    """

    def __init__(self, dim: int, components: int, hidden: int = 32) -> None:
        super().__init__(dim, components, hidden, numbers=dim)
        self.log_scales = nn.Parameter(torch.zeros(components, dim))

    # W is diagonal: the factors are the standard deviations, (..., R, d).

    @property
    def _shapes(self) -> nn.Parameter:
        return self.log_scales

    def _shape_of(self, members: np.ndarray) -> np.ndarray:
        log_scales: np.ndarray = np.log(np.maximum(members.std(0), 1e-3))
        return log_scales

    def _factors(self, shapes: Tensor) -> tuple[Tensor, Tensor]:
        return shapes, shapes.exp()

    def _noisy_factors(self, shapes: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        return self._factors(0.5 * torch.logaddexp(2 * shapes, variance.log()))

    def _marginal_log_scales(self, shapes: Tensor) -> Tensor:
        return shapes

    def _whiten(self, factor: Tensor, gap: Tensor) -> Tensor:
        return gap / factor

    def _colour(self, factor: Tensor, z: Tensor) -> Tensor:
        return factor * z

    def _slopes(self, factor: Tensor, z: Tensor) -> Tensor:
        return -z / factor

    def _precisions(self, factor: Tensor) -> Tensor:
        return factor.square().reciprocal()

    def _rates(
        self, factor: Tensor, gap: Tensor, z: Tensor, means_dt: Tensor, shapes_dt: Tensor
    ) -> Tensor:
        # d/dt log N(x; mu, sigma) = z mu' / sigma + (z^2 - 1) sigma' / sigma
        return z / factor * means_dt + (z.square() - 1.0) * shapes_dt
