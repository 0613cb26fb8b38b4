"""Figures that say how good a fitted score is, on held-out paths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import t as student
from torch import Tensor

from hollowpde.data import Trajectories
from hollowpde.errors import InputError
from hollowpde.operators.field import Field
from hollowpde.problem.base import Metrics
from hollowpde.problem.panel import Array
from hollowpde.problem.sde.rows import by_path

TrueScore = Callable[[Tensor, Tensor], Tensor]


def truth_at(truth: TrueScore, points: Trajectories) -> Tensor:
    """The true score at points, called with one scalar t at a time, as torchsde calls.

    Raises:
        InputError: it returns another shape than that of x.
    """
    out = torch.empty_like(points.x)
    for t in points.t.unique():
        rows = points.t == t
        x = points.x[rows]
        value = truth(t.to(x.dtype), x)
        if not isinstance(value, Tensor) or value.shape != x.shape:
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise InputError(
                f"truth(t, x) must return the shape {tuple(x.shape)} of x for a scalar t, but "
                f"returned {shape}."
            )
        out[rows] = value
    return out


@torch.no_grad()
def errors_against_truth(field: Field, truth: TrueScore, held_out: Trajectories) -> Metrics:
    """The relative L2 error of the score over the held-out points, in the user's units.

    `sqrt(mean |estimate - true|^2 / mean |true|^2)`, pooled over time and dimensions, and for
    the worst single dimension.
    """
    precise = held_out.double()
    true = truth_at(truth, precise)
    wrong = (field(precise.t, precise.x) - true).square().mean(0)
    size = true.square().mean(0)
    metrics: Metrics = {}
    if size.sum() > 0:
        metrics["score_rel_l2"] = float((wrong.sum() / size.sum()).sqrt())
    if (size > 0).all():
        metrics["score_rel_l2_worst"] = float((wrong / size).sqrt().max())
    return metrics


@dataclass(frozen=True, eq=False)
class Stein:
    """Stein's identities `E[s_i] = 0` and `E[s_i z_i] = -1`, which the true score obeys.

    In standardised units z, over held-out paths; no truth is needed. The paths are independent,
    their rows not: standard errors are those of means over paths.

    Arguments:
        mean, product: the means of s_i and of s_i z_i, `(d,)` each.
        mean_error, product_error: their standard errors.
        paths: how many paths they are of.

    Source:
        Stein, A bound for the error in the normal approximation (1972).
    """

    mean: Array
    product: Array
    mean_error: Array
    product_error: Array
    paths: int

    @property
    def worst(self) -> float:
        """The largest departure, over what none of the 2 d is beyond in 95 of 100 cases.

        In standard errors, with Bonferroni's allowance for the best of many: below 1, no
        departure is found.
        """
        departures = [self.mean / self.mean_error, (self.product + 1) / self.product_error]
        limit = student.ppf(1 - 0.025 / (2 * len(self.mean)), self.paths - 1)
        return float(np.abs(departures).max() / limit)


def stein(score: Tensor, z: Tensor, path: Tensor) -> Stein:
    """How far scores are from Stein's identities; score and z `(n, d)`, path `(n,)`."""
    means = [
        np.stack([by_path(column, path) for column in values.unbind(1)], axis=1)
        for values in (score, score * z)
    ]
    n = len(means[0])
    # Of a single path nothing is known of the spread.
    errors = [
        m.std(0, ddof=1) / np.sqrt(n) if n > 1 else np.full(m.shape[1], np.nan) for m in means
    ]
    return Stein(means[0].mean(0), means[1].mean(0), errors[0], errors[1], n)
