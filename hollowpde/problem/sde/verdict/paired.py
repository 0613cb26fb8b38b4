"""The verdict on a fit to paths."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from hollowpde.problem.base import Metrics
from hollowpde.problem.sde.verdict.scale import FACTORS
from hollowpde.problem.sde.verdict.verdict import Profile, Verdict, far_away, loose

# Factors at which the likelihood is evaluated; in between it is interpolated.
_EVALUATED = (0.25, 0.5, 0.67, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 4.0)


def paired_verdict(log_likelihood: Callable[[float], float], extrapolated: float) -> Verdict:
    """What can be known from paths.

    Arguments:
        log_likelihood: of all transitions fitted to, nats, if the process ran c times as fast.
        extrapolated: the share of re-simulated states without data around them.
    """
    speed = _profile("the speed of the process, drift and diffusion together,", log_likelihood)
    sentences = loose(
        speed,
        "The time between observations is so long that the process forgets where it was, and "
        "only the ratio of drift to diffusion is known: observe it more often.",
    )
    sentences += far_away(extrapolated)
    low, high = speed.interval
    metrics: Metrics = {
        "speed_low": low, "speed_high": high, "refused": 0, "warnings": len(sentences)
    }  # fmt: skip
    return Verdict(sentences, metrics, [speed])


@torch.no_grad()
def _profile(name: str, log_likelihood: Callable[[float], float]) -> Profile:
    values = np.array([log_likelihood(c) for c in _EVALUATED])
    # What cannot be computed is no likelihood at all.
    values = np.where(np.isfinite(values), values, -1e30)
    excess = 2 * (values.max() - values)
    return Profile(name, FACTORS, np.interp(np.log(FACTORS), np.log(_EVALUATED), excess))
