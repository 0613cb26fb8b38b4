"""The weak form on samples: test functions, nodes, and equations whose noise is known."""

import math

import pytest
import torch
from scipy.stats import chi2
from torch.func import hessian, jacrev, vmap

import hollowpde as hp
from hollowpde.residuals import (
    Bumps,
    Cosines,
    MomentEquations,
    RandomBumps,
    RandomCosines,
    Whitened,
)
from hollowpde.residuals.nodes import Nodes

DOUBLE = torch.float64


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def families(d):
    x = normal(400, d)
    generator = torch.Generator().manual_seed(1)
    cosines = RandomCosines(12).draw(x, generator)
    bumps = RandomBumps(12, lengths=(0.5, 2.0)).draw(x, generator)
    return [cosines, bumps, Whitened(cosines, x), Whitened(bumps, x)]


@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("k", range(4))
def test_generator_against_autograd(d, k):
    tests, x = families(d)[k], normal(7, d, seed=2)
    f, D = normal(7, d, seed=3), normal(7, d, seed=4).square()
    one = lambda y: tests.value(y.unsqueeze(0))[0]  # noqa: E731
    first = vmap(jacrev(one))(x)  # (n, M, d)
    second = vmap(hessian(one))(x).diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(tests.weights(x), torch.cat([first, 0.5 * second], dim=-1))
    expected = torch.einsum("nmi,ni->nm", first, f) + 0.5 * torch.einsum("nmi,ni->nm", second, D)
    torch.testing.assert_close(tests.generator(x, torch.cat([f, D], dim=1)), expected)


def test_values_are_the_formulas():
    x = torch.tensor([[0.3, -0.4]], dtype=DOUBLE)
    omega, phase = torch.tensor([[1.0, 2.0]], dtype=DOUBLE), torch.tensor([0.5], dtype=DOUBLE)
    assert Cosines(omega, phase).value(x).item() == pytest.approx(math.cos(0.3 - 0.8 + 0.5))
    bump = Bumps(torch.zeros(1, 2, dtype=DOUBLE), torch.tensor([2.0], dtype=DOUBLE))
    assert bump.value(x).item() == pytest.approx(math.exp(-0.25 / 8))


def test_whitened_functions_are_uncorrelated():
    x = normal(3000, 2)
    tests = Whitened(RandomCosines(40).draw(x, torch.Generator().manual_seed(0)), x)
    covariance = torch.cov(tests.value(x).T)
    torch.testing.assert_close(covariance, torch.eye(len(covariance), dtype=DOUBLE))
    assert 5 < len(covariance) <= 40


@pytest.mark.parametrize("d", [1, 2, 3])
def test_nodes_interpolate_what_is_linear_exactly(d):
    x = normal(500, d)
    nodes, rows = Nodes(x), slice(100, 300)
    slope = normal(d, 4, seed=1)
    torch.testing.assert_close(nodes.at_samples(nodes.points @ slope, rows), x[rows] @ slope)
    # And gathering is the transpose of it.
    at_nodes, at_samples = normal(len(nodes), 2, seed=2), normal(200, 2, seed=3)
    there = (nodes.from_samples(at_samples, rows) * at_nodes).sum()
    back = (at_samples * nodes.at_samples(at_nodes, rows)).sum()
    torch.testing.assert_close(there, back)


def test_nodes_are_few_and_close():
    x = normal(20_000, 2)
    nodes = Nodes(x)
    assert len(nodes) < 4000
    curved = lambda y: torch.sin(2 * y).sum(-1, keepdim=True)  # noqa: E731
    error = nodes.at_samples(curved(nodes.points), slice(None)) - curved(x)
    assert error.abs().mean() < 0.01
    outlier = torch.cat([x[:100], torch.tensor([[50.0, 50.0]], dtype=DOUBLE)])
    assert Nodes(outlier).at_samples(Nodes(outlier).points, slice(None)).allclose(outlier)


def ou(seed, n=2000, speed=1.0, times=9):
    """Independent samples of dX = -X dt + dW from N(1, .1) at several times, exactly."""
    t = torch.linspace(0, 2, times, dtype=DOUBLE).repeat_interleave(n)
    decay = torch.exp(-speed * t)
    sd = (0.1 * decay**2 + 0.5 * (1 - decay**2)).sqrt()
    return t, (decay + sd * normal(len(t), seed=seed)).unsqueeze(1)


def equations(t, x, **options):
    tests = Whitened(RandomCosines(40).draw(x, torch.Generator().manual_seed(0)), x)
    return MomentEquations(t, x, tests, **{"autonomous": True, **options})


def chi_square(system, f, D):
    values = torch.cat([f(system.x), D(system.x)], dim=1)
    system.weigh(values)
    return float(system.whitened(values).square().sum())


one = torch.ones_like


def test_the_truth_leaves_noise_of_known_size():
    ratios = []
    for seed in range(12):
        system = equations(*ou(seed))
        ratios.append(chi_square(system, lambda x: -x, one) / len(system))
    # A chi-square over its size has mean one; a floor under variances makes it a little smaller.
    assert 0.8 < sum(ratios) / len(ratios) < 1.1
    assert max(ratios) < 1.5


@pytest.mark.parametrize(
    ("f", "D"), [(lambda x: -1.2 * x, one), (lambda x: -x, lambda x: 1.2 * one(x))]
)
def test_what_is_wrong_is_seen(f, D):
    system = equations(*ou(0))
    assert chi2.sf(chi_square(system, f, D), len(system)) < 1e-6


def test_time_in_the_coefficients():
    # Time runs as its square: dX = 2 t (-X dt) + sqrt(2 t) dW.
    t, x = ou(0, times=15)
    root = t.sqrt()
    system = equations(root, x, autonomous=False)
    factor = 2 * system.t.unsqueeze(1)
    values = torch.cat([-factor * system.x, factor * one(system.x)], dim=1)
    system.weigh(values)
    # The square root has no derivative at zero: the first interval is left out of account.
    size = len(system) // 14
    later = system.whitened(values).square()[2 * size :]
    assert later.mean() < 1.5
    fixed = equations(root, x)
    assert chi_square(fixed, lambda x: -x, one) > 5 * len(fixed)


def test_the_integral_over_time_is_that_of_a_cubic():
    from hollowpde.residuals.moment_equations import _in_time

    t = torch.tensor([0.0, 0.3, 0.5, 1.1, 2.0], dtype=DOUBLE)
    difference, integral = _in_time(t, steady=False)
    torch.testing.assert_close(integral @ (4 * t**3 - t), difference @ (t**4 - t**2 / 2))
    for few in (2, 3):
        difference, integral = _in_time(t[:few], steady=False)
        torch.testing.assert_close(
            integral @ t[:few] ** (few - 1), difference @ t[:few] ** few / few
        )


def test_steady_state():
    x = 0.5**0.5 * normal(20_000, 1)
    system = equations(torch.zeros(len(x), dtype=DOUBLE), x, steady=True)
    assert chi2.sf(chi_square(system, lambda x: -x, one), len(system)) > 1e-3
    # Twice as fast is as good, another ratio is not.
    assert chi2.sf(chi_square(system, lambda x: -2 * x, lambda x: 2 * one(x)), len(system)) > 1e-3
    assert chi2.sf(chi_square(system, lambda x: -2 * x, one), len(system)) < 1e-6
    with pytest.raises(hp.InputError, match="one time"):
        equations(torch.zeros(len(x), dtype=DOUBLE), x)


def test_many_times_are_gathered(caplog):
    t, x = ou(0, n=300, times=200)
    with caplog.at_level("INFO"):
        system = equations(t, x)
    assert "30 intervals" in caplog.text and len(system.times) == 30
    assert chi_square(system, lambda x: -x, one) < 1.5 * len(system)


def test_homogeneity():
    assert chi2.sf(*equations(*ou(0)).changing()) < 1e-6
    t, _ = ou(0)
    for seed in range(3):
        assert chi2.sf(*equations(t, 0.7 * normal(len(t), 1, seed=seed)).changing()) > 1e-3


def test_what_a_velocity_does_to_marginals():
    t = torch.linspace(0, 1, 5, dtype=DOUBLE).repeat_interleave(4000)
    round_ = normal(len(t), 2) * (1 + t).unsqueeze(1)
    turned = lambda x: torch.stack([x[:, 1], -x[:, 0]], dim=1)  # noqa: E731
    assert chi2.sf(*equations(t, round_).moved_by(turned)) > 1e-3
    assert chi2.sf(*equations(t, round_).moved_by(lambda x: 0.1 * x)) < 1e-6
    long = round_ * torch.tensor([1.0, 2.0], dtype=DOUBLE)
    assert chi2.sf(*equations(t, long).moved_by(turned)) < 1e-6


def test_gradients_reach_the_coefficients():
    system = equations(*ou(0))
    values = torch.cat([-system.x, one(system.x)], dim=1)
    system.weigh(values)
    small = values.clone().requires_grad_()
    gradient = torch.autograd.grad(system.whitened(small).square().sum(), small)[0]
    step = normal(*values.shape, seed=5) * 1e-4
    change = (
        system.whitened(values + step).square().sum()
        - system.whitened(values - step).square().sum()
    )
    torch.testing.assert_close((gradient * step).sum(), change / 2)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_the_pull_of_noise_is_the_gradient_of_its_expected_chi_square(d):
    """Half the trace of C^-1 Cov(e), by a difference quotient of the covariance itself."""
    t = torch.arange(4, dtype=DOUBLE).repeat_interleave(150)
    x = normal(len(t), d) * (1 + 0.2 * t).unsqueeze(1)
    system = equations(t, x)
    values = torch.cat([-system.x, one(system.x)], dim=1)

    def covariance(at):
        system.weigh(at)
        return system._factor @ system._factor.T

    fixed = torch.linalg.inv(covariance(values))
    direction = normal(*values.shape, seed=7)
    step = 1e-4
    up, down = (
        0.5 * torch.trace(fixed @ covariance(values + s * direction)) for s in (step, -step)
    )
    system.weigh(values)
    torch.testing.assert_close(
        system.pull(direction), (up - down) / (2 * step), rtol=2e-3, atol=1e-3
    )
    half = 0.5 * system.whitened(values).square().sum()
    torch.testing.assert_close(system.nats(values), half - system.pull(values))


@pytest.mark.parametrize("d", [1, 2])
def test_the_pull_of_noise_on_a_flux(d):
    """Half the trace of the weights times Cov(e), by a difference quotient."""
    t = torch.arange(4, dtype=DOUBLE).repeat_interleave(150)
    x = normal(len(t), d) * (1 + 0.2 * t).unsqueeze(1)
    system, other = equations(t, x), equations(t, x)
    values = torch.cat([-system.x, one(system.x)], dim=1)
    system.weigh_as_flux(values, torch.linspace(0.5, 2, d, dtype=DOUBLE))
    weights = torch.linalg.inv(system._factor @ system._factor.T)

    def expected(at):
        other.weigh(at)
        return 0.5 * torch.trace(weights @ other._factor @ other._factor.T)

    # The unit: noise alone makes as many squares as there are equations.
    assert float(expected(values)) == pytest.approx(len(system) / 2)
    direction, step = normal(*values.shape, seed=7), 1e-4
    slope = (expected(values + step * direction) - expected(values - step * direction)) / 2 / step
    torch.testing.assert_close(system.pull(direction), slope, rtol=2e-3, atol=1e-3)


def test_weighed_as_a_flux_a_gradient_counts_by_its_square():
    """In the user's units; and what runs along the lines of equal density does not count."""
    n, scale = 4000, torch.tensor([2.0, 0.5], dtype=DOUBLE)
    root = torch.tensor([[1.0, 0.0], [0.6, 0.8]], dtype=DOUBLE)
    x = normal(2 * n, 2) @ root.T
    t = torch.tensor([0.0, 0.7], dtype=DOUBLE).repeat_interleave(n)
    tests = Whitened(RandomCosines(96).draw(x, torch.Generator().manual_seed(1)), x)
    equations = MomentEquations(t, x, tests, autonomous=True)
    nothing = torch.zeros(len(equations.x), 4, dtype=DOUBLE)
    equations.weigh_as_flux(nothing, scale)

    def share(force):
        """What a drift of the user's x = scale z counts for, over its mean square."""
        f = force(equations.x * scale) / scale
        values = torch.cat([f, torch.zeros_like(f)], dim=1)
        changed = equations.whitened(values) - equations.whitened(nothing)
        return float(changed.square().sum() / force(x * scale).square().sum(1).mean())

    def score(y):
        return -torch.linalg.solve(root @ root.T, (y / scale).T).T / scale

    slopes = (tests.weights(x)[..., :2] / scale).mT.reshape(len(x) * 2, -1)

    def explained(force):
        """The part of its mean square that the slopes of test functions hold, by least squares."""
        f = force(x * scale).reshape(-1, 1)
        left = f - slopes @ torch.linalg.lstsq(slopes, f).solution
        return float(1 - left.square().sum() / f.square().sum())

    def uniform(y):
        return torch.tensor([0.3, -0.2], dtype=DOUBLE).expand_as(y)

    stiffness = torch.tensor([[0.7, 0.4], [0.4, -1.0]], dtype=DOUBLE)
    unit = share(uniform)
    for force in (lambda y: y @ stiffness, lambda y: y.cos() * y[:, :1], torch.sin):
        expected = explained(force) / explained(uniform)
        assert share(force) / unit == pytest.approx(expected, rel=0.02)
    assert share(lambda y: y @ stiffness) == pytest.approx(unit, rel=0.1)
    bent = share(lambda y: torch.stack([torch.cos(y[:, 0]), 0 * y[:, 0]], dim=1))
    assert bent == pytest.approx(unit, rel=0.15)
    assert share(lambda y: torch.stack([-score(y)[:, 1], score(y)[:, 0]], dim=1)) < 0.02 * unit


def test_weighed_as_a_flux_noise_counts_as_much_as_it_does():
    t = torch.tensor([0.0, 0.5, 1.0], dtype=DOUBLE).repeat_interleave(2000)
    x = normal(6000, 1)
    tests = Whitened(RandomCosines(20).draw(x, torch.Generator().manual_seed(0)), x)
    equations = MomentEquations(t, x, tests, autonomous=True)
    values = torch.cat([-equations.x, 2 + 0 * equations.x], dim=1)
    equations.weigh_as_flux(values, torch.ones(1, dtype=DOUBLE))
    assert 0.2 < float(equations.whitened(values).square().sum()) / len(equations) < 5
    steady = MomentEquations(t, x, tests, autonomous=True, steady=True)
    steady.weigh_as_flux(values[: len(steady.x)], torch.ones(1, dtype=DOUBLE))
    assert steady.whitened(values[: len(steady.x)]).isfinite().all()
