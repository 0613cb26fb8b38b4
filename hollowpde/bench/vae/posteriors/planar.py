"""Planar flows."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hollowpde.bench.vae.posteriors.base import Posterior

STEPS = 16


class Planar(Posterior):
    r"""Steps along one direction each: `z + u tanh(w . z + b)`.

    All of u, w and b are linear in the features, as in van den Berg et al. u is moved along w so
    that `u . w > -1` and the step can be undone. It is written here because the planar flows of
    normflows hold the same u, w, b for all images, and zuko has none.

    Arguments:
        features, dim: as in `Posterior`.
        steps: how many.

    Source:
        Rezende and Mohamed, Variational Inference with Normalizing Flows (2015); amortised: van
        den Berg et al., Sylvester Normalizing Flows for Variational Inference (2018).
    """

    def __init__(self, features: int, dim: int, steps: int = STEPS) -> None:
        super().__init__(features, dim)
        self.steps = steps
        self.amortised = nn.Linear(features, steps * (2 * dim + 1))

    def carry(
        self, features: Tensor, z: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, int]:
        numbers = self.amortised(features).unflatten(-1, (self.steps, -1))
        u, w, b = numbers.split([self.dim, self.dim, 1], dim=-1)
        along = (u * w).sum(-1, keepdim=True)
        size = w.square().sum(-1, keepdim=True).clamp_min(1e-12)
        u = u + (F.softplus(along) - 1 - along) * w / size
        along = F.softplus(along) - 1
        log_det = z.new_zeros(z.shape[:-1])
        for k in range(self.steps):
            bend = torch.tanh((z * w[:, k]).sum(-1, keepdim=True) + b[:, k])
            z = z + u[:, k] * bend
            log_det = log_det + torch.log1p((1 - bend.square()) * along[:, k]).squeeze(-1)
        return z, log_det, 0
