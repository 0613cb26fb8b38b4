"""Densities carried forward by the Fokker-Planck equation, against closed forms and simulation."""

import math

import numpy as np
import pytest
import torch
import torchsde
from scipy.integrate import quad, quad_vec
from scipy.linalg import expm
from scipy.stats import multivariate_normal, norm

import hollowpde as hp
from hollowpde.problem.sde.longrun import (
    DensityForecast,
    PlaneDensityForecast,
    density_forecast,
    forecast_density,
)
from hollowpde.problem.sde.longrun.line import jump_rates
from hollowpde.problem.sde.longrun.panels import density_forecast_film
from hollowpde.problem.sde.longrun.plane import Plane
from hollowpde.report.checks import check


class Formula(torchsde.SDEIto):
    """An SDE from its drift and diffusion."""

    def __init__(self, f, g):
        super().__init__("diagonal")
        self._f, self._g = f, g

    def f(self, t, y):
        assert t.ndim == 0
        return self._f(t, y)

    def g(self, t, y):
        return self._g(t, y).expand_as(y)


def sde(f, g):
    return Formula(lambda t, y: f(y), lambda t, y: torch.as_tensor(g).to(y))


A = np.array([[-1, 0.8], [-0.8, -1.2]])
D = np.array([0.25, 1.0])
OU = sde(lambda y: y @ torch.as_tensor(A).T.to(y), np.sqrt(D))
MEAN, COVARIANCE = np.array([0.8, 0.0]), np.diag([0.06, 0.16])
LOW, HIGH = [-1.8, -2.8], [1.8, 2.8]


def log_p(x):
    return torch.as_tensor(multivariate_normal(MEAN, COVARIANCE).logpdf(x.numpy()))


def moments(t):
    """Of the Ornstein-Uhlenbeck process in closed form."""
    flow = expm(A * t)
    noise, _ = quad_vec(lambda s: expm(A * s) @ np.diag(D) @ expm(A * s).T, 0, t)
    return flow @ MEAN, flow @ COVARIANCE @ flow.T + noise


def l1(forecast, k):
    """Of the density at time k, to the exact one."""
    points = Plane(forecast.x, forecast.y).points
    exact = multivariate_normal(*moments(forecast.times[k])).pdf(points)
    cell = (forecast.x[1] - forecast.x[0]) * (forecast.y[1] - forecast.y[0])
    return np.abs(forecast.density[k].ravel() - exact).sum() * cell


@pytest.fixture(scope="module")
def plane():
    return forecast_density(OU, log_p, [0.0, 0.3, 1.0, 4.0], LOW, HIGH)


def test_the_plane_goes_forward_as_ornstein_uhlenbeck(plane):
    assert isinstance(plane, PlaneDensityForecast)
    assert plane.density.shape == (4, 101, 101)
    for k in (1, 2, 3):
        assert l1(plane, k) < 0.002
        mean, covariance = moments(plane.times[k])
        assert np.allclose(plane.mean[k], mean, atol=1e-4)
        assert np.allclose(plane.covariance[k], covariance, atol=5e-4)


def test_mass_and_sign_are_those_of_the_integration(plane):
    assert np.abs(plane.mass - 1).max() < 1e-12
    cell = (plane.x[1] - plane.x[0]) * (plane.y[1] - plane.y[0])
    assert np.abs(plane.density.sum((1, 2)) * cell - plane.mass).max() < 1e-6
    assert plane.smallest.shape == (4,) and plane.smallest.min() * cell > -1e-9
    assert plane.density.min() >= 0
    line = forecast_density(sde(lambda y: -y, 1.0), 1.0, [0.0, 1.0], -4.0, 4.0)
    assert isinstance(line, DensityForecast)
    assert np.abs(line.mass - 1).max() < 1e-12
    assert line.smallest.min() * (line.x[1] - line.x[0]) > -1e-9


def test_marginals(plane):
    for j in (0, 1):
        marginal = plane.marginal(j)
        h = marginal.x[1] - marginal.x[0]
        assert np.allclose(marginal.density.sum(1) * h, 1)
        mean, covariance = moments(1.0)
        exact = norm(mean[j], math.sqrt(covariance[j, j]))
        levels = [0.05, 0.5, 0.95]
        assert np.allclose(marginal.quantiles(levels)[:, 2], exact.ppf(levels), atol=3e-3)
        assert np.array_equal(marginal.mass, plane.mass)
    with pytest.raises(hp.InputError, match="j must be 0 or 1"):
        plane.marginal(2)


def test_the_error_falls_as_the_square_of_the_spacing():
    errors = [l1(forecast_density(OU, log_p, [0.0, 1.0], LOW, HIGH, n=n), 1) for n in (26, 51)]
    # Twice as many intervals, a quarter of the error.
    assert 3.5 < errors[0] / errors[1] < 4.5


def test_axes_of_different_length_and_a_start_between_the_points():
    later = forecast_density(
        OU, torch.tensor([0.313, -0.222]), [0.0, 2.0], [-2.0, -3.0], [2.1, 2.9], n=(60, 81)
    )
    assert later.density.shape == (2, 60, 81)
    assert np.count_nonzero(later.density[0]) == 4
    assert np.allclose(later.mean[0], [0.313, -0.222])
    assert np.allclose(later.mean[1], expm(2 * A) @ [0.313, -0.222], atol=1e-4)


def test_a_double_well_has_the_moments_of_a_long_simulation():
    well = sde(
        lambda y: torch.stack([y[:, 0] - y[:, 0] ** 3 - 0.3 * y[:, 1], y[:, 0] - y[:, 1]], 1),
        [0.6, 0.5],
    )
    times = [0.0, 1.0, 20.0]
    later = forecast_density(well, [-1.0, 0.5], times, [-2.6, -2.8], [2.6, 2.8])
    fan = hp.forecast(well, torch.tensor([-1.0, 0.5]), times, paths=5000, step=0.04)
    for k in (1, 2):
        states = fan.states[k].double().numpy()
        error = np.cov(states.T)[[0, 1], [0, 1]] ** 0.5 / math.sqrt(len(states))
        assert (np.abs(later.mean[k] - states.mean(0)) < 4 * error + 2e-3).all()
        assert np.allclose(later.covariance[k], np.cov(states.T), rtol=0.07, atol=0.02)


def test_a_drift_that_depends_on_time_and_another_in_each_coordinate():
    season = Formula(
        lambda t, y: torch.stack([torch.sin(6.2832 * t) - y[:, 0], t - 2 * y[:, 1]], 1),
        lambda t, y: (1 + 0.5 * t).to(y),
    )
    later = forecast_density(season, [0.0, 0.0], [0.0, 0.5], [-4, -4], [4, 4], n=61)
    first, _ = quad(lambda s: math.exp(s - 0.5) * math.sin(6.2832 * s), 0, 0.5)
    second, _ = quad(lambda s: math.exp(2 * (s - 0.5)) * s, 0, 0.5)
    assert np.allclose(later.mean[1], [first, second], atol=1e-4)
    spread = [
        quad(lambda s, a=a: math.exp(2 * a * (s - 0.5)) * (1 + 0.5 * s) ** 2, 0, 0.5)[0]
        for a in (1, 2)
    ]
    assert np.allclose(np.diag(later.covariance[1]), spread, rtol=0.03)
    assert np.abs(later.mass - 1).max() < 1e-12


def test_without_noise_and_under_strong_drift_nothing_turns_negative():
    for process in (
        sde(lambda y: -y + torch.stack([y[:, 1], -y[:, 0]], 1), [0.3, 0.0]),
        sde(lambda y: -30 * y**3, [0.2, 1.0]),
    ):
        later = forecast_density(process, [0.5, 0.3], [0.0, 0.1, 2.0], [-3, -3], [3, 3], n=61)
        assert np.abs(later.mass - 1).max() < 1e-12
        assert later.smallest.min() * 0.01 > -1e-9


def test_the_walk_on_the_plane_keeps_mass_and_takes_that_of_the_line():
    plane = Plane(np.linspace(-1, 1, 4), np.linspace(0, 3, 5))
    Q = plane.generator(OU, 0.0).toarray()
    assert np.abs(Q.sum(0)).max() < 1e-12
    assert (Q - np.diag(np.diag(Q))).min() >= 0
    # From the point (1, 2) to its neighbours (2, 2) and (1, 1).
    f = A @ [plane.x[1], plane.y[2]]
    assert Q[2 * 5 + 2, 1 * 5 + 2] == pytest.approx(jump_rates(f[:1], D[:1], 2 / 3)[0][0])
    assert Q[1 * 5 + 1, 1 * 5 + 2] == pytest.approx(jump_rates(f[1:], D[1:], 0.75)[1][0])


THREE = sde(lambda y: -y * torch.ones(3), np.ones(3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"low": [-3.0] * 3, "high": [3.0] * 3}, "have 3 numbers.* in more, simulate by hp.fore"),
        ({"sde": THREE}, "sde must be two-dimensional.* in more, simulate by hp.forecast"),
        ({"low": -3.0, "high": 3.0}, "sde must be one-dimensional.* two numbers each"),
        ({"low": -3.0}, "low and high must be a number each"),
        ({"low": [-3.0], "high": [3.0]}, "low and high must be a number each"),
        ({"low": [3.0, 3.0]}, "low must be below high"),
        ({"high": [3.0, 0.3]}, r"mass comes to high\[1\] = 0\.3"),
        ({"low": [-0.4, -3.0]}, r"mass comes to low\[0\] = -0\.4"),
        ({"start": 0.0}, "start must be a state of 2 numbers"),
        ({"start": [0.0, 5.0]}, "start must lie between low and high"),
        ({"start": lambda x: x}, r"start must give log p of shape \(1681,\)"),
        ({"n": (41, 41, 41)}, "n must be one or two integers"),
        ({"n": 41.0}, "n must be one or two integers"),
        ({"n": (41, 2)}, "n, the number of grid points, must be at least 3"),
        ({"times": [1.0, 0.0]}, "times must be an increasing"),
        ({"sde": sde(lambda y: y.log(), 1.0)}, "f must be finite .* not at x = -3, -3"),
    ],
)
def test_what_is_refused(change, message):
    given = {"sde": OU, "start": [0.0, 0.0], "times": [0.0, 0.5], "low": [-3, -3], "high": [3, 3],
             "n": 41} | change  # fmt: skip
    with pytest.raises(hp.InputError, match=message):
        forecast_density(given.pop("sde"), **given)


def test_walls_are_walls_in_the_plane_too():
    still = sde(lambda y: 0 * y, 1.0)
    flat = forecast_density(still, [0.5, 0.0], [0.0, 9.0], [-1, -1], [1, 1], n=21, walls=True)
    assert np.allclose(flat.density[1], 1 / 2.1**2, rtol=1e-4)


@pytest.mark.parametrize(
    "spoil", [lambda y: y * 1.00001, lambda y: y - 1e-6, lambda y: y * np.nan]
)
def test_mass_that_is_lost_or_negative_is_an_error(spoil, monkeypatch):
    solve = density_forecast.solve_ivp

    def spoilt(*arguments, **options):
        solution = solve(*arguments, **options)
        solution.y = spoil(solution.y)
        return solution

    monkeypatch.setattr(density_forecast, "solve_ivp", spoilt)
    with pytest.raises(hp.InputError, match="total mass is off"):
        forecast_density(OU, [0.0, 0.0], [0.0, 0.5], [-3, -3], [3, 3], n=41)
    with pytest.raises(hp.InputError, match="total mass is off"):
        forecast_density(sde(lambda y: -y, 1.0), 0.0, [0.0, 0.5], -4.0, 4.0)


def test_the_films_can_be_drawn(plane):
    film = density_forecast_film(plane, ("a", "b"))
    check(film)
    assert len(film.frames) == 4 and "cut off" not in film.caption
    surface = film.frames[1][1][0]
    # z[j, i] is at (x[i], y[j]).
    j, i = np.unravel_index(surface.z.argmax(), surface.z.shape)
    assert np.allclose([surface.x[i], surface.y[j]], plane.mean[1], atol=0.1)
    line = forecast_density(sde(lambda y: -y, 1.0), 1.0, np.linspace(0, 2, 51), -4.0, 4.0)
    film = density_forecast_film(line, ("a",))
    check(film)
    assert len(film.frames) == 21 and "cut off" in film.caption
    with pytest.raises(hp.InputError, match="names must be 1"):
        density_forecast_film(line, ("a", "b"))
