"""A time-dependent mixture of Gaussians with full covariance."""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import solve_triangular
from torch import Tensor, nn

from hollowpde.densities.mixture import Mixture


class CorrelatedMixture(Mixture):
    r"""A normalised density whose every component holds correlation between dimensions.

    $$ p(t, x) = \sum_r w_r(t) N(x; \mu_r(t), (W_r(t)^\top W_r(t))^{-1}), \quad
       W = diag(e^{-\ell}) (1 + L) $$

    W takes the component to a standard normal one: L is strictly lower triangular, so that W is
    the inverse of a Cholesky factor of the covariance, and `e^l` are the standard deviations of
    each coordinate given those before it, on which it is regressed with the coefficients -L. No
    system is solved for the density or its derivatives, and at d = 1 it is a `GaussianMixture`.
    Weights, means, l and L are constants plus a small network of t.

    Where `GaussianMixture` takes d numbers for the shape of a component, it takes d (d + 1) / 2,
    and a product with a matrix at every point: for correlated data, up to d = 20 or so.

    Arguments:
        dim: d.
        components: the number of Gaussians.
        hidden: width of the two hidden layers of the network of t.

    Raises:
        InputError: dim or components below 1.

    Source:
        Williams, Using neural networks to model conditional multivariate densities (1996);
        Pourahmadi, Joint mean-covariance models with applications to longitudinal data (1999).

    Example:
        >>> from hollowpde.densities import CorrelatedMixture
        >>> density = CorrelatedMixture(dim=2, components=1)
        >>> density.log_prob(0.5, torch.zeros(4, 2)).shape
        torch.Size([4])
        >>> density.sample(0.5, 10).shape
        torch.Size([10, 2])
    """

    def __init__(self, dim: int, components: int, hidden: int = 32) -> None:
        numbers = dim * (dim + 1) // 2
        super().__init__(dim, components, hidden, numbers)
        # l, then the rows of L below the diagonal.
        self.factors = nn.Parameter(torch.zeros(components, numbers))

    # The factors are W itself, (..., R, d, d).

    @property
    def _shapes(self) -> nn.Parameter:
        return self.factors

    def _shape_of(self, members: np.ndarray) -> np.ndarray:
        n, d = members.shape
        scales = np.maximum(members.std(0), 1e-3)
        z = (members - members.mean(0)) / scales
        # Of few members the correlations are shrunk, by as much as they are wrong by chance.
        correlation = z.T @ z / (n + d)
        np.fill_diagonal(correlation, 1.0)
        W = solve_triangular(np.linalg.cholesky(correlation), np.diag(1 / scales), lower=True)
        diagonal = W.diagonal()
        L = (W / diagonal[:, None])[np.tril_indices(d, -1)]
        return np.concatenate([-np.log(diagonal), L])

    def _factors(self, shapes: Tensor) -> tuple[Tensor, Tensor]:
        log_scales, lower = self._split(shapes)
        one = torch.eye(self.dim, dtype=shapes.dtype, device=shapes.device)
        return log_scales, (-log_scales).exp().unsqueeze(-1) * (one + self._below(lower))

    def _noisy_factors(self, shapes: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        # (W^T W)^-1 + V = W^-1 (1 + W V W^T) W^-T, with a Cholesky factor C of what is in the
        # middle, which no W makes singular: the factor is C^-1 W.
        log_scales, W = self._factors(shapes)
        one = torch.eye(self.dim, dtype=W.dtype, device=W.device)
        C = torch.linalg.cholesky(one + (W * variance) @ W.mT)
        factor = torch.linalg.solve_triangular(C, W, upper=False)
        return log_scales + C.diagonal(dim1=-2, dim2=-1).log(), factor

    def _marginal_log_scales(self, shapes: Tensor) -> Tensor:
        W = self._factors(shapes)[1]
        one = torch.eye(self.dim, dtype=W.dtype, device=W.device)
        # The covariance is S S^T with S = W^-1.
        return torch.linalg.solve_triangular(W, one, upper=False).norm(dim=-1).log()

    def _whiten(self, factor: Tensor, gap: Tensor) -> Tensor:
        return (factor @ gap.unsqueeze(-1)).squeeze(-1)

    def _colour(self, factor: Tensor, z: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(factor, z.unsqueeze(-1), upper=False).squeeze(-1)

    def _slopes(self, factor: Tensor, z: Tensor) -> Tensor:
        return -(factor.mT @ z.unsqueeze(-1)).squeeze(-1)

    def _precisions(self, factor: Tensor) -> Tensor:
        return factor.square().sum(-2)

    def _rates(
        self, factor: Tensor, gap: Tensor, z: Tensor, means_dt: Tensor, shapes_dt: Tensor
    ) -> Tensor:
        # d/dt log N = -sum_i l_i' - z^T z', z' = -l' z + diag(e^-l) L' (x - mu) - W mu'
        log_scales_dt, lower_dt = self._split(shapes_dt)
        bent = factor.diagonal(dim1=-2, dim2=-1) * self._whiten(self._below(lower_dt), gap)
        moved = self._whiten(factor, means_dt)
        return z * (moved - bent) + (z.square() - 1.0) * log_scales_dt

    def _split(self, shapes: Tensor) -> tuple[Tensor, Tensor]:
        """l (..., R, d) and the numbers of L (..., R, d (d - 1) / 2)."""
        return shapes[..., : self.dim], shapes[..., self.dim :]

    def _below(self, lower: Tensor) -> Tensor:
        """Numbers (..., d (d - 1) / 2) as matrices (..., d, d) that are zero elsewhere."""
        d = self.dim
        row, column = torch.tril_indices(d, d, -1, device=lower.device)
        zero = lower.new_zeros(*lower.shape[:-1], d * d)
        index = (d * row + column).expand(lower.shape)
        return zero.scatter(-1, index, lower).unflatten(-1, (d, d))
