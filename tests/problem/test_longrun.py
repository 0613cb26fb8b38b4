"""Long-run quantities of SDEs, against closed forms, quadrature and simulation."""

import math

import numpy as np
import pytest
import torch
import torchsde
from scipy.integrate import cumulative_trapezoid, quad
from scipy.stats import gamma, norm

import hollowpde as hp
from hollowpde.problem.sde.learned import FittedSDE
from hollowpde.problem.sde.longrun import (
    effective_potential,
    forecast,
    forecast_density,
    mean_exit_time,
    rotational_share,
    simulate_exit_time,
    stationary_density,
)
from hollowpde.problem.sde.longrun.panels import (
    exit_time_chart,
    forecast_charts,
    potential_chart,
    stationary_charts,
)
from hollowpde.report.checks import check


class Formula(torchsde.SDEIto):
    """An SDE from its drift and diffusion, called with a scalar time as torchsde does."""

    def __init__(self, f, g):
        super().__init__("diagonal")
        self._f, self._g = f, g

    def f(self, t, y):
        assert t.ndim == 0
        return self._f(t, y)

    def g(self, t, y):
        return self._g(t, y).expand_as(y)


def sde(f, g=lambda y: torch.ones_like(y)):
    return Formula(lambda t, y: f(y), lambda t, y: g(y))


OU = sde(lambda y: -1.5 * y, lambda y: torch.full_like(y, 0.8))
BROWNIAN = sde(lambda y: torch.zeros_like(y))
DOUBLE_WELL = sde(lambda y: y - y**3, lambda y: torch.full_like(y, 0.7))
CIR = sde(lambda y: 2 * (1 - y), lambda y: 0.5 * y.clamp(min=0).sqrt())
SEASONAL = Formula(lambda t, y: torch.sin(6.2832 * t) - y, lambda t, y: torch.ones_like(y))
SPIRAL = sde(lambda y: -y + torch.stack([-y[:, 1], y[:, 0]], 1))


def test_the_stationary_density_of_ornstein_uhlenbeck_is_normal():
    p = stationary_density(OU, -4.0, 4.0)
    exact = norm(scale=0.8 / math.sqrt(3))
    assert np.allclose(p.density, exact.pdf(p.x), atol=1e-8)
    assert np.allclose(p.potential, -exact.logpdf(p.x), atol=1e-6)
    assert np.allclose(p.drift_potential, 0.75 * p.x**2, atol=1e-8)
    assert abs(p.mean) < 1e-9 and p.variance == pytest.approx(0.64 / 3, rel=1e-6)


def test_the_stationary_density_where_the_noise_varies_is_gamma():
    """CIR: shape 2 kappa theta / sigma^2, whose mode is not where the drift vanishes."""
    p = stationary_density(CIR, 0.01, 4.0)
    exact = gamma(16, scale=1 / 16)
    assert np.allclose(p.density, exact.pdf(p.x), atol=2e-5)
    assert p.x[p.potential.argmin()] == pytest.approx(15 / 16, abs=2e-3)
    assert p.x[p.drift_potential.argmin()] == pytest.approx(1, abs=2e-3)


def test_the_potential_of_a_double_well():
    p = stationary_density(DOUBLE_WELL, -3.0, 3.0)
    at = lambda x: np.interp(x, p.x, p.potential)  # noqa: E731
    # 2 (U(0) - U(1)) / D with U = x^4/4 - x^2/2
    assert at(0.0) - at(1.0) == pytest.approx(2 * 0.25 / 0.49, rel=1e-4)
    assert at(1.0) == pytest.approx(at(-1.0), abs=1e-9)


@pytest.mark.parametrize(
    ("process", "low", "high", "message"),
    [
        (BROWNIAN, -3.0, 3.0, "p rises towards low|lies beyond low"),
        (sde(lambda y: y), -3.0, 3.0, "p rises towards low = -3"),
        (OU, -0.5, 4.0, "lies beyond low = -0.5"),
        (OU, -4.0, 0.5, "lies beyond high = 0.5"),
        (CIR, 0.0, 4.0, "must not vanish .* at x = 0"),
        (SPIRAL, -1.0, 1.0, "sde must be one-dimensional"),
        (SEASONAL, -3.0, 3.0, "sde depends on time: give t"),
        (OU, 1.0, 1.0, "low must be below high"),
        (sde(lambda y: torch.log(y)), -1.0, 1.0, "f must be finite .* not at x = -1"),
    ],
)
def test_what_has_no_stationary_density(process, low, high, message):
    with pytest.raises(hp.InputError, match=message):
        stationary_density(process, low, high)


def test_walls_and_a_time_make_it_stationary():
    flat = stationary_density(BROWNIAN, -2.0, 2.0, walls=True)
    assert np.allclose(flat.density, 0.25)
    held = stationary_density(SEASONAL, -4.0, 6.0, t=0.25)
    assert held.mean == pytest.approx(1, abs=1e-4)
    with pytest.raises(hp.UnsupportedError, match="stratonovich"):
        other = sde(lambda y: -y)
        other.sde_type = "stratonovich"
        stationary_density(other, -3.0, 3.0)


def fitted(dim):
    """Networks of a fixed width, as a fit gives them."""
    nets = [hp.Autonomous(hp.HollowNet(dim).double()) for _ in range(2)]
    return FittedSDE(nets[0], hp.Positive(nets[1]))


def test_networks_of_one_dimension_are_taken_and_of_two_refused_in_words():
    assert stationary_density(fitted(1), -2.0, 2.0, walls=True).density.min() > 0
    assert mean_exit_time(fitted(1), -2.0, 2.0).time[1:-1].min() > 0
    for ask in (stationary_density, mean_exit_time):
        with pytest.raises(hp.InputError, match="one-dimensional"):
            ask(fitted(2), -1.0, 1.0)
    with pytest.raises(hp.InputError, match="one-dimensional"):
        forecast_density(fitted(2), 0.0, [0.0, 1.0], -1.0, 1.0)


def test_exit_times_of_brownian_motion_and_with_drift():
    exact = mean_exit_time(BROWNIAN, -1.0, 2.0)
    assert np.allclose(exact.time, (exact.x + 1) * (2 - exact.x), atol=1e-8)
    assert exact.at(np.array([-5.0, 0.5]))[0] == 0
    # Drift m, noise one: T = ((b - a) P(leave at b) - (x - a)) / m
    for m in (0.7, 500.0):
        times = mean_exit_time(sde(lambda y, m=m: torch.full_like(y, m)), 0.0, 1.0, n=201)
        at_top = np.expm1(-2 * m * times.x) / math.expm1(-2 * m)
        assert np.allclose(times.time, (at_top - times.x) / m, atol=1e-9)


def by_quadrature(process, low, high, x):
    """The exit time by the scale function and the speed measure, as integrals of integrals."""
    y = np.linspace(low, high, 4001)
    at = torch.as_tensor(y[:, None])
    f = process.f(torch.tensor(0.0), at).numpy()[:, 0]
    D = process.g(torch.tensor(0.0), at).numpy()[:, 0] ** 2
    trapezoid = lambda v: cumulative_trapezoid(v, y, initial=0)  # noqa: E731
    phi = trapezoid(2 * f / D)
    scale = trapezoid(np.exp(-phi))
    inner = trapezoid(2 / D * np.exp(phi))
    outer = trapezoid(np.exp(-phi) * inner)
    return np.interp(x, y, scale / scale[-1] * outer[-1] - outer)


@pytest.mark.parametrize(("process", "ends"), [(OU, (-1.0, 1.5)), (CIR, (0.3, 2.0)),
                                               (DOUBLE_WELL, (-2.0, 0.0))])  # fmt: skip
def test_exit_times_are_those_of_quadrature(process, ends):
    x = np.linspace(*ends, 9)[1:-1]
    assert np.allclose(mean_exit_time(process, *ends).at(x), by_quadrature(process, *ends, x),
                       rtol=2e-5)  # fmt: skip


def test_a_barrier_however_high():
    """Kramers: the time grows as the exponential of the barrier, far beyond 1 / epsilon."""
    for noise in (0.15, 0.1):
        process = sde(lambda y: y - y**3, lambda y, g=noise: torch.full_like(y, g))
        time = float(mean_exit_time(process, -2.0, 0.0, n=4001).at(-1.0))
        # To the top of the barrier it takes half as long as across.
        kramers = math.pi / math.sqrt(2) * math.exp(2 * 0.25 / noise**2)
        assert time == pytest.approx(kramers, rel=0.03)


def test_an_interval_that_is_never_left_is_an_error():
    still = sde(lambda y: torch.zeros_like(y), lambda y: torch.zeros_like(y))
    with pytest.raises(hp.InputError, match="infinite"):
        mean_exit_time(still, -1.0, 1.0)
    with pytest.raises(hp.InputError, match="infinite"):
        mean_exit_time(sde(lambda y: -500 * y, lambda y: 0.1 * torch.ones_like(y)), -3.0, 3.0)


def test_simulated_exit_times_agree():
    exact = float(mean_exit_time(DOUBLE_WELL, -2.0, 0.5).at(-1.0))
    start = torch.tensor([-1.0])
    simulated = simulate_exit_time(DOUBLE_WELL, start, -2.0, 0.5, step=0.05, horizon=400)
    assert abs(simulated.mean - exact) < 3 * simulated.standard_error + 0.02 * exact
    assert simulated.standard_error < 0.03 * exact
    square = simulate_exit_time(BROWNIAN, torch.zeros(2), -1.0, 1.0, step=0.01, horizon=50)
    # The torsion of a square: eigenfunctions of the Laplacian on [-1, 1]^2.
    odd = np.arange(1, 200, 2)
    m, n = np.meshgrid(odd, odd)
    terms = (-1.0) ** ((m + n) / 2 - 1) / (m * n * (m**2 + n**2))
    series = 128 / math.pi**4 * terms.sum()
    assert abs(square.mean - series) < 3 * square.standard_error
    # One side open, one coordinate without noise that walks out at a known time.
    walk = sde(lambda y: torch.ones_like(y), lambda y: torch.zeros_like(y))
    high = torch.tensor([2.0, 1.0])
    certain = simulate_exit_time(
        walk, torch.zeros(2), -math.inf, high, step=0.01, horizon=3, paths=5
    )
    assert certain.mean == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start": torch.tensor([2.0])}, "start must lie within"),
        ({"start": [0.0]}, "start must be a floating-point tensor"),
        ({"horizon": 0.05}, "still inside after horizon"),
        ({"step": 0.0}, "step must be positive"),
    ],
)
def test_exits_that_cannot_be_simulated(change, message):
    given = {"start": torch.zeros(1), "step": 0.01, "horizon": 10.0} | change
    with pytest.raises(hp.InputError, match=message):
        simulate_exit_time(BROWNIAN, given["start"], -1.0, 1.0, step=given["step"],
                           horizon=given["horizon"], paths=50)  # fmt: skip


def test_a_forecast_has_the_known_moments_and_uses_all_starts():
    starts = torch.tensor([[1.0], [-1.0]])
    fan = forecast(OU, starts, [0.0, 0.4, 1.0], paths=4000)
    assert fan.states.shape == (3, 4000, 1)
    assert fan.states[0].mean().item() == 0 and fan.states[0].std() == pytest.approx(1, abs=1e-3)
    variance = math.exp(-3) + 0.64 / 3 * (1 - math.exp(-3))
    assert fan.states[2].var().item() == pytest.approx(variance, rel=0.1)
    assert np.allclose(fan.quantiles([0.5])[0, :, 0], np.median(fan.states[..., 0], axis=1))
    with pytest.raises(hp.InputError, match="x_now must be"):
        forecast(OU, torch.tensor(1.0), [0.0, 1.0])


def test_the_density_goes_forward_as_ornstein_uhlenbeck():
    later = forecast_density(OU, 1.0, [0.0, 0.3, 5.0], -4.0, 4.0)
    for k, t in ((1, 0.3), (2, 5.0)):
        exact = norm(math.exp(-1.5 * t), math.sqrt(0.64 / 3 * (1 - math.exp(-3 * t))))
        assert np.allclose(later.density[k], exact.pdf(later.x), atol=2e-3)
        assert np.allclose(later.quantiles([0.05, 0.5, 0.95])[:, k],
                           exact.ppf([0.05, 0.5, 0.95]), atol=3e-3)  # fmt: skip
    assert np.allclose(later.density.sum(1) * (later.x[1] - later.x[0]), 1)
    settled = stationary_density(OU, -4.0, 4.0, n=401)
    assert np.allclose(later.density[2], settled.density, atol=1e-3)


def test_the_density_of_a_process_with_varying_noise_comes_to_rest_where_it_should():
    """The Ito form: with the noise inside both derivatives."""
    log_p = lambda x: norm(1.5, 0.1).logpdf(x)[:, 0]  # noqa: E731
    start = lambda x: torch.as_tensor(log_p(x.numpy()))  # noqa: E731
    later = forecast_density(CIR, start, [0.0, 6.0], 0.0, 4.0, n=801)
    assert np.allclose(later.density[1], gamma(16, scale=1 / 16).pdf(later.x), atol=3e-3)
    assert np.average(later.x, weights=later.density[0]) == pytest.approx(1.5, abs=1e-3)


def test_the_density_of_a_process_that_depends_on_time():
    later = forecast_density(SEASONAL, 0.0, [0.0, 0.5], -5.0, 5.0)
    mean, _ = quad(lambda s: math.exp(s - 0.5) * math.sin(6.2832 * s), 0, 0.5)
    assert np.average(later.x, weights=later.density[1]) == pytest.approx(mean, abs=1e-4)


def test_a_grid_that_is_too_narrow_is_named():
    with pytest.raises(hp.InputError, match=r"mass comes to high = 0\.5"):
        forecast_density(OU, 0.0, [0.0, 1.0], -4.0, 0.5)
    flat = forecast_density(BROWNIAN, 0.0, [0.0, 50.0], -1.0, 1.0, walls=True)
    assert np.allclose(flat.density[1][1:-1], 0.5, atol=5e-3)
    with pytest.raises(hp.InputError, match="start must lie between"):
        forecast_density(OU, 9.0, [0.0, 1.0], -4.0, 4.0)
    with pytest.raises(hp.InputError, match="times must be an increasing"):
        forecast_density(OU, 0.0, [1.0, 0.0], -4.0, 4.0)


def test_the_rotational_share():
    x = torch.randn(100, 2, dtype=torch.float64)
    for strength in (0.0, 0.5, 2.0):
        turn = sde(lambda y, w=strength: -y + w * torch.stack([-y[:, 1], y[:, 0]], 1))
        # J = -1 + w R: the antisymmetric part is w R, the size that of both.
        expected = strength**2 / (1 + strength**2)
        assert rotational_share(turn, x * torch.tensor([1.0, 1.0])) == pytest.approx(
            expected, abs=0.1
        )
    # In detailed balance, with noise of its own for each coordinate and varying with the other:
    # 2 f_i = D_i d_i log p + d_i D_i with log p = -(x^2 + y^2)/2 - x y / 2
    D = lambda y: torch.stack([1 + 0.1 * y[:, 1] ** 2, 2 + 0.3 * y[:, 1].sin()], 1)  # noqa: E731
    slope = lambda y: torch.stack([torch.zeros(len(y)), 0.3 * y[:, 1].cos()], 1)  # noqa: E731
    force = lambda y: -y - y.flip(-1) / 2  # noqa: E731
    balanced = sde(lambda y: (D(y) * force(y) + slope(y)) / 2, lambda y: D(y).sqrt())
    assert rotational_share(balanced, x) < 1e-12
    potential = effective_potential(balanced, x, torch.zeros(2))
    expected = x.square().sum(1) / 2 + x.prod(1) / 2
    assert torch.allclose(potential, expected)
    # Units are the user's: metres or kilometres make no difference.
    stretched = sde(lambda y: SPIRAL.f(torch.tensor(0.0), y / unit) * unit,
                    lambda y: unit.expand_as(y))  # fmt: skip
    unit = torch.tensor([1000.0, 0.1], dtype=torch.float64)
    assert rotational_share(stretched, x * unit) == pytest.approx(rotational_share(SPIRAL, x))
    with pytest.raises(hp.InputError, match="must not vanish"):
        rotational_share(sde(lambda y: -y, lambda y: torch.zeros_like(y)), x)


def test_the_pictures_can_be_drawn_and_say_what_is_not_there():
    late = torch.randn(50, 1)
    density, potential = stationary_charts(OU, "x", -1.5, 1.5, late)
    assert "walls" not in density.caption and potential.marks[0].y.min() == 0
    assert "walls" in stationary_charts(BROWNIAN, "x", -1.5, 1.5)[0].caption
    assert stationary_charts(CIR, "x", 0.0, 2.0) == []
    exits = exit_time_chart(OU, "x", -1.0, 1.0)
    assert exit_time_chart(sde(lambda y: 0 * y, lambda y: 0 * y), "x", -1.0, 1.0) is None
    x = torch.randn(300, 2)
    plane = potential_chart(sde(lambda y: -y), x, ("a", "b"))
    assert potential_chart(SPIRAL, x, ("a", "b")) is None
    fan = forecast(SPIRAL, torch.zeros(2), [0.0, 1.0, 2.0], paths=50)
    past = (np.arange(3.0), np.zeros((3, 3, 2)))
    for panel in [density, potential, exits, plane, *forecast_charts(fan, ("a", "b"), past)]:
        check(panel)
