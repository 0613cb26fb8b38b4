"""The integral of a solution over its domain, which many equations conserve."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from hollowpde.problem.base import Metrics
from hollowpde.problem.pde.domain import Ball, Box, Domain, gaussian
from hollowpde.problem.pde.samplers import sobol

if TYPE_CHECKING:
    from hollowpde.problem.pde.fit import PDEFit

Conserved = Callable[[Tensor], Tensor]

_TIMES = 5
_POINTS = 2**14
# How often the law of the points is fitted anew, and by how much it is wider than the integrand,
# which keeps their weights bounded.
_ROUNDS = 3
_WIDER = 1.1


@torch.no_grad()
def masses(fit: PDEFit, conserved: Conserved) -> tuple[Tensor, Tensor]:
    """Times `(k,)`, and at each the integral over the domain of a function of the first field."""
    place = fit.place
    times = torch.linspace(*place.interval, _TIMES, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    field = fit.model.solution.fields[fit.problem.first]
    found = []
    for time in times:
        t = time.expand(_POINTS)

        def weights(x: Tensor, log_q: Tensor, t: Tensor = t) -> Tensor:
            return conserved(fit.values(field, t, x)) * torch.exp(-log_q)

        if isinstance(place.domain, Box | Ball):
            x = place.domain.points(sobol(_POINTS, place.domain.numbers, generator))
            found.append(weights(x, torch.full_like(t, -_log_volume(place.domain))).mean())
            continue
        # In the whole space by importance, from a normal law that is fitted to the integrand.
        seen = place.sampler.at(place.domain, place.interval, t, generator)
        law = _normal(seen, torch.ones_like(t))
        for _ in range(_ROUNDS):
            z = gaussian(sobol(_POINTS, place.domain.dim, generator))
            x = law.loc + z @ law.scale_tril.T
            w = weights(x, law.log_prob(x))
            law = _normal(x, w.abs())
        found.append(w.mean())
    return times, torch.stack(found)


def mass_errors(fit: PDEFit) -> Metrics:
    """The largest relative change of the conserved integral, if one is declared."""
    if fit.problem.mass is None or fit.place.time is None:
        return {}
    _, mass = masses(fit, fit.problem.mass)
    return {"mass": float(mass[-1]), "mass_error": float((mass / mass[0] - 1).abs().max())}


def _normal(x: Tensor, weights: Tensor) -> MultivariateNormal:
    """A normal law with the moments of weighted points, a little wider."""
    covariance = torch.cov(x.T, aweights=weights).reshape(x.shape[1], x.shape[1])
    mean = (weights.unsqueeze(-1) * x).sum(0) / weights.sum()
    return MultivariateNormal(mean, covariance * _WIDER**2)


def _log_volume(domain: Domain) -> float:
    d = torch.tensor(float(domain.dim), dtype=torch.float64)
    if isinstance(domain, Box):
        return float((2 * domain.scale).log().sum())
    unit = d / 2 * torch.log(torch.tensor(torch.pi)) - torch.lgamma(d / 2 + 1)
    return float(unit + d * domain.scale[0].log())
