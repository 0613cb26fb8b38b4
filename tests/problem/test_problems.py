"""The shipped problems: each is what its file says, against what is known in closed form."""

import dataclasses
import math
import sys
from functools import partial

import numpy as np
import pytest
import torch
from scipy.linalg import expm, solve_continuous_lyapunov

import hollowpde as hp
from hollowpde.problem import find_problem
from tests.quick import PROBLEMS

PDES = [
    "allen_cahn",
    "allen_cahn_100d",
    "black_scholes",
    "burgers",
    "fokker_planck_10d",
    "fokker_planck_2d",
    "heat_100d",
    "heat_10d",
    "heat_1d",
    "hjb_100d",
    "inverse_heat",
    "poisson_5d",
]
# Their exact solutions are splines, which autograd does not see through.
GRIDS = ["allen_cahn", "allen_cahn_100d", "fokker_planck_2d"]
DENSITIES = ["digits", "mnist_pca", "stiff_cnf", "toy_densities"]
ODES = ["learn_stiff", "stiff_classics", "stiff_relaxation"]
TOYS = ["moons", "pinwheel", "eight_gaussians", "checkerboard", "two_spirals", "rings"]
NAMES = sorted({file.stem for file in PROBLEMS.glob("*.py")} - {*PDES, *DENSITIES, *ODES})
READ = ["snapshots_csv", "vix"]
SIMULATED = [name for name in NAMES if name not in (*READ, "score_50d")]
# Files that declare a second problem.
ALSO = {name: f"{name}_unpaired" for name in ("double_well", "ou_2d", "van_der_pol")}


def problem(name):
    return find_problem(str(PROBLEMS / f"{name}.py"))[0]


def simulated(name, paths=2000, **changes):
    return dataclasses.replace(problem(name).data, paths=paths, **changes).load()


def states(name, paths=2000, **changes):
    """Times (T,) and states (paths, T, d), in double precision."""
    data = simulated(name, paths, **changes).double()
    return data.t.unique(), data.x.unflatten(0, (paths, -1))


def near(sample, expected):
    """The mean of samples over paths is the expected one, to 4.5 standard errors."""
    error = sample.std(0) / math.sqrt(len(sample))
    gap = (sample.mean(0) - torch.as_tensor(expected)).abs()
    assert (gap <= 4.5 * error).all(), (sample.mean(0), expected, error)


def test_all_are_there():
    assert NAMES == [
        "chain_10d",
        "cir",
        "double_well",
        "double_well_2d",
        "gbm",
        "langevin",
        "lotka_volterra",
        "ou_2d",
        "ou_50d",
        "ou_process",
        "rotating_ou",
        "score_50d",
        "seasonal_ou",
        "snapshots_csv",
        "stationary_ou",
        "van_der_pol",
        "vix",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_registers_a_problem_of_its_name(name):
    also = [ALSO[name]] if name in ALSO else []
    assert list(hp.load_problems(PROBLEMS / f"{name}.py")) == [name, *also]
    assert (problem(name).truth is None) == (name in READ)


@pytest.mark.parametrize("name", SIMULATED)
def test_data_have_the_dimension_of_the_truth_and_come_again(name):
    times = problem(name).data.times[:4]
    data, again = simulated(name, 20, times=times), simulated(name, 20, times=times)
    torch.testing.assert_close(data.x, again.x, rtol=0, atol=0)
    assert simulated(name, 20, times=times, seed=1).fingerprint() != data.fingerprint()
    truth, t = problem(name).truth, torch.tensor(0.3)
    assert truth.f(t, data.x).shape == truth.g(t, data.x).shape == data.x.shape
    dim = int(name.rpartition("_")[2][:-1]) if name.endswith("d") else None
    assert dim in (None, data.dim)


@pytest.mark.parametrize(
    ("name", "points", "drift", "squared"),
    [
        ("ou_process", [[2.0]], [[-2.0]], [[0.49]]),
        ("double_well", [[0.5], [-2.0]], [[0.375], [6.0]], [[0.49], [0.49]]),
        ("gbm", [[2.0]], [[0.6]], [[0.64]]),
        ("cir", [[2.0], [0.5]], [[-1.5], [0.75]], [[0.72], [0.18]]),
        ("ou_2d", [[2.0, -1.0]], [[-2.8, -0.4]], [[0.25, 1.0]]),
        ("van_der_pol", [[2.0, 3.0]], [[3.0, -11.0]], [[0.09, 0.25]]),
        ("double_well_2d", [[2.0, 1.0]], [[-6.5, -2.0]], [[0.49, 0.36]]),
        ("rotating_ou", [[2.0, 1.0]], [[-0.5, -4.0]], [[0.5, 0.5]]),
        ("stationary_ou", [[2.0]], [[-2.0]], [[0.49]]),
        ("langevin", [[2.0, 3.0]], [[3.0, -9.0]], [[0.0, 0.49]]),
        ("lotka_volterra", [[2.0, 0.5]], [[0.0, 0.5]], [[0.16, 0.01]]),
    ],
)
def test_equations(name, points, drift, squared):
    truth, y = problem(name).truth, torch.tensor(points)
    torch.testing.assert_close(truth.f(torch.tensor(0.0), y), torch.tensor(drift))
    torch.testing.assert_close(truth.g(torch.tensor(0.0), y).square(), torch.tensor(squared))


def test_the_equation_of_the_chain():
    truth, y = problem("chain_10d").truth, torch.zeros(1, 10)
    y[0, 0], y[0, 9] = 2.0, 1.0
    drift = torch.zeros(1, 10)
    # x - x^3 + (left + right - 2 x) / 2 by hand; the two are neighbours on the ring.
    drift[0, [0, 1, 8, 9]] = torch.tensor([2 - 8 + 0.5 - 2, 1.0, 0.5, 1.0 - 1 + 1 - 1])
    torch.testing.assert_close(truth.f(torch.tensor(0.0), y), drift)
    squared = truth.g(torch.tensor(0.0), y).square()[0]
    torch.testing.assert_close(squared[[0, 9, 5]], torch.tensor([0.26, 0.35, 0.5]))


@pytest.mark.parametrize(
    ("name", "rate", "mean", "start", "start_variance", "squared"),
    [("ou_process", 1.0, 0.0, 2.0, 0.16, 0.49), ("ou_50d", 1.0, 0.0, 1.0, None, None)],
)
def test_linear_relaxation(name, rate, mean, start, start_variance, squared):
    t, x = states(name, 2000 if start_variance else 300)
    near(x, mean + (start - mean) * torch.exp(-rate * t).unsqueeze(1).expand(-1, x.shape[-1]))
    if start_variance is not None:
        decay = torch.exp(-2 * rate * t)
        variance = start_variance * decay + squared / (2 * rate) * (1 - decay)
        near((x - x.mean(0)).square(), variance.unsqueeze(1))


def test_covariance_on_the_ring():
    t, x = states("ou_50d", 500)
    shift = np.roll(np.eye(50), 1, axis=1)
    A = -2 * np.eye(50) + 0.5 * (shift + shift.T)
    stationary = solve_continuous_lyapunov(A, -0.49 * np.eye(50))
    flow = expm(A * float(t[-1]))
    expected = flow @ (0.16 * np.eye(50) - stationary) @ flow.T + stationary
    last = x[:, -1] - x[:, -1].mean(0)
    for gap in (0, 1, 2):  # of sites: by symmetry all pairs are alike
        near((last * last.roll(gap, -1)).mean(1), expected[0, gap])


def test_rotation_in_the_plane():
    t, x = states("ou_2d")
    A = np.array([[-1.0, 0.8], [-0.8, -1.2]])
    start = np.array([2.0, -1.0])
    near(x, torch.tensor(np.stack([expm(A * s) @ start for s in t.tolist()])))
    stationary = solve_continuous_lyapunov(A, -np.diag([0.25, 1.0]))
    flow = expm(A * float(t[-1]))
    expected = flow @ (0.16 * np.eye(2) - stationary) @ flow.T + stationary
    last = x[:, -1] - x[:, -1].mean(0)
    near(last.unsqueeze(2) * last.unsqueeze(1), torch.tensor(expected))


def test_geometric_brownian_motion_is_lognormal():
    t, x = states("gbm")
    log_x = x.log()
    near(log_x, ((0.3 - 0.08) * t).unsqueeze(1))
    near((log_x - log_x.mean(0)).square(), (0.04 + 0.16 * t).unsqueeze(1))


def test_moments_of_cox_ingersoll_ross():
    t, x = states("cir")
    m0, m2 = 2 * math.exp(0.15**2 / 2), 4 * math.exp(2 * 0.15**2)
    decay = torch.exp(-1.5 * t)
    near(x, (1 + (m0 - 1) * decay).unsqueeze(1))
    noise = 0.36 / 1.5 * (m0 * (decay - decay**2) + (1 - decay) ** 2 / 2)
    near((x - x.mean(0)).square(), ((m2 - m0**2) * decay**2 + noise).unsqueeze(1))


def test_the_mean_follows_the_seasons():
    t, x = states("seasonal_ou")
    speed, turn = 4.0, 2 * math.pi
    size = speed / (speed**2 + turn**2)
    season = size * (speed * torch.cos(turn * t) + turn * torch.sin(turn * t))
    near(x, (2 + season - size * speed * torch.exp(-speed * t)).unsqueeze(1))
    decay = torch.exp(-2 * speed * t)
    variance = 0.16 * decay + 0.25 / (2 * speed) * (1 - decay)
    near((x - x.mean(0)).square(), variance.unsqueeze(1))
    assert not problem("seasonal_ou").autonomous


def integral(t, values):
    """Over all times, of values (paths, T)."""
    return torch.trapezoid(values, t, dim=1)


def test_prey_and_predators_keep_the_balance_of_their_means():
    t, x = states("lotka_volterra")
    assert (x > 0).all()
    prey, predators = x.unbind(-1)
    # In X + (4/3) Y what is eaten cancels.
    gain = (prey + 4 / 3 * predators)[:, [0, -1]].diff().squeeze(1)
    near(gain - integral(t, 2 / 3 * prey - 4 / 3 * predators), 0.0)


def test_energy_of_the_particle():
    t, y = states("langevin")
    x, v = y.unbind(-1)
    near(x[:, -1] - x[:, 0] - integral(t, v), 0.0)
    energy = v**2 / 2 + x**4 / 4 - x**2 / 2
    near(energy[:, -1] - energy[:, 0] + integral(t, v**2), 0.49 / 2 * float(t[-1]))
    assert problem("langevin").noiseless == ("x1",)


def test_the_oscillator_turns_clockwise_and_the_chain_stays_in_its_wells():
    _, y = states("van_der_pol", 500)
    assert y[:, 0, 1].mean().abs() < 0.1 and y[:, 2, 1].mean() < -0.5
    _, x = states("chain_10d", 100)
    assert 0.6 < x[:, -1].mean() < 0.9


def test_vix():
    pytest.importorskip("arch")
    data = problem("vix").data.load()
    assert (data.paths, data.dim, data.names) == (1, 1, ("log_vix",))
    assert len(data) == 1259
    assert data.x[0, 0].exp() == pytest.approx(13.76)  # 3 January 2014
    assert data.t.diff().min().item() == pytest.approx(1 / 252)
    assert 9 < data.x.exp().min() < 15 < data.x.exp().max() < 41


def test_vix_without_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "arch.data", None)
    with pytest.raises(hp.InputError, match=r"pip install 'hollowpde\[data\]'"):
        problem("vix").data.load()


@pytest.mark.parametrize("name", PDES)
def test_a_file_of_a_pde(name):
    assert list(hp.load_problems(PROBLEMS / f"{name}.py")) == [name]
    assert problem(name).summary()["truth"] == "known"
    dim = int(name.rpartition("_")[2][:-1]) if name.endswith("d") else 1
    assert problem(name).domain.dim == dim


@pytest.mark.parametrize("name", [name for name in PDES if name not in GRIDS])
def test_the_exact_solution_meets_equation_and_conditions(name):
    pde = problem(name)
    (equation,) = pde.equations.values()
    if name == "inverse_heat":
        known = {k: torch.tensor(u.truth, dtype=torch.float64) for k, u in pde.unknowns.items()}
        equation = partial(equation, **known)
    generator = torch.Generator().manual_seed(0)
    t, x = pde.sampler.draw(pde.domain, pde.time, 6, generator)
    exact = hp.nets.KnownFunction(pde.exact)
    size = pde.exact(t, x).abs().max()
    # Quadratures are exact to their nodes.
    bound = 1e-4 if name in ("burgers", "hjb_100d") else 1e-9
    assert hp.Residual(equation)([exact], t, x).abs().max() < bound * size
    for condition in pde.conditions.values():
        t, x, *others = condition.draw(pde.place, 6, generator)
        if isinstance(condition, hp.Observed):
            continue  # with noise
        gap = condition.residual(hp.Jet(exact, t, x), t, x, *others)
        assert gap.abs().max() < 1e-9 * size


def test_the_values_known_in_100_dimensions():
    for name in ("hjb_100d", "allen_cahn_100d"):
        pde = problem(name)
        t, x = torch.tensor([pde.point.t], dtype=torch.float64), torch.zeros(1, 100).double()
        assert float(pde.exact(t, x)) == pytest.approx(pde.point.value, rel=2e-6)


def toy(name):
    return find_problem(f"{PROBLEMS / 'toy_densities.py'}:{name}")[0]


def mixture(x, centres, width):
    """The log-density of round normal densities of equal weight."""
    each = -(x[:, None] - centres).square().sum(-1) / (2 * width**2)
    return each.logsumexp(1) - math.log(2 * math.pi * width**2 * len(centres))


def circle(angle):
    return torch.stack([angle.cos(), angle.sin()], -1)


def log_density(name, x):
    """Of a toy, in closed form or as a mixture of many normal densities."""
    even = (torch.arange(1000, dtype=x.dtype) + 0.5) / 1000
    if name == "eight_gaussians":
        return mixture(x, 2.8 * circle(torch.arange(8, dtype=x.dtype) * math.pi / 4), 0.35)
    if name == "moons":
        arc = circle(math.pi * even)
        return mixture(x, torch.cat([arc, torch.tensor([1.0, 0.5]) - arc]), 0.1)
    if name == "two_spirals":
        angle = 3 * math.pi * even.sqrt()
        arm = angle[:, None] / 3 * circle(angle)
        return mixture(x, torch.cat([arm, -arm]), 0.1)
    if name == "rings":
        r = x.norm(dim=-1)
        radii = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=x.dtype)
        normals = torch.distributions.Normal(radii, 0.08).log_prob(r[:, None])
        return normals.logsumexp(1) - math.log(4) - (2 * math.pi * r).log()
    inside = (x.abs() < 4).all(-1) & (((x / 2).floor().sum(-1) % 2) == 0)
    return torch.where(inside, -math.log(32), -torch.inf)


def test_the_toys_are_registered_and_draw_nothing():
    assert list(hp.load_problems(PROBLEMS / "toy_densities.py")) == TOYS
    with pytest.raises(hp.InputError, match="choose one"):
        find_problem(str(PROBLEMS / "toy_densities.py"))
    assert toy("moons").summary()["data"] == "50000 samples"
    for name in ("digits", "mnist_pca"):
        assert problem(name).name == name and problem(name).entropy is None


@pytest.mark.parametrize("name", TOYS)
def test_toys(name):
    """Samples are from the density, and its entropy is the one that is declared."""
    declared = toy(name)
    x = dataclasses.replace(declared.data, samples=5000).load().x.double()
    assert x.shape == (5000, 2)
    if name == "pinwheel":
        assert declared.entropy is None
        # Five arms: it looks the same when turned by a fifth.
        angle = torch.atan2(x[:, 1], x[:, 0])
        moments = [torch.exp(1j * k * angle).mean().abs() for k in (1, 2, 3, 4, 5)]
        assert max(moments[:4]) < 0.06 < moments[4]
        return
    log_p = log_density(name, x)
    assert log_p.isfinite().all()
    near(-log_p.unsqueeze(1), declared.entropy)


def test_digits():
    pytest.importorskip("sklearn")
    x = problem("digits").data.load().x
    assert x.shape == (1797, 64) and x.min() >= 0 and 16 < x.max() < 17
    assert x.floor().mean().item() == pytest.approx(4.884, abs=0.001)
    other = dataclasses.replace(problem("digits").data, seed=1).load().x
    assert torch.equal(other.floor(), x.floor()) and not torch.equal(other, x)


def test_digits_without_their_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(hp.InputError, match=r"pip install 'hollowpde\[data\]'"):
        problem("digits").data.load()


def test_principal_components_of_images(tmp_path):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (300, 6, 6), dtype=np.uint8)
    images[:, :2] //= 8  # of little variance
    np.savez(tmp_path / "mnist.npz", x_train=images, y_train=np.zeros(300))
    np.save(tmp_path / "plain.npy", images.reshape(300, 36))
    declared = problem("mnist_pca").data
    with pytest.raises(hp.InputError, match=r"name an \.npz or \.npy file"):
        declared.load()
    loaded = [
        dataclasses.replace(declared, file=str(tmp_path / name), components=10).load()
        for name in ("mnist.npz", "plain.npy")
    ]
    torch.testing.assert_close(loaded[0].x, loaded[1].x)
    x = loaded[0].x.double()
    assert loaded[0].names[:2] == ["pc1", "pc2"] and x.shape == (300, 10)
    covariance = x.T.cov()
    variances = covariance.diagonal()
    assert (variances.diff() <= 1e-6).all()
    assert (covariance - variances.diag()).abs().max() < 1e-6
    noisy = (images.reshape(300, 36) + np.random.default_rng(0).random((300, 36))) / 256
    expected = np.linalg.svd(noisy - noisy.mean(0), compute_uv=False)[:10] ** 2 / 299
    assert variances.numpy() == pytest.approx(expected, rel=1e-4)
    np.savez(tmp_path / "other.npz", a=images, b=images)
    with pytest.raises(hp.InputError, match="holds no array 'x_train'"):
        dataclasses.replace(declared, file=str(tmp_path / "other.npz")).load()
