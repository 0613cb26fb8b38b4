"""Pictures and figures that say whether a fitted SDE is to be trusted, and what it foretells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.stats import beta, binom, norm
from torch import Tensor

from hollowpde.data import Trajectories
from hollowpde.errors import InputError
from hollowpde.problem.base import Metrics
from hollowpde.problem.panel import (
    Axes,
    Band,
    Bars,
    Chart,
    Line,
    Panel,
    Points,
    Role,
    Table,
)
from hollowpde.problem.sde.diagnostics import (
    Autocorrelation,
    EnergyTest,
    LikelihoodScore,
    ResidualCheck,
    StepRate,
    autocorrelation,
    energy_test,
    extrapolation_share,
    normal_scores,
    residual_checks,
    step_rate,
)
from hollowpde.problem.sde.longrun import Forecast, forecast, rotational_share
from hollowpde.problem.sde.longrun.panels import (
    exit_time_chart,
    forecast_charts,
    potential_chart,
    stationary_charts,
)
from hollowpde.problem.sde.metrics import Resimulated
from hollowpde.problem.stage import derived_seed

if TYPE_CHECKING:
    from hollowpde.problem.sde.learned import FittedSDE

# More coordinates than this are not drawn one by one.
_SHOWN = 4
_BARS = 20
_WORM = 200
_ROTATION_POINTS = 200
_ROTATION_DIMS = 20
_FORECAST_PATHS = 500
_FORECAST_GAPS = 50


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the diagnostics of a fitted SDE are made from; each is computed when first asked for.

    Arguments:
        sde: the fitted SDE, in the user's units.
        train, test: the paths that were fitted to, and those held out.
        resimulated: what `resimulate` gave of the held-out paths.
        uniforms: Rosenblatt transforms of the held-out transitions `test.pairs()`, `(n, d)`.
        scores: held-out log-likelihoods by the name of the likelihood.
        autonomous: drift and diffusion do not depend on time.
        seed: of what is drawn.
    """

    sde: FittedSDE
    train: Trajectories
    test: Trajectories
    resimulated: Resimulated
    uniforms: Tensor
    scores: Mapping[str, LikelihoodScore] = field(default_factory=dict)
    autonomous: bool = True
    seed: int = 0

    @cached_property
    def residuals(self) -> list[ResidualCheck]:
        """One for each coordinate; none where there are too few transitions, or no densities."""
        if len(self.uniforms) < 2 or not self.uniforms.isfinite().all():
            return []
        return residual_checks(self.uniforms, self.test.pairs().path, self.test.names)

    @cached_property
    def rate(self) -> StepRate:
        """How far the drift turns within a step."""
        return step_rate(self.sde.drift, self.test.double().pairs())

    @cached_property
    def energy(self) -> EnergyTest | None:
        """None where there is one path only, or never two at about the same time."""
        try:
            return energy_test(self.resimulated, derived_seed(self.seed, "energy"))
        except InputError:
            return None

    @cached_property
    def autocorrelation(self) -> Autocorrelation | None:
        """Of the first few coordinates; None where no path has three observations."""
        few = self.resimulated
        few = replace(
            few, observed=few.observed[:, :_SHOWN], simulated=few.simulated[..., :_SHOWN]
        )
        try:
            return autocorrelation(few, self.test, derived_seed(self.seed, "autocorrelation"))
        except InputError:
            return None

    @cached_property
    def extrapolated(self) -> float:
        """The share of re-simulated states outside the training data."""
        return extrapolation_share(self.train.x, self.resimulated.simulated.flatten(0, 1))

    @cached_property
    def rotation(self) -> float | None:
        """The rotational share of the force; None in one dimension, in many, or without noise."""
        if not (1 < self.train.dim <= _ROTATION_DIMS and self.autonomous):
            return None
        x = self.train.x[:: 1 + len(self.train) // _ROTATION_POINTS]
        try:
            return rotational_share(self.sde, x)
        except InputError:
            return None

    @cached_property
    def forecast(self) -> Forecast | None:
        """Beyond the data, from the paths that last to their end; None where paths run away."""
        data = self.train.double()
        times, step = _future(data)
        seed = derived_seed(self.seed, "forecast")
        now = last_states(self.train, near_end=True)
        try:
            return forecast(self.sde, now, times, paths=_FORECAST_PATHS, seed=seed, step=step)
        except InputError:
            return None

    def metrics(self) -> Metrics:
        """The figures, flat; of the residuals those of the worst coordinate."""
        checks = self.residuals
        out: Metrics = {}
        if checks:
            out["residual_mean_worst"] = max((c.mean for c in checks), key=abs)
            out["residual_variance_worst"] = max(
                (c.variance for c in checks), key=lambda v: abs(v - 1)
            )
            out["residual_kurtosis_worst"] = max((c.kurtosis for c in checks), key=abs)
        out |= {
            "step_rate_q99": self.rate.quantile99,
            "step_rate_max": self.rate.largest,
            "extrapolation_share": self.extrapolated,
        }
        if self.energy is not None:
            out["energy_p"] = self.energy.p_value
        if self.autocorrelation is not None:
            out["autocorrelation_p"] = self.autocorrelation.p_value
        if self.rotation is not None:
            out["rotational_share"] = self.rotation
        return out


def diagnostic_panels(evidence: Evidence) -> list[Panel]:
    """What was checked, the residuals, autocorrelation, energy distance, and the long run."""
    names = tuple(evidence.test.names[:_SHOWN])
    out: list[Panel] = [summary_table(evidence)]
    if evidence.residuals:
        out.append(residual_table(evidence.residuals))
        for j, name in enumerate(names):
            uniforms = evidence.uniforms
            out += [pit_chart(uniforms[:, j], name), worm_chart(uniforms, j, name)]
    if evidence.scores:
        out.append(likelihood_table(evidence.scores))
    if evidence.energy is not None:
        out.append(energy_chart(evidence.energy))
    if evidence.autocorrelation is not None:
        out += [
            autocorrelation_chart(evidence.autocorrelation, j, name)
            for j, name in enumerate(names)
        ]
    return out + _long_run(evidence, names)


def _long_run(evidence: Evidence, names: tuple[str, ...]) -> list[Panel]:
    out: list[Panel] = []
    data, sde = evidence.train.double(), evidence.sde
    if evidence.autonomous and data.dim == 1:
        low, high = float(data.x.min()), float(data.x.max())
        out += stationary_charts(sde, names[0], low, high, last_states(data))
        # Of nearly all of the data: from the whole range next to nothing ever leaves.
        inner = np.quantile(data.x[:, 0].numpy(), (0.005, 0.995))
        chart = exit_time_chart(sde, names[0], float(inner[0]), float(inner[1]))
        out += [chart] if chart is not None else []
    if evidence.autonomous and data.dim == 2:
        chart = potential_chart(sde, data.x, (names[0], names[1]))
        out += [chart] if chart is not None else []
    if evidence.forecast is not None:
        shown = replace(evidence.forecast, states=evidence.forecast.states[..., : len(names)])
        out += forecast_charts(shown, names)
    return out


def summary_table(evidence: Evidence) -> Table:
    """All checks on one page: a figure each, and what it says."""
    bad = [c for c in evidence.residuals if c.verdict() != "nothing found"]
    rows: list[tuple[str, str | float, str]] = [
        (
            "residuals with a finding",
            f"{len(bad)} of {len(evidence.residuals)}",
            "see the table of residuals" if bad else "nothing found",
        ),
        ("step × |∂ᵢfᵢ|, 99 %", evidence.rate.quantile99, evidence.rate.verdict()),
        ("step × |∂ᵢfᵢ|, maximum", evidence.rate.largest, ""),
        (
            "re-simulated states outside the data",
            f"{evidence.extrapolated:.2%}",
            "hardly any" if evidence.extrapolated < 0.01 else "there the fit is extrapolation",
        ),
    ]
    if evidence.energy is not None:
        p = evidence.energy.p_value
        rows.append(("re-simulated against held out, p-value", p, _difference(p)))
    if evidence.autocorrelation is not None:
        p = evidence.autocorrelation.p_value
        rows.append(("autocorrelation, p-value", p, _difference(p)))
    if evidence.rotation is not None:
        share = evidence.rotation
        says = "has an effective potential" if share <= 0.05 else "circulates: no potential"
        rows.append(("rotational share of the force", f"{share:.1%}", says))
    return Table(
        "Checks",
        "On held-out paths. No single one proves a fit right; each can prove it wrong.",
        ("check", "figure", "says"),
        rows,
    )


def residual_table(checks: Sequence[ResidualCheck]) -> Table:
    """The numbers of the standardised residuals, and a verdict in words."""
    return Table(
        "Standardised residuals",
        "Held-out transitions, standardised by what the fit predicts: independent with mean 0, "
        "variance 1 and excess kurtosis 0 if all is right. ± is the standard error of a right "
        "fit; p-values are of a uniform probability integral transform (KS) and of no correlation "
        "along the paths (Ljung-Box, 5 lags).",
        ("", "mean", "variance", "kurtosis", "lag one", "p (KS)", "p (Ljung-Box)", "says"),
        [
            (
                c.name,
                f"{c.mean:.3f} ± {c.mean_se:.3f}",
                f"{c.variance:.3f} ± {c.variance_se:.3f}",
                f"{c.kurtosis:.2f} ± {c.kurtosis_se:.2f}",
                _with_error(c.autocorrelation, c.autocorrelation_se),
                f"{c.ks_p:.2g}",
                "" if math.isnan(c.ljung_box_p) else f"{c.ljung_box_p:.2g}",
                c.verdict(),
            )
            for c in checks
        ],
    )


def likelihood_table(scores: Mapping[str, LikelihoodScore]) -> Table:
    """The held-out log-likelihood of every likelihood that was tried, the best first."""
    ranked = sorted(scores.items(), key=lambda item: -item[1].mean)
    return Table(
        "Likelihoods",
        "Held-out log-likelihood in nats per transition, ± its standard error over paths; the gap "
        "is to the most accurate likelihood with the same drift and diffusion: where it is large, "
        "the step is too long for the likelihood.",
        ("likelihood", "log-likelihood", "gap"),
        [
            (
                name,
                _with_error(score.mean, score.standard_error, 4),
                "" if score.gap is None else _with_error(score.gap, score.gap_error, 4),
            )
            for name, score in ranked
        ],
    )


def pit_chart(u: Tensor, name: str) -> Chart:
    """The histogram of the probability integral transform of one coordinate, `(n,)`."""
    n = len(u)
    heights, edges = np.histogram(u.double().numpy(), _BARS, (0.0, 1.0))
    low, high = (binom.ppf(q, n, 1 / _BARS) * _BARS / n for q in (0.025, 0.975))
    ends = np.array([0.0, 1.0])
    return Chart(
        f"Probability integral transform of {name}",
        "Flat if the fit is right: 95 % of the bars end within the band. A hump: too much noise "
        "predicted; a valley: too little; a slope: a drift that is off.",
        Axes("u", "density", (0.0, 1.0)),
        [
            Bars("held-out transitions", Role.DATA, edges, heights * _BARS / n),
            Band("95 % if uniform", Role.FIT, ends, np.full(2, low), np.full(2, high)),
            Line("uniform", Role.FIT, ends, np.ones(2), dashed=True),
        ],
    )


def worm_chart(u: Tensor, j: int, name: str) -> Chart:
    """Quantiles of the residuals of coordinate j less those of a normal (van Buuren 2001)."""
    z = np.sort(normal_scores(u[:, [j]])[:, 0])
    n = len(z)
    # Evenly in the normal quantile, so that the tails are drawn too.
    end = float(norm.ppf(n / (n + 1)))
    even = np.asarray(norm.cdf(np.linspace(-end, end, _WORM)))
    rank = np.unique((even * (n + 1)).round().clip(1, n))
    expected = norm.ppf(rank / (n + 1))
    low, high = (norm.ppf(beta.ppf(q, rank, n + 1 - rank)) - expected for q in (0.025, 0.975))
    return Chart(
        f"Worm plot of the residuals of {name}",
        "How far each quantile of the residuals is from that of a normal: within the band if the "
        "fit is right. A shift: drift; a slope: diffusion; an S: tails.",
        Axes("normal quantile", "deviation"),
        [
            Band("95 % if normal", Role.FIT, expected, low, high),
            Points("residuals", Role.DATA, expected, z[rank.astype(int) - 1] - expected),
            Line("normal", Role.FIT, expected, np.zeros(len(expected)), dashed=True),
        ],
    )


def energy_chart(test: EnergyTest) -> Chart:
    """Energy distances through time, over what they are without a difference."""
    return Chart(
        "Re-simulated against held-out states",
        "Energy distance between re-simulated and held-out states, over all coordinates jointly, "
        f"and the band of no difference. All times together: p = {test.p_value:.2g}.",
        Axes("t", "energy distance"),
        [
            Band("5-95 % without a difference", Role.DATA, test.times, test.lower, test.upper),
            Line("re-simulated to held out", Role.FIT, test.times, test.distance),
        ],
    )


def autocorrelation_chart(result: Autocorrelation, j: int, name: str) -> Chart:
    """Autocorrelation of coordinate j: held-out paths over the band of re-simulated ones."""
    lags = result.lags
    return Chart(
        f"Autocorrelation of {name}",
        "Of the held-out paths, over 95 % of what as many paths of the fitted equation show. All "
        f"lags together: p = {result.p_value:.2g}.",
        # Lags in geometric progression are seen on a logarithmic axis.
        Axes("lag", "autocorrelation", log_x=bool(lags[-1] > 50 * lags[0])),
        [
            Band("fitted, 95 %", Role.FIT, lags, result.lower[:, j], result.upper[:, j]),
            Line("fitted", Role.FIT, lags, result.expected[:, j]),
            Points("held out", Role.DATA, lags, result.observed[:, j]),
        ],
    )


def last_states(data: Trajectories, near_end: bool = False) -> Tensor:
    """The last state of each path, `(n, d)`; only of those that last to the end of the data."""
    lengths = data.path.unique_consecutive(return_counts=True)[1]
    last = lengths.cumsum(0) - 1
    if near_end:
        t = data.t.double()
        span = t.max() - t.min()
        last = last[t[last] >= t.max() - 0.01 * span]
    return data.x[last]


def _future(data: Trajectories) -> tuple[Tensor, float]:
    """Times of a forecast from the end of the data on, and the step of its simulation.

    As long as 50 observations, or half as long as the data if that is less.
    """
    gap = float(data.pairs().step.median())
    end, span = float(data.t.max()), float(data.t.max() - data.t.min())
    horizon = min(span / 2, _FORECAST_GAPS * gap)
    return torch.linspace(end, end + horizon, 26, dtype=torch.float64), min(gap, horizon) / 5


def _difference(p: float) -> str:
    return "a difference" if p < 0.01 else "perhaps a difference" if p < 0.05 else "none found"


def _with_error(value: float, error: float | None, digits: int = 3) -> str:
    if math.isnan(value):
        return ""
    if error is None or math.isnan(error):
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} ± {error:.{digits}f}"
