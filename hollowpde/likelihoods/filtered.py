"""Observations with noise: what a filter expects of the next one, given those before it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hollowpde.data.windows import Windows
from hollowpde.likelihoods.moment_closure import Gaussian, MomentClosure
from hollowpde.likelihoods.transition import NormalMixture
from hollowpde.operators.field import Field

# Of the variance of a coordinate, the least that is not noise.
_LEAST_KNOWN = 1e-3


@dataclass(frozen=True)
class Filtered:
    r"""The likelihood of observations `y = x + noise`, by a Gaussian filter.

    The state is carried from one observation to the next by moment closure and corrected by what
    is seen. With N(m, P) before an observation y and the noise N(0, R),

    $$ y \sim N(m, S), \quad S = P + R, \qquad
       m' = m + P S^{-1} (y - m), \quad P' = P - P S^{-1} P $$

    Coordinates are standardised: before a window the state is taken for N(0, 1 - R), whatever was
    seen earlier. The lead-in makes up for some of that.

    Arguments:
        closure: carries the state.

    Source:
        Sarkka and Solin, Applied Stochastic Differential Equations (2019), chapter 10.
    """

    closure: MomentClosure

    def log_prob(self, drift: Field, diffusion: Field, noise: Tensor, rows: Windows) -> Tensor:
        """log p of the scored observations, summed over each window, `(n,)`.

        `noise` holds the variances R, `(d,)`.
        """
        seen = [
            torch.where(rows.scored[:, k], expected.log_prob(rows.x_next[:, k]), 0.0)
            for k, expected in enumerate(self._expected(drift, diffusion, noise, rows))
        ]
        return torch.stack(seen).sum(0)

    def uniforms(self, drift: Field, diffusion: Field, noise: Tensor, rows: Windows) -> Tensor:
        """The Rosenblatt transform of every scored observation, in order, `(transitions, d)`."""
        u = [
            expected.uniforms(rows.x_next[:, k])
            for k, expected in enumerate(self._expected(drift, diffusion, noise, rows))
        ]
        return torch.stack(u, dim=1)[rows.scored]

    def _expected(
        self, drift: Field, diffusion: Field, noise: Tensor, rows: Windows
    ) -> list[NormalMixture]:
        """What each observation of the windows is expected to be, given those before it."""
        # N(0, 1 - R) corrected by the first observation.
        known = (1 - noise).clamp(min=_LEAST_KNOWN)
        factor = (known * noise).sqrt().diag_embed().expand(*rows.x.shape, -1)
        state, out = Gaussian(known * rows.x, factor), []
        one = torch.ones(1, dtype=rows.x.dtype, device=rows.x.device)
        for k in range(rows.step.shape[1]):
            state = self.closure.carry(drift, diffusion, rows.t[:, k], state, rows.step[:, k])
            assert state.factor is not None
            seen = _with_noise(state.factor, noise)
            out.append(NormalMixture(one, state.mean.unsqueeze(0), seen.unsqueeze(0)))
            state = _corrected(state.mean, state.factor, seen, noise, rows.x_next[:, k])
        return out


def _with_noise(factor: Tensor, noise: Tensor) -> Tensor:
    """The lower factor of `P + R`."""
    return _cholesky(factor @ factor.mT + noise.diag_embed())


def _corrected(mean: Tensor, factor: Tensor, seen: Tensor, noise: Tensor, y: Tensor) -> Gaussian:
    """The law once y is seen; `(I - K) P (I - K)^T + K R K^T`, which keeps its sign."""
    covariance = factor @ factor.mT
    gain = torch.cholesky_solve(covariance, seen).mT  # P S^-1
    left = torch.eye(len(noise), dtype=y.dtype, device=y.device) - gain
    root = left @ factor
    known = gain * noise.sqrt()
    after = mean + (gain @ (y - mean).unsqueeze(-1)).squeeze(-1)
    return Gaussian(after, _cholesky(root @ root.mT + known @ known.mT))


def _cholesky(matrix: Tensor) -> Tensor:
    """The lower factor; no number where the matrix is not positive."""
    factor, failed = torch.linalg.cholesky_ex(matrix)
    return torch.where(failed[..., None, None] == 0, factor, torch.nan)
