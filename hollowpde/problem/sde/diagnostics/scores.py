"""Held-out log-likelihoods of one fitted equation under several transition likelihoods."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hollowpde.errors import InputError, nearest


@dataclass(frozen=True)
class LikelihoodScore:
    """A held-out log-likelihood in nats per transition, with its standard error over paths.

    Arguments:
        mean, standard_error: of the log-likelihood.
        gap: how much less it is than that of the most accurate likelihood, and
        gap_error: the standard error of this difference; None where they were not compared.
    """

    mean: float
    standard_error: float
    gap: float | None = None
    gap_error: float | None = None


def likelihood_scores(
    log_probs: Mapping[str, Tensor], path: Tensor, accurate: str
) -> dict[str, LikelihoodScore]:
    """Scores of likelihoods from the log densities of the same held-out transitions.

    Paths are independent, the transitions along one need not be: standard errors are those of a
    ratio of sums over paths.

    Arguments:
        log_probs: the log densities under each likelihood, `(n,)`, of the same fitted equation.
        path: the path of each transition, `(n,)`.
        accurate: the name of the likelihood that the others are compared with.

    Raises:
        InputError: `accurate` is not among the names, or shapes differ.

    Example:
        >>> logs = {"Euler": torch.tensor([0.0, 0.0, 1.0]), "exact": torch.tensor([1.0, 1.0, 2.0])}
        >>> likelihood_scores(logs, torch.tensor([0, 0, 1]), "exact")["Euler"].gap
        1.0
    """
    if accurate not in log_probs:
        raise InputError(f"accurate names no likelihood: {nearest(accurate, log_probs)}")
    for name, values in log_probs.items():
        if values.shape != path.shape:
            raise InputError(
                f"log_probs[{name!r}] must have the shape {tuple(path.shape)} of path, but has "
                f"{tuple(values.shape)}."
            )
    best = log_probs[accurate].double()
    scores = {}
    for name, values in log_probs.items():
        mean, error = _ratio(values.double(), path)
        gap, gap_error = _ratio(best - values.double(), path)
        scores[name] = LikelihoodScore(mean, error, gap, gap_error)
    return scores


def _ratio(values: Tensor, path: Tensor) -> tuple[float, float]:
    """The mean, and its standard error where paths are what is independent."""
    _, label = path.unique(return_inverse=True)
    mean = values.mean()
    # What each path adds to the error of the mean.
    parts = torch.bincount(label, values - mean)
    paths = len(parts)
    if paths < 2:
        return float(mean), math.nan
    spread = parts.square().sum() * paths / (paths - 1)
    return float(mean), float(spread.sqrt() / len(values))
