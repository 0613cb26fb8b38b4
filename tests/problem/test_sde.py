"""Figures and units of SDE problems, against independent ways to the same numbers."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchsde
from scipy.stats import ks_2samp

import hollowpde as hp
from hollowpde.data import Standardisation
from hollowpde.operators import Field
from hollowpde.problem import Compute
from hollowpde.problem.sde.metrics import (
    Resimulated,
    _ks_distances,
    errors_against_truth,
    marginal_ks_ratio,
    residual_rel_rms,
    resimulate,
    truth_at,
)
from hollowpde.problem.sde.physical_density import PhysicalDensity
from hollowpde.problem.sde.units import PhysicalField
from tests.quick import QUICK


class OU(torchsde.SDEIto):
    def __init__(self):
        super().__init__("diagonal")

    def f(self, t, y):
        assert t.ndim == 0
        return -y

    def g(self, t, y):
        return 0.7 * torch.ones_like(y)


class Formula(Field):
    """A field from its derivatives, one function each."""

    def __init__(self, *functions, dt=None):
        super().__init__()
        self.functions, self.dt = functions, dt

    def dimwise(self, t, x, order):
        return tuple(f(t, x) for f in self.functions[: order + 1])

    def in_time(self, t, x, order):
        return self.dimwise(t, x, order), (self.dt(t, x),)


def paths(n=200, seed=0):
    return hp.simulate(OU(), torch.tensor([2.0]), torch.linspace(0, 2, 6), n, seed)


def fitted(drift=1.0, diffusion=1.0):
    """An OU process with its drift and squared diffusion off by a factor."""
    zero = lambda t, x: torch.zeros_like(x)  # noqa: E731
    f = Formula(lambda t, x: -drift * x, lambda t, x: torch.full_like(x, -drift), zero)
    D = Formula(lambda t, x: torch.full_like(x, 0.49 * diffusion), zero, zero)
    # log N(x; 2 exp(-t), .01 exp(-2t) + .245 (1 - exp(-2t))), and its derivatives by hand
    mean, var = lambda t: 2 * torch.exp(-t), lambda t: 0.245 - 0.235 * torch.exp(-2 * t)
    mean_dt, var_dt = lambda t: -2 * torch.exp(-t), lambda t: 0.47 * torch.exp(-2 * t)

    def log_p(t, x):
        z2 = (x[..., 0] - mean(t)) ** 2 / var(t)
        return -0.5 * (z2 + torch.log(2 * math.pi * var(t)))

    def log_p_dt(t, x):
        e = x[..., 0] - mean(t)
        return (
            e * mean_dt(t) / var(t) + 0.5 * e**2 * var_dt(t) / var(t) ** 2
            - 0.5 * var_dt(t) / var(t)
        )  # fmt: skip

    density = Formula(
        log_p,
        lambda t, x: -(x - mean(t)[:, None]) / var(t)[:, None],
        lambda t, x: -1 / var(t)[:, None].expand_as(x),
        dt=log_p_dt,
    )
    return SimpleNamespace(sde=SimpleNamespace(drift=f, diffusion=D), density=density)


def test_errors_are_relative_and_of_the_squared_diffusion():
    metrics = errors_against_truth(fitted(1.1, 0.8), OU(), paths())
    assert metrics["drift_rel_l2"] == pytest.approx(0.1, rel=1e-5)
    assert metrics["diffusion_rel_l2"] == pytest.approx(0.2, rel=1e-5)


def test_the_worst_dimension():
    class Two(OU):
        def f(self, t, y):
            return torch.tensor([10.0, 1.0]) * torch.ones_like(y)

    off = torch.tensor([10.0, 2.0])
    learned = SimpleNamespace(
        sde=SimpleNamespace(
            drift=Formula(lambda t, x: off.expand_as(x)),
            diffusion=Formula(lambda t, x: torch.full_like(x, 0.49)),
        )
    )
    data = hp.Trajectories.from_dense(torch.arange(3.0), torch.randn(5, 3, 2))
    metrics = errors_against_truth(learned, Two(), data)
    assert metrics["drift_rel_l2"] == pytest.approx(1 / math.sqrt(101), rel=1e-5)
    assert metrics["drift_rel_l2_worst"] == pytest.approx(1.0, rel=1e-5)


def test_a_truth_of_the_wrong_shape_is_named():
    class Misshapen(OU):
        def g(self, t, y):
            return torch.ones(3)

    with pytest.raises(hp.InputError, match=r"truth.g must return the shape \(200, 1\)"):
        truth_at(Misshapen(), paths())


def test_the_residual_vanishes_on_the_true_equation_and_only_there():
    data = paths().select(paths().t > 0)
    assert residual_rel_rms(fitted(), data) < 1e-5
    assert residual_rel_rms(fitted(drift=1.1), data) > 0.02
    assert residual_rel_rms(fitted(diffusion=1.1), data) > 0.02


def test_ks_distances_are_those_of_scipy():
    generator = np.random.default_rng(0)
    values = generator.normal(size=60)
    labels = generator.random((20, 60)) < 0.3
    expected = [ks_2samp(values[first], values[~first]).statistic for first in labels]
    assert np.allclose(_ks_distances(values, labels), expected, atol=1e-6)


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


def test_the_ks_ratio_is_calibrated():
    """With no difference it exceeds 1 in about one case of twenty."""
    generator = torch.Generator().manual_seed(0)
    above = 0
    for seed in range(100):
        walk = torch.randn(5, 40, 6, 2, generator=generator).cumsum(2)
        above += marginal_ks_ratio(as_pairs(walk), seed) > 1
    assert 1 <= above <= 12  # outside with probability .01


def test_the_ks_ratio_sees_a_difference_in_one_dimension_at_one_time():
    generator = torch.Generator().manual_seed(0)
    walk = torch.randn(5, 200, 6, 2, generator=generator).cumsum(2)
    walk[0, :, 3, 1] += 1.5
    assert marginal_ks_ratio(as_pairs(walk), 0) > 1.3


def test_a_handful_of_paths_does_not_hide_what_many_show():
    generator = torch.Generator().manual_seed(0)
    walk = torch.randn(5, 200, 3, 1, generator=generator).cumsum(2)
    walk[0, :, 1] += 1.0
    pairs = as_pairs(walk)
    odd = replace(
        pairs,
        path=torch.cat([pairs.path, torch.tensor([200])]),
        window=torch.cat([pairs.window, torch.tensor([3])]),
        times=torch.arange(4.0),
        observed=torch.cat([pairs.observed, torch.zeros(1, 1)]),
        simulated=torch.cat([pairs.simulated, torch.ones(4, 1, 1)], dim=1),
    )
    assert marginal_ks_ratio(odd, 0) > 1.3


class Wrong(OU):
    def f(self, t, y):
        return -y + 1.5


@pytest.mark.parametrize("irregular", [False, True])
def test_resimulation_tells_a_wrong_drift_from_the_right_one(irregular):
    """On common times, and with times and starts of each path's own."""
    n = 120
    if irregular:
        # Each path is a stretch of a finely simulated one, seen at random times.
        fine = hp.simulate(OU(), torch.tensor([2.0]), torch.linspace(0, 2, 201), n, seed=4)
        generator = torch.Generator().manual_seed(0)
        rows = []
        for k in range(n):
            start = int(torch.randint(60, (1,), generator=generator))
            seen = torch.randperm(140, generator=generator)[:8].sort().values + start
            rows.append(seen + 201 * k)
        data = fine.select(torch.cat(rows))
    else:
        data = paths(n, seed=4)
    assert marginal_ks_ratio(resimulate(OU(), data, seed=4), 0) < 1.1
    assert marginal_ks_ratio(resimulate(Wrong(), data, seed=4), 0) > 1.5


def test_resimulated_paths_start_where_the_observed_do():
    ragged = hp.Trajectories(
        torch.tensor([0.0, 1.0, 2.0, 0.5, 1.0, 0.0, 1.0, 2.0, 0.0]),
        torch.tensor([[5.0], [0.0], [0.0], [9.0], [0.0], [7.0], [0.0], [0.0], [1.0]]),
        torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 3]),
    )

    class Still(OU):
        def f(self, t, y):
            return torch.zeros_like(y)

        def g(self, t, y):
            return torch.zeros_like(y)

    pairs = resimulate(Still(), ragged, seed=0)
    assert pairs.path.tolist() == [0, 0, 1, 2, 2]
    assert pairs.times[pairs.window].tolist() == [1, 2, 1, 1, 2]
    for simulated in pairs.simulated:
        assert simulated[:, 0].tolist() == [5, 5, 9, 7, 7]
    moving = resimulate(OU(), ragged, seed=0).simulated
    assert not torch.equal(moving[0], moving[1])


def test_resimulation_does_not_repeat_the_noise_of_the_data():
    """With the same seed for data and fit, as by default."""
    data = hp.simulate(OU(), torch.zeros(1), torch.tensor([0.0, 1.0]), 300, seed=0)
    pairs = resimulate(OU(), data, seed=0)
    for simulated in pairs.simulated:
        both = torch.stack([pairs.observed[:, 0], simulated[:, 0]])
        assert abs(torch.corrcoef(both)[0, 1].item()) < 0.2


def test_units():
    """Standardise, differentiate there, come back: the same as differentiating here."""
    units = Standardisation(2)
    units.shift.copy_(torch.tensor([3.0, -1.0]))
    units.scale.copy_(torch.tensor([2.0, 0.5]))
    units.t_shift.fill_(10.0)
    units.t_scale.fill_(4.0)
    t = torch.full((6,), 11.0, dtype=torch.float64)
    x = torch.randn(6, 2, dtype=torch.float64)
    z, tau = (x - units.shift) / units.scale, (t - 10) / 4
    net = hp.HollowNet(2).double()
    drift, diffusion = PhysicalField(net, units, 1), PhysicalField(net, units, 2)
    # dx = scale dz, dt = t_scale dtau
    assert torch.allclose(drift(t, x), net(tau, z) * units.scale / 4)
    assert torch.allclose(diffusion(t, x), net(tau, z) * units.scale**2 / 4)
    density = PhysicalDensity(hp.GaussianMixture(2, 3).double(), units)
    for field in (drift, diffusion, density):
        exact = hp.dimwise(field, t, x, order=3)
        brute = hp.reference.dimwise(field, t, x, order=3)
        for a, b in zip(exact, brute, strict=True):
            assert torch.allclose(a, b)
    step = torch.linspace(-30, 30, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(step + 3, step / 4 - 1)
    p = density.log_prob(11.0, grid).exp().reshape(401, 401)
    mass = torch.trapezoid(torch.trapezoid(p, step / 4), step)
    assert mass.item() == pytest.approx(1, abs=1e-6)
    moved = (density.log_prob(t + 1e-5, x) - density.log_prob(t - 1e-5, x)) / 2e-5
    assert torch.allclose(density.in_time(t, x, 0)[1][0], moved, atol=1e-7)


def test_the_start_of_a_fit_is_scaled_to_the_data():
    data = hp.simulate(OU(), torch.tensor([2.0]), torch.linspace(0, 2, 21), 500)
    shifted = hp.Trajectories(data.t.double() * 1e6, data.x.double() * 1e-3 + 7, data.path)
    for trajectories, x_unit, t_unit in ((data, 1.0, 1.0), (shifted, 1e-3, 1e6)):
        fit = hp.SDEProblem(name="a", data=trajectories).begin(Compute())
        at = trajectories.x[:50]
        D = PhysicalField(fit.model.diffusion, fit.model.standardisation, 2)(0.0, at)
        assert 0.3 < float(D.detach().mean()) / (0.49 * x_unit**2 / t_unit) < 1.7


def test_a_fit_learns(tmp_path):
    """A short fit finds a drift and diffusion far better than the zero ones and the initial."""
    data = hp.simulate(
        OU(), lambda n, g: 2 + 0.4 * torch.randn(n, 1, generator=g), torch.linspace(0, 2, 11), 1000
    )
    problem = hp.SDEProblem(name="ou", data=data, truth=OU())
    quick = [q for q in QUICK if not q.startswith(("data", "transition"))]
    run = hp.fit(problem, tmp_path / "run",
                 overrides=[*quick, "transition.optimiser.steps=600",
                            "transition.late_batch=512"])  # fmt: skip
    assert run.metrics["drift_rel_l2"] < 0.15
    assert run.metrics["diffusion_rel_l2"] < 0.1


def test_components_are_chosen_by_held_out_likelihood(tmp_path):
    """Two well separated modes need two components, and no more."""
    generator = torch.Generator().manual_seed(0)
    side = 4.0 * (torch.rand(400, 1, 1, generator=generator) < 0.5) - 2.0
    x = side + 0.3 * torch.randn(400, 4, 1, generator=generator)
    data = hp.Trajectories.from_dense(torch.arange(4.0), x)
    problem = hp.SDEProblem(name="modes", data=data)
    run = hp.fit(problem, tmp_path / "run", overrides=[
        "transition.optimiser.steps=20", "density.components=1,2,3,5",
        "density.optimiser.steps=200", "density.refine.steps=0",
    ])  # fmt: skip
    assert run.metrics["components"] == 2


def test_time_stamps_irregular_times_and_short_paths(tmp_path):
    """Seconds since 1970, every path with times of its own, some seen once only."""
    generator = torch.Generator().manual_seed(0)
    t, x, path = [], [], []
    for k in range(60):
        length = 1 if k % 7 == 0 else 5
        start = 100.0 * torch.rand(1, generator=generator, dtype=torch.float64)
        gaps = 20.0 + 100.0 * torch.rand(length, generator=generator, dtype=torch.float64)
        t.append(1.7e9 + start + gaps.cumsum(0))
        x.append(torch.randn(length, 2, generator=generator).cumsum(0))
        path.append(torch.full((length,), k))
    data = hp.Trajectories(torch.cat(t), torch.cat(x), torch.cat(path))
    problem = hp.SDEProblem(name="stamps", data=data)
    quick = [q for q in QUICK if not q.startswith("data")]
    run = hp.fit(problem, tmp_path / "run", overrides=quick)
    assert all(math.isfinite(v) for v in run.metrics.values())
    at = 1.7e9 + torch.tensor([100.0, 150.0, 300.0], dtype=torch.float64)
    log_p = run.density.log_prob(at, torch.zeros(3, 2, dtype=torch.float64))
    assert len(log_p.unique()) == 3
    with pytest.raises(hp.InputError, match="x must have 2 columns"):
        run.sde.f(1.7e9, torch.zeros(3, 1))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            lambda: hp.Trajectories.from_dense(torch.arange(3), torch.randn(5, 3, 1)),
            "t must be fl",
        ),
        (
            lambda: hp.Trajectories(torch.rand(9), torch.randn(9, 1), torch.arange(9)),
            "has two",
        ),
    ],
)
def test_data_that_cannot_be_fitted(data, message, tmp_path):
    with pytest.raises(hp.InputError, match=message):
        hp.fit(hp.SDEProblem(name="bad", data=data()), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_few_paths_and_no_refinement_make_a_run_that_loads(tmp_path):
    data = hp.Trajectories.from_dense(torch.arange(4.0), torch.randn(3, 4, 1))
    problem = hp.SDEProblem(name="few", data=data)
    quick = [q for q in QUICK if not q.startswith(("data", "density.refine"))]
    run = hp.fit(problem, tmp_path / "run", overrides=[*quick, "density.refine.steps=0"])
    loaded = hp.load(tmp_path / "run", problem=hp.override(problem, ["density.components=1,2"]))
    assert torch.equal(loaded.density.score(0.5, torch.zeros(1, 1)),
                       run.density.score(0.5, torch.zeros(1, 1)))  # fmt: skip
