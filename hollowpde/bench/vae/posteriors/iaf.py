"""Inverse autoregressive flows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hollowpde.bench.vae.posteriors.base import Posterior
from hollowpde.errors import InputError

STEPS, WIDTH = 4, 256


class IAF(Posterior):
    r"""Each coordinate is scaled and moved by networks of those before it, and of the image.

    The masked networks and their steps are zuko's, `z_i exp(s_i) + m_i` with (s, m) of the
    coordinates before i, run in the direction in which all coordinates come at once; the order
    turns round from one step to the next. The features enter each network as its context.

    Arguments:
        features, dim: as in `Posterior`.
        steps: how many.
        width: of the two hidden layers of each.

    Raises:
        InputError: zuko is not installed.

    Source:
        Kingma et al., Improved Variational Inference with Inverse Autoregressive Flow (2016).
    """

    def __init__(self, features: int, dim: int, steps: int = STEPS, width: int = WIDTH) -> None:
        super().__init__(features, dim)
        try:
            from zuko.flows import MaskedAutoregressiveTransform
        except ImportError:
            raise InputError(
                "the posterior iaf needs zuko: pip install 'hollowpde[bench]'."
            ) from None
        order = torch.arange(dim)
        self.networks = nn.ModuleList(
            MaskedAutoregressiveTransform(
                dim,
                features,
                order=order if k % 2 == 0 else order.flip(0),
                hidden_features=(width, width),
                activation=nn.ELU,
            )
            for k in range(steps)
        )

    def carry(
        self, features: Tensor, z: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, int]:
        log_det = z.new_zeros(z.shape[:-1])
        for network in self.networks:
            step: Any = network(features)
            z, volume = step.call_and_ladj(z)
            log_det = log_det + volume
        return z, log_det, 0
