"""What a trained autoencoder is worth: bounds on log p(x) of images it has not seen."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from hollowpde.bench.vae.model import VAE
from hollowpde.bench.vae.posteriors import Continuous
from hollowpde.densities.cnf import Dopri5, ExactTrace, Solver

# Draws for each test image of the bound, and rows that are evaluated at once.
_DRAWS, _ROWS = 4, 2000
_SEED = 1


class Worth(NamedTuple):
    """Of test images, in nats for each."""

    bound: float  # -ELBO
    nll: float
    evaluations: float  # in a solve


@contextmanager
def exactly(vae: VAE, solver: Solver | None = None) -> Iterator[None]:
    """With the exact trace, however it was trained, and perhaps another solver."""
    posterior = vae.posterior
    if not isinstance(posterior, Continuous):
        yield
        return
    before = posterior.trace, posterior.solver
    posterior.trace, posterior.solver = ExactTrace(), solver or posterior.solver
    try:
        yield
    finally:
        posterior.trace, posterior.solver = before


@torch.no_grad()
def bound(vae: VAE, x: Tensor) -> float:
    """-ELBO by one draw for each image, the same noise at every call."""
    generator = torch.Generator().manual_seed(_SEED)
    with exactly(vae):
        weights = [_weights(vae, part, 1, generator)[0].sum() for part in x.split(_ROWS)]
    return -float(torch.stack(weights).sum()) / len(x)


@torch.no_grad()
def judge(vae: VAE, x: Tensor, draws: int, tested: int) -> Worth:
    r"""The bound of all images, and the NLL of some by importance sampling.

    $$ -\log p(x) \approx -\log \frac1S \sum_{s=1}^S
       \frac{p(x | z_s) p(z_s)}{q(z_s | x)}, \quad z_s \sim q(z | x) $$

    For finite S it is too large on average, and it falls with S. Continuous flows are solved to
    tolerances of 1e-5, with the exact trace.

    Arguments:
        vae: trained.
        x: test images, `(n, 784)`.
        draws: S.
        tested: the NLL is of so many of the images, from the first.

    Source:
        Burda, Grosse and Salakhutdinov, Importance Weighted Autoencoders (2016).
    """
    generator = torch.Generator().manual_seed(_SEED)
    total, counts = 0.0, []
    logs: list[Tensor] = []
    with exactly(vae, Dopri5()):
        for part in x.split(_ROWS // _DRAWS):
            weights, count = _weights(vae, part, _DRAWS, generator)
            total += float(weights.double().mean(0).sum())
            counts.append(count)
        for part in x[:tested].split(max(1, _ROWS // draws)):
            weights, count = _weights(vae, part, draws, generator)
            logs.append(weights.double().logsumexp(0) - math.log(draws))
            counts.append(count)
    nll = -float(torch.cat(logs).mean())
    return Worth(-total / len(x), nll, sum(counts) / len(counts))


def _weights(vae: VAE, x: Tensor, draws: int, generator: torch.Generator) -> tuple[Tensor, int]:
    """`log p(x, z) - log q(z | x)`, `(draws, n)`, and the evaluations of the solve."""
    noise = torch.randn(draws, len(x), vae.posterior.dim, generator=generator).to(x)
    terms = vae.terms(x, noise)
    return terms.weight(), terms.evaluations
