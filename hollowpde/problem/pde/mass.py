"""The integral of a solution over its domain, which many equations conserve."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from hollowpde.problem.base import Metrics
from hollowpde.problem.pde.domain import Ball, Box, Domain
from hollowpde.problem.pde.samplers import sobol

if TYPE_CHECKING:
    from hollowpde.problem.pde.fit import PDEFit

_TIMES = 5
_POINTS = 2**14
# A proposal wider than the density by so much keeps the weights of its points bounded.
_WIDER = 1.2


@torch.no_grad()
def masses(fit: PDEFit) -> tuple[Tensor, Tensor]:
    """Times `(k,)`, and at each the integral over the domain of what is conserved."""
    from hollowpde.problem.pde.metrics import values

    conserved, place = fit.problem.mass, fit.place
    assert conserved is not None and place.time is not None
    times = torch.linspace(*place.time, _TIMES, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    found = []
    for time in times:
        t = time.expand(_POINTS)
        x, log_q = _proposal(fit, t, generator)
        u = values(fit, fit.model.solution.field(fit.problem.first), t, x)
        found.append((conserved(u) * torch.exp(-log_q)).mean())
    return times, torch.stack(found)


def mass_errors(fit: PDEFit) -> Metrics:
    """The largest relative change of the conserved integral, if one is declared."""
    if fit.problem.mass is None or fit.place.time is None:
        return {}
    _, mass = masses(fit)
    return {"mass": float(mass[-1]), "mass_error": float((mass / mass[0] - 1).abs().max())}


def _proposal(fit: PDEFit, t: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Points at times t, and the logarithm of the density that they were drawn from."""
    place = fit.place
    domain = place.domain
    if isinstance(domain, Box | Ball):
        x = domain.points(sobol(len(t), domain.numbers, generator))
        return x, torch.full_like(t, -_log_volume(domain))
    assert place.time is not None
    seen = place.sampler.at(domain, place.time, t, generator)
    covariance = torch.cov(seen.T).reshape(domain.dim, domain.dim) * _WIDER**2
    law = MultivariateNormal(seen.mean(0), covariance)
    z = torch.randn(seen.shape, generator=generator, dtype=seen.dtype)
    x = law.loc + z @ law.scale_tril.T
    return x, law.log_prob(x)


def _log_volume(domain: Domain) -> float:
    d = torch.tensor(float(domain.dim), dtype=torch.float64)
    if isinstance(domain, Box):
        return float((2 * domain.scale).log().sum())
    unit = d / 2 * torch.log(torch.tensor(torch.pi)) - torch.lgamma(d / 2 + 1)
    return float(unit + d * domain.scale[0].log())
