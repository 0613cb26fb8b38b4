"""The verdict on a fit: sentences where something is wrong, none where all is well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hollowpde.problem.base import Metrics
from hollowpde.problem.panel import Array

# Twice the difference of log-likelihoods at the ends of a 90 % interval of one parameter.
NINETY = 2.705543454095404
# An interval of a scale that reaches so far, up or down, says next to nothing.
LOOSE = 1.5
# The share of simulated states without data around them from which it is a warning.
_FAR = 0.05


@dataclass(frozen=True)
class Profile:
    """How much worse the data are explained when something is scaled: 2 x nats over factors."""

    name: str
    factors: Array
    excess: Array

    @property
    def interval(self) -> tuple[float, float]:
        """The factors that 90 % confidence does not exclude; an end is the last one tried.

        Where it excludes all that were tried, the best of them.
        """
        inside = self.factors[self.excess <= max(NINETY, self.excess.min())]
        return float(inside.min()), float(inside.max())

    @property
    def flat(self) -> bool:
        low, high = self.interval
        return low <= 1 / LOOSE or high >= LOOSE


@dataclass(frozen=True)
class Verdict:
    """What is wrong, in sentences; nothing if all is well.

    Arguments:
        sentences: the warnings, or the refusal.
        metrics: the figures that they rest on.
        profiles: of the criterion over scales.
    """

    sentences: list[str]
    metrics: Metrics = field(default_factory=dict)
    profiles: Sequence[Profile] = ()


def far_away(share: float) -> list[str]:
    """A sentence if much of what the equation simulates lies where there were no data."""
    if share <= _FAR:
        return []
    return [
        f"{share:.0%} of the states that the fitted equation simulates lie where there are no "
        "data: drift and diffusion there are extrapolated."
    ]


def loose(profile: Profile, why: str) -> list[str]:
    """A sentence if a scale is not known."""
    if not profile.flat:
        return []
    low, high = profile.interval
    below = f"from {low:.2g}" if low > profile.factors.min() else "from far less than"
    above = f"to {high:.2g}" if high < profile.factors.max() else "to far more than"
    if low > 1 or high < 1:
        # Known, but not at what was fitted: by other equations than those of the profile.
        return [
            f"{profile.name} is off: the data ask for {below} {above} times the fitted one (90 % "
            "confidence). Match by hp.WeakForm(), whose equations say so, or simplify the drift."
        ]
    return [
        f"{profile.name} is not identified: {below} {above} times the fitted one explains the "
        f"data as well (90 % confidence). {why}"
    ]
