"""Standardised residuals of the transitions: what should be independent standard normals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import chi2, kstest, kurtosis, norm
from torch import Tensor

from hollowpde.errors import InputError
from hollowpde.problem.panel import Array

# Lags of the Ljung-Box statistic.
_LAGS = 5
# Deviations less probable than this are no chance: there are a handful of tests in each dimension.
_RARE = 1e-3


@dataclass(frozen=True)
class ResidualCheck:
    """The residuals z = Phi^-1(u) of one coordinate: independent N(0, 1) if the fit is right.

    Arguments:
        name: of the coordinate.
        n: how many.
        mean, variance: of z.
        kurtosis: in excess of the normal's 3.
        autocorrelation: at lag one along the paths, and its standard error; NaN without any.
        ks_p: of the Kolmogorov-Smirnov test that u is uniform.
        ljung_box_p: of the test that the first five autocorrelations are zero; NaN without any.
    """

    name: str
    n: int
    mean: float
    variance: float
    kurtosis: float
    autocorrelation: float
    autocorrelation_se: float
    ks_p: float
    ljung_box_p: float

    @property
    def mean_se(self) -> float:
        """The standard error of the mean of n independent N(0, 1)."""
        return math.sqrt(1 / self.n)

    @property
    def variance_se(self) -> float:
        """The standard error of their variance."""
        return math.sqrt(2 / self.n)

    @property
    def kurtosis_se(self) -> float:
        """The standard error of their excess kurtosis."""
        return math.sqrt(24 / self.n)

    def verdict(self) -> str:
        """What is wrong in this coordinate, in words, with whether it matters."""
        found = list(self._findings())
        if found:
            return "; ".join(found)
        if self.ks_p < _RARE:
            return "the shape of the transitions is not that of the likelihood"
        return "nothing found"

    def _findings(self) -> Iterator[str]:
        """Deviations that are no chance, those too small to matter marked as such."""
        z = norm.isf(_RARE / 2)
        noise = self.variance - 1
        # The third column is what would not matter much, in standard deviations of the noise.
        for value, se, small, positive, negative in (
            (self.mean, self.mean_se, 0.03,
             "states end above where the drift takes them",
             "states end below where the drift takes them"),
            (noise, self.variance_se, 0.05,
             f"more noise than predicted (variance {noise:+.0%}): diffusion too small",
             f"less noise than predicted (variance {noise:+.0%}): diffusion too large"),
            (self.kurtosis, self.kurtosis_se, 0.2,
             "heavier tails than the likelihood's: jumps, or too long a step",
             "lighter tails than the likelihood's: too long a step"),
        ):  # fmt: skip
            if abs(value) > z * se:
                yield (positive if value > 0 else negative) + _aside(abs(value) < small)
        if self.ljung_box_p < _RARE:
            # Errors of observation enter two steps in a row, with opposite signs.
            cause = (
                "noise of the observations, or a drift too weak"
                if self.autocorrelation < 0
                else "memory, a hidden variable, or a drift too strong"
            )
            yield f"dependent along paths: {cause}" + _aside(abs(self.autocorrelation) < 0.05)


def residual_checks(u: Tensor, path: Tensor, names: Sequence[str] = ()) -> list[ResidualCheck]:
    r"""Tests of the standardised residuals of each coordinate.

    With u the Rosenblatt transforms of the transitions (probability integral transforms, each
    coordinate given those before it), `z = \Phi^{-1}(u)` is independent N(0, 1) over coordinates
    and transitions if drift, diffusion and likelihood are right. With r_k the autocorrelation at
    lag k over the N_k pairs along the paths, Ljung and Box's statistic is `sum_k N_k r_k^2`,
    chi-squared with 5 degrees of freedom.

    Arguments:
        u: `transition.uniforms(x_next)`, `(n, d)`, in float64 if the tails are to be told.
        path: the path of each transition, `(n,)`, in the order of time along each.
        names: of the coordinates; x1..xd by default.

    Raises:
        InputError: u or path has the wrong shape, or u lies outside [0, 1].

    Source:
        Rosenblatt (1952); Pedersen, A new approach to maximum likelihood estimation for
        stochastic differential equations (1994); Ljung and Box (1978).

    Example:
        >>> path = torch.arange(100).repeat_interleave(10)
        >>> check, = residual_checks(torch.rand(1000, 1, dtype=torch.float64), path)
        >>> check.verdict()
        'nothing found'
    """
    if u.ndim != 2 or len(u) < 2 or path.shape != u.shape[:1]:
        raise InputError(
            "u must have shape (n, d) with n > 1 and path (n,), but they are "
            f"{tuple(u.shape)} and {tuple(path.shape)}."
        )
    if not ((u >= 0) & (u <= 1)).all():
        raise InputError("u must lie in [0, 1], but does not, or is NaN: the fit has diverged.")
    labels = names or [f"x{i + 1}" for i in range(u.shape[1])]
    z, numbers = normal_scores(u), path.cpu().numpy()
    uniforms = u.double().cpu().numpy()
    return [_check(name, uniforms[:, j], z[:, j], numbers) for j, name in enumerate(labels)]


def normal_scores(u: Tensor) -> Array:
    """Phi^-1(u) in float64, finite where rounding has made u zero or one."""
    edge = torch.finfo(u.dtype).eps / 2
    return np.asarray(norm.ppf(u.double().clamp(edge, 1 - edge).cpu().numpy()))


def _check(name: str, u: Array, z: Array, path: Array) -> ResidualCheck:
    centred = z - z.mean()
    lags = [_products(centred, path, k) for k in range(1, _LAGS + 1)]
    sizes = np.array([len(products) for products in lags if len(products)])
    correlations = np.array([p.mean() for p in lags if len(p)]) / centred.var()
    any_lag = len(sizes) > 0
    return ResidualCheck(
        name=name,
        n=len(z),
        mean=float(z.mean()),
        variance=float(z.var(ddof=1)),
        kurtosis=float(kurtosis(z)),
        autocorrelation=float(correlations[0]) if any_lag else math.nan,
        autocorrelation_se=float(1 / np.sqrt(sizes[0])) if any_lag else math.nan,
        ks_p=float(kstest(u, "uniform").pvalue),
        ljung_box_p=(
            float(chi2.sf((sizes * correlations**2).sum(), len(sizes))) if any_lag else math.nan
        ),
    )


def _products(z: Array, path: Array, lag: int) -> Array:
    """z_i z_{i + lag} of the same path."""
    return (z[lag:] * z[:-lag])[path[lag:] == path[:-lag]]


def _aside(small: bool) -> str:
    return " (certain, but too little to matter)" if small else ""
