"""The posteriors that are compared, by name. One per file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hollowpde.bench.vae.posteriors.base import Draw, Posterior
from hollowpde.bench.vae.posteriors.continuous import Continuous
from hollowpde.bench.vae.posteriors.gaussian import Gaussian
from hollowpde.bench.vae.posteriors.iaf import IAF
from hollowpde.bench.vae.posteriors.planar import Planar
from hollowpde.bench.vae.posteriors.sylvester import Sylvester
from hollowpde.densities.cnf import ExactTrace, HutchinsonTrace

GAUSSIAN, PLANAR, AUTOREGRESSIVE, SYLVESTER = "gaussian", "planar", "iaf", "sylvester"
FFJORD, HOLLOW = "ffjord", "hollow"


@dataclass(frozen=True)
class Kind:
    """A posterior that takes part.

    Arguments:
        title: what it is.
        make: it, from the width of the features and the dimension of a code.
    """

    title: str
    make: Callable[[int, int], Posterior]


# In the order of the poster, from the worst row to the best.
KINDS: Mapping[str, Kind] = {
    GAUSSIAN: Kind("a Gaussian", Gaussian),
    PLANAR: Kind("planar flow", Planar),
    AUTOREGRESSIVE: Kind("inverse autoregressive flow", IAF),
    SYLVESTER: Kind("orthogonal Sylvester flow", Sylvester),
    FFJORD: Kind(
        "continuous flow, hollow velocity, trace by one probe",
        lambda features, dim: Continuous(features, dim, HutchinsonTrace()),
    ),
    HOLLOW: Kind(
        "continuous flow, hollow velocity, exact trace",
        lambda features, dim: Continuous(features, dim, ExactTrace()),
    ),
}

__all__ = [
    "AUTOREGRESSIVE",
    "FFJORD",
    "GAUSSIAN",
    "HOLLOW",
    "IAF",
    "KINDS",
    "PLANAR",
    "SYLVESTER",
    "Continuous",
    "Draw",
    "Gaussian",
    "Kind",
    "Planar",
    "Posterior",
    "Sylvester",
]
