"""Diagnostics of fitted SDEs: calibrated where nothing is wrong, and able to see what is."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torchsde
from scipy.spatial.distance import cdist
from scipy.stats import binomtest, kstest

import hollowpde as hp
from hollowpde.likelihoods.transition import DiagonalNormal
from hollowpde.operators import Field
from hollowpde.problem.sde.diagnostic_panels import (
    Evidence,
    diagnostic_panels,
    last_states,
    likelihood_table,
    pit_chart,
    residual_table,
    worm_chart,
)
from hollowpde.problem.sde.diagnostics import (
    autocorrelation,
    energy_test,
    extrapolation_share,
    likelihood_scores,
    residual_checks,
    step_rate,
)
from hollowpde.problem.sde.diagnostics.energy import _distances
from hollowpde.problem.sde.metrics import Resimulated, resimulate
from hollowpde.report.checks import check

PATH = torch.arange(100).repeat_interleave(20)


def uniforms(z):
    return torch.special.ndtr(z.double())


def found(z, path=PATH):
    return [c.verdict() for c in residual_checks(uniforms(z), path)]


def test_residuals_of_a_right_fit_are_calibrated():
    """Over many sets p-values are uniform, and statistics spread by their standard errors."""
    generator = torch.Generator().manual_seed(0)
    checks = [
        residual_checks(torch.rand(2000, 1, generator=generator, dtype=torch.float64), PATH)[0]
        for _ in range(150)
    ]
    for p in ("ks_p", "ljung_box_p"):
        assert kstest([getattr(c, p) for c in checks], "uniform").pvalue > 0.005
    for value, error, centre in (("mean", "mean_se", 0), ("variance", "variance_se", 1),
                                 ("kurtosis", "kurtosis_se", 0),
                                 ("autocorrelation", "autocorrelation_se", 0)):  # fmt: skip
        scores = [(getattr(c, value) - centre) / getattr(c, error) for c in checks]
        assert abs(np.mean(scores)) < 0.35 and 0.8 < np.std(scores) < 1.2, value
    assert sum(c.verdict() != "nothing found" for c in checks) <= 5


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda z: z + 0.3, "states end above"),
        (lambda z: z - 0.3, "states end below"),
        (lambda z: 1.3 * z, "diffusion too small"),
        (lambda z: 0.8 * z, "diffusion too large"),
        (lambda z: z * (1 + 0.5 * z.square()) / 2.1, "heavier tails"),
        (lambda z: z.clamp(-1.2, 1.2) * 1.25, "lighter tails"),
        (lambda z: (z + 0.6 * z.roll(1, 0)) / 1.166, "memory"),
        (lambda z: (z - 0.6 * z.roll(1, 0)) / 1.166, "noise of the observations"),
        (lambda z: torch.where(z > 0, 0.5, 1.33) * z + 0.33, "shape|tails"),
    ],
)
def test_residuals_name_what_is_wrong(change, says):
    z = torch.randn(2000, 2)
    right, wrong = found(torch.stack([z[:, 0], change(z[:, 1])], 1))
    assert right == "nothing found"
    assert any(word in wrong for word in says.split("|")), wrong


def test_a_deviation_that_is_certain_but_small_is_said_to_be_so():
    n = 400_000
    (says,) = found(torch.randn(n, 1) + 0.01, torch.zeros(n, dtype=torch.long))
    assert "too little to matter" in says


def test_correlation_is_along_paths_and_not_across_them():
    """Pairs of equal residuals at the joints of short paths are no memory."""
    path = torch.arange(1000).repeat_interleave(2)
    z = torch.randn(2000, 1)
    z[2::2] = z[1:-1:2]
    (check,) = residual_checks(uniforms(z), path)
    assert abs(check.autocorrelation) < 4 * check.autocorrelation_se
    assert check.autocorrelation_se == pytest.approx(1 / math.sqrt(1000))
    (single,) = residual_checks(uniforms(z), torch.arange(2000))
    assert math.isnan(single.ljung_box_p) and single.verdict() == "nothing found"


def test_residuals_at_the_edge_of_rounding_stay_finite_and_others_are_refused():
    u = torch.rand(100, 1)
    u[:2, 0] = torch.tensor([0.0, 1.0])
    (check,) = residual_checks(u, torch.zeros(100))
    assert math.isfinite(check.kurtosis)
    u[3] = math.nan
    with pytest.raises(hp.InputError, match="NaN"):
        residual_checks(u, torch.zeros(100))
    with pytest.raises(hp.InputError, match="path"):
        residual_checks(u, torch.zeros(99))


def test_scores_have_the_standard_errors_of_independent_paths():
    """Transitions of a path that are all alike count as one."""
    generator = torch.Generator().manual_seed(0)
    means = []
    for _ in range(200):
        logs = torch.randn(100, generator=generator).repeat_interleave(20)
        score = likelihood_scores({"a": logs, "b": logs - 1}, PATH, "a")
        assert score["b"].gap == pytest.approx(1) and score["b"].gap_error < 1e-6
        means.append((score["a"].mean, score["a"].standard_error))
    means = np.array(means)
    assert means[:, 1].mean() == pytest.approx(means[:, 0].std(), rel=0.15)
    with pytest.raises(hp.InputError, match="did you mean 'moment'"):
        likelihood_scores({"moment": torch.zeros(2000)}, PATH, "momnet")
    with pytest.raises(hp.InputError, match="shape"):
        likelihood_scores({"moment": torch.zeros(7)}, PATH, "moment")


class Linear(Field):
    """The drift -k x, with a different k for each coordinate."""

    def __init__(self, *rates):
        super().__init__()
        self.rates = torch.tensor(rates)

    def dimwise(self, t, x, order):
        k = self.rates.to(x)
        return (-k * x, (-k).expand_as(x), *(torch.zeros_like(x) for _ in range(order - 1)))[
            : order + 1
        ]


def test_the_rate_of_a_step():
    t = torch.tensor([0.0, 0.1, 0.5])
    pairs = hp.Trajectories.from_dense(t, torch.randn(30, 3, 2)).pairs()
    rate = step_rate(Linear(1.0, 3.0), pairs)
    assert rate.largest == pytest.approx(0.4 * 3) and rate.quantile99 == pytest.approx(0.4 * 3)
    assert "moment" in rate.verdict()
    assert "Euler" in step_rate(Linear(1.0, 1.0), pairs).verdict()
    assert "every" in step_rate(Linear(0.1, 0.1), pairs).verdict()


def as_pairs(walk):
    """Walks (1 + replicates, paths, times, d), the first observed, as rows to compare."""
    replicates, n, length, d = walk.shape
    rows = walk.reshape(replicates, n * length, d)
    return Resimulated(
        path=torch.arange(n).repeat_interleave(length),
        window=torch.arange(length).repeat(n),
        times=torch.arange(length) + 1.0,
        observed=rows[0],
        simulated=rows[1:],
    )


def test_energy_distances_are_those_of_the_definition():
    generator = np.random.default_rng(0)
    pool = generator.normal(size=(3, 20, 2))
    pool /= pool.reshape(-1, 2).std(0)
    chosen = generator.integers(3, size=(5, 20))
    for k, distance in enumerate(_distances(pool, chosen)):
        is_first = chosen[k] == np.arange(3)[:, None]
        x, y = pool[is_first], pool[~is_first]
        direct = 2 * cdist(x, y).mean() - cdist(x, x).mean() - cdist(y, y).mean()
        assert distance == pytest.approx(direct, abs=1e-5)


def test_energy_p_values_are_calibrated():
    """Along correlated paths, over all times together and for each."""
    generator = torch.Generator().manual_seed(1)
    together, each = [], []
    for seed in range(100):
        walk = torch.randn(5, 25, 5, 2, generator=generator).cumsum(2)
        test = energy_test(as_pairs(walk), seed, permutations=99)
        together.append(test.p_value)
        each.append(test.p_values[2])
    for p in (together, each):
        assert kstest(p, "uniform").pvalue > 0.005
        assert binomtest(int(np.sum(np.array(p) <= 0.05)), 100, 0.05).pvalue > 0.005


def test_energy_sees_a_correlation_that_no_marginal_shows():
    generator = torch.Generator().manual_seed(0)
    walk = torch.randn(5, 200, 3, 2, generator=generator)
    right = energy_test(as_pairs(walk), 0)
    walk[0, ..., 1] = 0.8 * walk[0, ..., 0] + 0.6 * walk[0, ..., 1]
    wrong = energy_test(as_pairs(walk), 0)
    assert right.p_value > 0.02 and wrong.p_value < 0.01
    assert (wrong.distance > wrong.upper).all()
    runaway = walk.clone()
    runaway[1:, :40], runaway[1, 50:60] = math.inf, math.nan
    far = energy_test(as_pairs(runaway), 0)
    assert far.p_value < 0.01 and np.isfinite(far.distance).all()
    with pytest.raises(hp.InputError, match="two paths"):
        energy_test(as_pairs(walk[:, :1]), 0)


class OU(torchsde.SDEIto):
    """A two-dimensional process with fields, as a fit gives them."""

    def __init__(self, rate=1.0, noise=0.7):
        super().__init__("diagonal")
        self.rate, self.noise = rate, noise
        self.drift = Linear(rate, 2 * rate)

    def f(self, t, y):
        return self.drift(t, y)

    def g(self, t, y):
        return self.noise * torch.ones_like(y)


TIMES = torch.linspace(0, 4, 21)


def held_out(n=150, seed=1, length=21):
    start = lambda k, g: 0.5 * torch.randn(k, 2, generator=g)  # noqa: E731
    return hp.simulate(OU(), start, TIMES[:length], n, seed)


def test_autocorrelations_are_those_of_the_process():
    data = held_out(400)
    result = autocorrelation(resimulate(OU(), data, 0), data, 0)
    assert np.allclose(result.lags, 0.2 * np.arange(1, 10), rtol=1e-5)
    for j, rate in ((0, 1.0), (1, 2.0)):
        # Stationary from the second coordinate on; the first starts at the stationary spread.
        assert np.allclose(result.expected[:, j], np.exp(-rate * result.lags), atol=0.06)
    assert result.p_value > 0.02
    # The observed curve is the plain one: products of all pairs that far apart, around the mean.
    x = data.x.reshape(400, 21, 2)[:, 1:]
    x = x - x.mean((0, 1))
    for k, lag in enumerate((1, 2, 3)):
        direct = (x[:, lag:] * x[:, :-lag]).mean((0, 1)) / x.square().mean((0, 1))
        assert np.allclose(result.observed[k], direct, atol=1e-5)


def test_autocorrelation_p_values_and_bands_are_calibrated():
    generator = torch.Generator().manual_seed(0)
    p, outside = [], []
    for seed in range(100):
        # As many walks as five data sets, of which the first states are only where they start.
        walk = torch.randn(5, 30, 9, 1, generator=generator).cumsum(2)
        data = hp.Trajectories.from_dense(torch.arange(10.0), torch.cat(
            [torch.zeros(30, 1, 1), walk[0]], 1))  # fmt: skip
        result = autocorrelation(as_pairs(walk), data, seed)
        p.append(result.p_value)
        outside.append((result.observed < result.lower) | (result.observed > result.upper))
    assert kstest(p, "uniform").pvalue > 0.005
    assert 0.01 < np.mean(outside) < 0.09


def test_autocorrelations_see_a_wrong_memory():
    data = held_out(100)
    # As much spread, but slower.
    slow = OU(rate=0.5, noise=0.7 * math.sqrt(0.5))
    assert autocorrelation(resimulate(slow, data, 0), data, 0).p_value < 0.01


def test_autocorrelations_are_around_the_mean_of_each_set_of_paths():
    data = held_out(20)
    pairs = resimulate(OU(), data, 0)
    shifted = replace(pairs, simulated=pairs.observed.expand_as(pairs.simulated) + 3)
    result = autocorrelation(shifted, data, 0)
    assert np.allclose(result.lower, result.observed) and np.allclose(
        result.upper, result.observed
    )


def test_autocorrelations_at_irregular_times_and_of_one_path():
    generator = torch.Generator().manual_seed(0)
    fine = hp.simulate(OU(), torch.zeros(2), torch.linspace(0, 6, 31), 60, 3)
    kept = torch.rand(len(fine), generator=generator) < 0.7
    data = fine.select(kept)
    result = autocorrelation(resimulate(OU(), data, 0), data, 0)
    assert result.p_value > 0.02
    near = (result.lags > 0.3) & (result.lags < 1)
    assert np.allclose(result.observed[near, 0], np.exp(-result.lags[near]), atol=0.2)
    one = fine.select(fine.path == 0)
    alone = autocorrelation(resimulate(OU(), one, 0), one, 0)
    assert len(alone.lags) <= 24 and alone.lags[-1] > 2.5
    with pytest.raises(hp.InputError, match="three observations"):
        short = held_out(5, length=2)
        autocorrelation(resimulate(OU(), short, 0), short, 0)
    with pytest.raises(hp.InputError, match="held_out must be"):
        autocorrelation(resimulate(OU(), one, 0), data, 0)


def test_extrapolation_is_counted_where_there_are_no_data():
    generator = torch.Generator().manual_seed(0)
    draw = lambda n: torch.randn(n, 3, generator=generator)  # noqa: E731
    # A ring: its middle is within the range of every coordinate, and holds no data.
    angle = 6.2832 * torch.rand(4000, generator=generator)
    ring = torch.stack([angle.cos(), angle.sin()], 1)
    ring = ring * (1 + 0.05 * draw(4000)[:, :1])
    assert extrapolation_share(ring[:2000], ring[2000:]) < 0.01
    assert extrapolation_share(ring, 0.1 * draw(100)[:, :2]) == 1
    train = draw(8000) * torch.tensor([1e6, 1.0, 1e-6])
    new = draw(8000) * torch.tensor([1e6, 1.0, 1e-6])
    assert extrapolation_share(train, new) == pytest.approx(0.001, abs=0.002)
    new[:800, 2] += 2e-5
    new[800] = math.nan
    assert extrapolation_share(train, new) == pytest.approx(0.1, abs=0.01)
    with pytest.raises(hp.InputError, match="more than 5 points"):
        extrapolation_share(train[:5], new)
    with pytest.raises(hp.InputError, match="shapes"):
        extrapolation_share(train[:, :2], new)


def evidence(sde, data, train):
    pairs = data.double().pairs()
    step = pairs.step.unsqueeze(1)
    k = sde.drift.rates.double()
    variance = sde.noise**2 * -torch.expm1(-2 * k * step) / (2 * k)
    exact = DiagonalNormal(pairs.x * torch.exp(-k * step), variance)
    euler = DiagonalNormal(pairs.x * (1 - k * step), sde.noise**2 * step.expand_as(variance))
    logs = {"exact": exact.log_prob(pairs.x_next), "Euler": euler.log_prob(pairs.x_next)}
    return Evidence(
        sde=sde,
        train=train,
        test=data,
        resimulated=resimulate(sde, data, 0),
        uniforms=exact.uniforms(pairs.x_next),
        scores=likelihood_scores(logs, pairs.path, "exact"),
    )


def test_all_panels_of_a_right_and_of_a_wrong_fit():
    train, test = held_out(300, 2, 11), held_out(150, 3, 11)
    right, wrong = (evidence(sde, test, train) for sde in (OU(), OU(noise=1.0)))
    panels = diagnostic_panels(right)
    for panel in panels:
        check(panel)
    assert len({panel.title for panel in panels} - {"Effective potential"}) == len(panels) - 1
    summary = {row[0]: row[2] for row in panels[0].rows}
    assert summary["residuals with a finding"] == "nothing found"
    assert summary["re-simulated against held out, p-value"] == "none found"
    assert summary["rotational share of the force"] == "has an effective potential"
    table = likelihood_table(right.scores)
    assert table.rows[0][0] == "exact" and table.rows[0][2].startswith("0.0000")
    metrics = right.metrics()
    assert metrics["energy_p"] > 0.01 and metrics["extrapolation_share"] < 0.02
    assert metrics["step_rate_max"] == pytest.approx(0.4)
    assert wrong.metrics()["residual_variance_worst"] == pytest.approx(0.49, abs=0.05)
    says = {row[0]: row[2] for row in diagnostic_panels(wrong)[0].rows}
    assert says["re-simulated against held out, p-value"] == "a difference"
    assert "diffusion too large" in residual_table(wrong.residuals).rows[0][-1]


def test_one_path_and_paths_that_end_at_different_times():
    data = held_out(1)
    few = evidence(OU(), data, held_out(3, 2))
    assert few.energy is None and "energy_p" not in few.metrics()
    for panel in diagnostic_panels(few):
        check(panel)
    ragged = hp.Trajectories(
        torch.tensor([0.0, 1.0, 0.0, 1.0, 2.0]), torch.arange(5.0)[:, None],
        torch.tensor([0, 0, 1, 1, 1]),
    )  # fmt: skip
    assert last_states(ragged).flatten().tolist() == [1, 4]
    assert last_states(ragged, near_end=True).flatten().tolist() == [4]


def test_the_bands_of_the_charts_hold_a_right_fit():
    outside, bars = 0, 0
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        u = torch.rand(1000, 1, generator=generator, dtype=torch.float64)
        histogram, band, _ = pit_chart(u[:, 0], "x").marks
        heights = histogram.heights
        assert (heights * np.diff(histogram.edges)).sum() == pytest.approx(1)
        outside += ((heights < band.lower[0]) | (heights > band.upper[0])).sum()
        bars += len(heights)
        band, points, _ = worm_chart(u, 0, "x").marks
        beyond = ((points.y < band.lower) | (points.y > band.upper)).mean()
        assert beyond < 0.7
    assert 0.005 < outside / bars < 0.08
    band, points, _ = worm_chart(uniforms(1.3 * torch.randn(1000, 1)), 0, "x").marks
    assert (points.y[-20:] > band.upper[-20:]).mean() > 0.5
