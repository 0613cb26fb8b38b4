"""Orthogonal Sylvester flows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hollowpde.bench.vae.posteriors.base import Posterior
from hollowpde.errors import InputError

STEPS, VECTORS = 8, 16


class Sylvester(Posterior):
    r"""Steps within a space of several orthonormal vectors: `z + Q R tanh(S Q^T z + b)`.

    R and S are upper triangular; those of their diagonals are tanh of what is amortised, so that
    their products are above -1 and the step can be undone. Q, R, S and b are linear in the
    features; the columns of Q are then made orthonormal, by QR where van den Berg et al. iterate.
    Neither zuko nor normflows has these flows.

    Arguments:
        features, dim: as in `Posterior`.
        steps: how many.
        vectors: columns of Q.

    Raises:
        InputError: more vectors than d.

    Source:
        van den Berg et al., Sylvester Normalizing Flows for Variational Inference (2018).
    """

    def __init__(
        self, features: int, dim: int, steps: int = STEPS, vectors: int = VECTORS
    ) -> None:
        super().__init__(features, dim)
        if not 1 <= vectors <= dim:
            raise InputError(f"vectors must be from 1 to d = {dim}, but is {vectors}.")
        self.steps, self.vectors = steps, vectors
        self.sizes = (dim * vectors, vectors * vectors, vectors, vectors, vectors)
        self.amortised = nn.Linear(features, steps * sum(self.sizes))

    def carry(
        self, features: Tensor, z: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, int]:
        numbers = self.amortised(features).unflatten(-1, (self.steps, -1))
        columns, full, r, s, b = numbers.split(self.sizes, dim=-1)
        q, _ = torch.linalg.qr(columns.unflatten(-1, (self.dim, self.vectors)))
        full = full.unflatten(-1, (self.vectors, self.vectors))
        r, s = torch.tanh(r), torch.tanh(s)
        # The one matrix above its diagonal, the other what is below it, turned over.
        upper_r = full.triu(1) + torch.diag_embed(r)
        upper_s = full.tril(-1).mT + torch.diag_embed(s)
        out, into, product = q @ upper_r, upper_s @ q.mT, r * s
        log_det = z.new_zeros(z.shape[:-1])
        for k in range(self.steps):
            bend = torch.tanh((into[:, k] @ z.unsqueeze(-1)).squeeze(-1) + b[:, k])
            z = z + (out[:, k] @ bend.unsqueeze(-1)).squeeze(-1)
            log_det = log_det + torch.log1p((1 - bend.square()) * product[:, k]).sum(-1)
        return z, log_det, 0
