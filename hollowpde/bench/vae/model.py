"""The autoencoder: one encoder and one decoder, whatever the posterior."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hollowpde.bench.vae.images.images import PIXELS
from hollowpde.bench.vae.posteriors import KINDS, Posterior

WIDTHS, FEATURES, DIM = (300, 300), 128, 32


class Terms(NamedTuple):
    """What a bound on log p(x) consists of, for every draw, in nats."""

    log_likelihood: Tensor  # log p(x | z), (..., n)
    log_prior: Tensor  # log p(z)
    log_q: Tensor  # log q(z | x)
    evaluations: int

    def weight(self, beta: float = 1.0) -> Tensor:
        """`log p(x | z) + beta (log p(z) - log q(z | x))`."""
        return self.log_likelihood + beta * (self.log_prior - self.log_q)


class VAE(nn.Module):
    r"""Binary images by codes: `z ~ N(0, I)`, every pixel a coin whose chance the decoder tells.

    $$ \log p(x) \ge E_{q(z|x)} [\log p(x|z) + \log p(z) - \log q(z|x)] $$

    Arguments:
        posterior: q.

    Source:
        Kingma and Welling, Auto-Encoding Variational Bayes (2014).
    """

    def __init__(self, posterior: Posterior) -> None:
        super().__init__()
        self.encoder = _mlp(PIXELS, *WIDTHS, FEATURES)
        self.encoder.append(nn.SiLU())
        self.decoder = _mlp(posterior.dim, *reversed(WIDTHS), PIXELS)
        self.posterior = posterior

    def terms(self, x: Tensor, noise: Tensor, generator: torch.Generator | None = None) -> Terms:
        """The terms of the bound.

        Arguments:
            x: images of zeros and ones, `(n, 784)`.
            noise: standard normal, `(..., n, d)`.
            generator: of probes.
        """
        z, log_q, evaluations = self.posterior(self.encoder(x), noise, generator)
        logits = self.decoder(z)
        # The logarithm of sigmoid(l) where x is 1, and of 1 - sigmoid(l) where it is 0.
        log_likelihood = (x * logits - F.softplus(logits)).sum(-1)
        log_prior = -0.5 * z.square().sum(-1) - 0.5 * z.shape[-1] * math.log(2 * math.pi)
        return Terms(log_likelihood, log_prior, log_q, evaluations)

    @torch.no_grad()
    def reconstructed(self, x: Tensor, noise: Tensor) -> Tensor:
        """The chances of ones after one draw of the code, `(n, 784)`."""
        return torch.sigmoid(self.decoder(self.posterior(self.encoder(x), noise).z))

    @torch.no_grad()
    def generated(self, z: Tensor) -> Tensor:
        """The chances of ones, given codes."""
        return torch.sigmoid(self.decoder(z))


def build(kind: str, seed: int) -> VAE:
    """An untrained autoencoder, its encoder and decoder the same for every posterior."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae = VAE(KINDS["gaussian"].make(FEATURES, DIM))
        start = vae.posterior.state_dict()
        vae.posterior = KINDS[kind].make(FEATURES, DIM)
        vae.posterior.load_state_dict(start, strict=False)
    return vae


def _mlp(*widths: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), nn.SiLU()]
    return nn.Sequential(*layers[:-1])
