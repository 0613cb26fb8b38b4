"""The verdict on a fit to snapshots."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from scipy.stats import chi2
from torch import Tensor

from hollowpde.data import Trajectories
from hollowpde.problem.base import Metrics
from hollowpde.problem.sde.matching import WeakCriterion
from hollowpde.problem.sde.verdict.scale import scale_profiles
from hollowpde.problem.sde.verdict.verdict import Verdict, far_away, loose

if TYPE_CHECKING:
    from hollowpde.problem.sde.snapshot_fit import SnapshotFit

# A hypothesis is given up where the data are less likely than this under it.
_LEVEL = 1e-3
# More planes than those of so many dimensions are not tested for rotation.
_MOST_DIMS = 10


def is_stationary(equations: WeakCriterion) -> bool:
    """Whether no change of the marginals through time is seen."""
    return _stationarity(equations) > _LEVEL


def refusal(data: Trajectories) -> str:
    """Why drift and diffusion cannot be known from marginals that do not change."""
    return (
        "refused: the marginals of these snapshots do not change through time, and a process that "
        "runs twice as fast has the same ones: drift and diffusion are not identified, only the "
        "ratio of the two, "
        + ("f / D = 1/2 d log p / dx" if data.dim == 1 else "and that up to rotation, s / 2")
        + " for constant D, which is what is given (run.drift_over_diffusion). Say what the "
        "diffusion is, diffusion=hp.Known(...), or add snapshots of a relaxation or paths."
    )


def snapshot_verdict(fit: SnapshotFit) -> Verdict:
    """What can be known from snapshots; once all is fitted."""
    equations, model = fit.equations, fit.model
    metrics: Metrics = {"stationarity_p": _stationarity(equations)}
    if fit.refused:
        return Verdict([refusal(fit.split.train)], metrics | {"refused": 1, "warnings": 1})
    names, noisy = fit.split.train.names, model.place.noisy
    profiles = scale_profiles(equations, model.best, names, noisy)
    sentences = []
    if metrics["stationarity_p"] > _LEVEL:
        sentences.append(
            "the marginals do not change through time: what is found rests on what was given of "
            "the diffusion, or on the further data."
        )
    metrics["weak_p"] = _misfit(equations, fit)
    if metrics["weak_p"] < _LEVEL:
        sentences.append(
            "the equation does not explain the samples: the chi-square of the moment equations "
            f"has p = {metrics['weak_p']:.1g}. Let D depend on the state (diffusion=hp.Linear()), "
            "let both depend on time (autonomous=False), or observe the process at more times, or "
            "what else drives it."
        )
    for k, profile in enumerate(profiles):
        metrics[f"scale_low[{k}]"], metrics[f"scale_high[{k}]"] = profile.interval
        sentences += loose(
            profile, "Give it (diffusion=hp.Known(...)), simplify the drift, or add paths."
        )
    invisible = _invisible_rotations(equations)
    metrics["rotation_p"] = max((p for _, p in invisible), default=0.0)
    if metrics["rotation_p"] > _LEVEL:
        sentences.append(
            "a rotation is invisible: the marginals look alike from every angle in "
            f"{len([p for _, p in invisible if p > _LEVEL])} of {len(invisible)} planes, at all "
            "times, so that a drift that turns them leaves no trace. The rotational part of the "
            "fitted drift means nothing."
        )
    share = extrapolated(fit)
    sentences += far_away(share)
    return Verdict(sentences, metrics | {"refused": 0, "warnings": len(sentences)}, profiles)


def extrapolated(fit: SnapshotFit) -> float:
    """The share of re-simulated states without training data around them."""
    from hollowpde.problem.sde.diagnostics import extrapolation_share

    return extrapolation_share(fit.split.train.x, fit.resimulated.simulated.flatten(0, 1))


def _stationarity(equations: WeakCriterion) -> float:
    """The p-value of marginals that do not change."""
    return float(chi2.sf(*equations.train[0].changing()))


@torch.no_grad()
def _misfit(equations: WeakCriterion, fit: SnapshotFit) -> float:
    pair = fit.model.best
    equations.weigh(pair.drift, pair.diffusion)
    left = equations.leftovers(pair.drift, pair.diffusion)
    return float(chi2.sf(float(left.square().sum()), len(left)))


def _invisible_rotations(equations: WeakCriterion) -> list[tuple[tuple[int, int], float]]:
    """The p-value of a rotation in each plane of principal axes leaving all marginals alone.

    Around the mean, along the ellipses of the covariance within the times: `v = P^1/2 O P^-1/2
    (x - m)` with O a rotation of the plane.
    """
    samples = equations.train[0]
    if not 1 < samples.dim <= _MOST_DIMS:
        return []
    mean, root, back = samples.principal_axes()
    out = []
    for i in range(samples.dim):
        for j in range(i):
            turn = torch.zeros(samples.dim, samples.dim, dtype=root.dtype)
            turn[i, j], turn[j, i] = 1.0, -1.0
            matrix = root @ turn @ back

            def velocity(x: Tensor, matrix: Tensor = matrix) -> Tensor:
                return (x.double() - mean) @ matrix.T

            out.append(((j, i), float(chi2.sf(*samples.moved_by(velocity)))))
    return out
