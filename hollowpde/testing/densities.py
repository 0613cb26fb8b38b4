"""The contract check on densities."""

from __future__ import annotations

from collections.abc import Callable

import torch
from numpy.polynomial.legendre import leggauss
from scipy.cluster.vq import kmeans2
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from hollowpde.densities.base import Density
from hollowpde.operators import reference
from hollowpde.testing.common import agree, dimension, independent, points, redrawn

_DRAWS = 20_000
_CLUSTERS = 8
_SIGMAS = 6.0


def check_density(
    density: Density,
    *,
    times: tuple[float, ...] = (0.0, 0.7),
    dim: int | None = None,
    redraw: bool = True,
    rtol: float = 1e-3,
    seed: int = 0,
) -> None:
    """A density integrates to one, its derivatives are right and its samples are from it.

    Integrals are by quadrature up to d = 2. Above, the samples are weighed against draws from
    Gaussians around their clusters, with bounded weights (bridge sampling).

    Arguments:
        density: any `Density`.
        times: where it is checked.
        dim: d, needed when the density does not say.
        redraw: check a copy with redrawn parameters; otherwise the density as it is.
        rtol: how far the integral may be off one, besides the error of sampling.
        seed: of the parameters and samples.

    Raises:
        AssertionError: it is not normalised, or the score or the samples are wrong.

    >>> from hollowpde.testing import check_density
    >>> check_density(hp.GaussianMixture(dim=1, components=3))
    """
    d = dimension(density, dim)
    copy = redrawn(density, seed) if redraw else independent(density)
    t, x = points(d, (5,), seed)
    agree("the score", copy.score(t, x), reference.dimwise(copy, t, x, order=1)[1])
    agree("log_prob", copy.log_prob(t, x), copy(t, x))
    with torch.no_grad():
        draws = _draw(copy, times, d, seed)
        for time, x in zip(times, draws.unbind(1), strict=True):
            _check_time(copy, time, x, rtol, seed)


def _check_time(density: Density, time: float, samples: Tensor, rtol: float, seed: int) -> None:
    """Means of functions of x over the samples against their integrals under the density."""
    d = samples.shape[-1]
    centre, spread = samples.mean(0), samples.std(0)
    seen = _features((samples - centre) / spread)
    if d <= 2:
        nodes, weights = _grid(samples)
        expected = _features((nodes - centre) / spread)
        weights = weights * density.log_prob(time, nodes).exp()
        integrals, variance = (weights[:, None] * expected).sum(0), torch.zeros(())
    else:
        nodes, log_q = _proposals(samples, seed)
        # p q h and q p h have the same integral; h = 2 / (p + q) bounds both integrands.
        seen = seen * (2 * (log_q(samples) - density.log_prob(time, samples)).sigmoid())[:, None]
        weights = 2 * (density.log_prob(time, nodes) - log_q(nodes)).sigmoid()
        expected = weights[:, None] * _features((nodes - centre) / spread)
        integrals, variance = expected.mean(0), expected.var(0) / len(nodes)
        if seen[:, 0].mean() < 0.02:
            raise AssertionError(
                f"the integral at t = {time} cannot be told: the samples are too far from "
                f"Gaussian clusters (d = {d})."
            )
    means = seen.mean(0)
    error = (variance + seen.var(0) / len(seen)).sqrt()
    off = (means - integrals).abs() / (_SIGMAS * error + rtol * seen.abs().mean(0))
    if not off[0] <= 1:
        raise AssertionError(
            f"the density integrates to {float(integrals[0] / means[0]):.6g} at t = {time}, not "
            f"to 1 (standard error {float(error[0] / means[0]):.2g}, d = {d})"
            f"{', or the samples are not from it' if d > 2 else ''}."
        )
    worst = int(off.argmax())
    if not off[worst] <= 1:
        raise AssertionError(
            f"the samples at t = {time} are not from the density: the mean of feature {worst} is "
            f"{float(means[worst]):.4g} over them and {float(integrals[worst]):.4g} under it "
            f"(standard error {float(error[worst]):.2g}, d = {d})."
        )


def _draw(density: Density, times: tuple[float, ...], d: int, seed: int) -> Tensor:
    """Samples at all times at once, (n, times, d)."""
    at = torch.tensor(times, dtype=torch.float64)
    for t, shape in ((at[0], (7, d)), (at, (7, len(times), d))):
        x = density.sample(t, 7, torch.Generator().manual_seed(seed))
        if x.shape != shape:
            raise AssertionError(
                f"7 samples at t of shape {tuple(t.shape)} have the shape {tuple(x.shape)}, but "
                f"should have {shape}."
            )
        if not torch.equal(x, density.sample(t, 7, torch.Generator().manual_seed(seed))):
            raise AssertionError("samples from generators with the same seed differ.")
    return density.sample(at, _DRAWS, torch.Generator().manual_seed(seed))


def _grid(samples: Tensor) -> tuple[Tensor, Tensor]:
    """Nodes of Gauss quadrature, (m, d), and weights: as dense as the samples on each axis."""
    point, share = (torch.as_tensor(y) for y in leggauss(5))
    axes, widths, d = [], [], samples.shape[-1]
    for x in samples.unbind(-1):
        tail = torch.linspace(0.0, 3 * float(x.std()), 21, dtype=x.dtype)
        inside = x.quantile(torch.linspace(0, 1, 2001 if d == 1 else 101, dtype=x.dtype))
        edges = torch.cat([x.min() - tail.flip(0), inside[1:-1], x.max() + tail])
        half = edges.diff()[:, None] / 2
        axes.append((edges[:-1, None] + half * (1 + point)).flatten())
        widths.append((half * share).flatten())
    nodes, weights = (torch.cartesian_prod(*y).reshape(-1, d) for y in (axes, widths))
    return nodes, weights.prod(-1)


def _proposals(samples: Tensor, seed: int) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Draws from a mixture of Gaussians that covers the clusters of the samples, and its log q."""
    label = torch.as_tensor(kmeans2(samples.numpy(), _CLUSTERS, minit="++", rng=seed)[1])
    clusters = [samples[label == k] for k in range(_CLUSTERS)]
    clusters = [samples, *(c for c in clusters if len(c) > 10 * samples.shape[-1])]
    mixture = MixtureSameFamily(
        Categorical(torch.tensor([len(c) for c in clusters], dtype=samples.dtype)),
        MultivariateNormal(
            torch.stack([c.mean(0) for c in clusters]),
            torch.stack([c.T.cov() for c in clusters]),
        ),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return mixture.sample((len(samples),)), mixture.log_prob


def _features(u: Tensor) -> Tensor:
    """One, then functions that tell location, spread, correlation and shape."""
    rows, columns = torch.triu_indices(u.shape[-1], u.shape[-1])
    one = torch.ones_like(u[:, :1])
    return torch.cat([one, u, u[:, rows] * u[:, columns], (2 * u).sin(), (2 * u).cos()], dim=-1)
