"""Transition likelihoods against exact transitions and expansions in the step."""

import itertools
import math

import mpmath
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import hollowpde as hp
from hollowpde.likelihoods.base import phi1, phi2
from hollowpde.testing import redrawn
from hollowpde.testing.common import agree, points

from .families import Explicit

mpmath.mp.dps = 40


def constant(*values):
    values = torch.tensor(values, dtype=torch.float64)
    return Explicit(lambda t, x: values.expand_as(x))


def moments(likelihood, drift, diffusion, x, step):
    """Mean and variance of the Gaussian transition from x, read off the log density."""
    x = x.unsqueeze(0)
    t, step = torch.full((1,), 0.3).double(), torch.full((1,), step).double()
    at = x.clone().requires_grad_()
    value = likelihood.log_prob(drift, diffusion, t, x, step, at)
    (slope,) = torch.autograd.grad(value.sum(), at, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), at)
    variance = -1 / curvature
    return (x + variance * slope)[0].detach(), variance[0]


def linear(matrix):
    matrix = torch.tensor(matrix, dtype=torch.float64)
    return Explicit(lambda t, x: x @ matrix.T)


@given(
    rate=st.floats(-2, 5), noise=st.floats(0.1, 2), x=st.floats(-3, 3), to=st.floats(-3, 3),
    step=st.floats(1e-3, 1),
)  # fmt: skip
def test_local_linearization_is_exact_for_a_linear_drift(rate, noise, x, to, step):
    x, to, h = (torch.tensor([y], dtype=torch.float64) for y in (x, to, step))
    got = hp.LocalLinearization().log_prob(
        linear([[-rate]]), constant(noise), torch.zeros(1).double(), x[:, None], h, to[:, None]
    )
    decay = math.exp(-rate * step)
    share = step if rate == 0 else -math.expm1(-2 * rate * step) / (2 * rate)
    exact = torch.distributions.Normal(x * decay, math.sqrt(noise * share)).log_prob(to)
    torch.testing.assert_close(got, exact, rtol=1e-9, atol=1e-9)


@given(step=st.floats(1e-3, 1), x=st.floats(-3, 3), to=st.floats(-3, 3))
def test_euler_maruyama_freezes_the_step(step, x, to):
    x, to, h = (torch.tensor([y], dtype=torch.float64) for y in (x, to, step))
    got = hp.EulerMaruyama().log_prob(
        linear([[-1.5]]), constant(0.4), torch.zeros(1).double(), x[:, None], h, to[:, None]
    )
    mean, scale = x * (1 - 1.5 * h), (0.4 * h).sqrt()
    torch.testing.assert_close(got, torch.distributions.Normal(mean, scale).log_prob(to))


def orders(error, steps):
    """The observed order of an error as the step is halved."""
    errors = [error(h) for h in steps]
    assert min(errors) > 1e-13, "the errors are lost in rounding"
    return [math.log2(a / b) for a, b in itertools.pairwise(errors)]


STEPS = [0.04, 0.02, 0.01]


def test_the_mean_of_a_coupled_linear_drift_is_right_to_third_order():
    matrix = [[-1.0, 0.8], [-0.8, -1.2]]
    x = torch.tensor([2.0, -1.0], dtype=torch.float64)

    def error(likelihood):
        def of(h):
            mean, _ = moments(likelihood, linear(matrix), constant(0.25, 1.0), x, h)
            exact = torch.linalg.matrix_exp(h * torch.tensor(matrix, dtype=torch.float64)) @ x
            return float((mean - exact).abs().max())

        return of

    assert orders(error(hp.LocalLinearization()), STEPS) == pytest.approx([3, 3], abs=0.1)
    assert orders(error(hp.EulerMaruyama()), STEPS) == pytest.approx([2, 2], abs=0.1)


def test_moments_of_a_curved_drift():
    # Against E g(X_h) = sum_k h^k L^k g / k!, where L = f d/dx + D/2 d^2/dx^2.
    noise, start = 0.49, 0.6

    def generator(g):
        def image(x):
            (d1,) = torch.autograd.grad(g(x), x, create_graph=True)
            (d2,) = torch.autograd.grad(d1 + 0.0 * x, x, create_graph=True)
            return (x - x**3) * d1 + 0.5 * noise * d2

        return image

    def expansion(g, h):
        x = torch.tensor(start, dtype=torch.float64, requires_grad=True)
        total, term, factor = 0.0, g, 1.0
        for k in range(1, 7):
            total += factor * float(term(x).detach())
            term, factor = generator(term), factor * h / k
        return total

    drift = Explicit(lambda t, x: x - x**3)
    x = torch.tensor([start], dtype=torch.float64)

    def error_of_mean(h):
        mean, _ = moments(hp.LocalLinearization(), drift, constant(noise), x, h)
        return abs(float(mean) - expansion(lambda y: y, h))

    assert orders(error_of_mean, STEPS) == pytest.approx([3, 3], abs=0.2)

    def error_of_variance(h):
        _, variance = moments(hp.LocalLinearization(), drift, constant(noise), x, h)
        mean = expansion(lambda y: y, h)
        return abs(float(variance) - (expansion(lambda y: y**2, h) - mean**2))

    assert orders(error_of_variance, STEPS) == pytest.approx([4, 4], abs=0.3)


def test_a_drift_of_time_alone():
    # dX = cos t dt: the mean is right to third order through the time derivative of the drift.
    drift = Explicit(lambda t, x: t.cos().unsqueeze(-1).expand_as(x))
    for dim in (1, 2):
        x = torch.zeros(dim, dtype=torch.float64)

        def error(h, x=x, dim=dim):
            mean, _ = moments(hp.LocalLinearization(), drift, constant(*[1.0] * dim), x, h)
            # t passes through float32 in no place.
            t = float(torch.tensor(0.3))
            return float((mean - (math.sin(t + h) - math.sin(t))).abs().max())

        assert orders(error, STEPS) == pytest.approx([3, 3], abs=0.1)


@pytest.mark.parametrize("dim", [1, 2, 5])
@pytest.mark.parametrize("likelihood", [hp.EulerMaruyama(), hp.LocalLinearization()])
def test_networks_train_through_the_likelihood(likelihood, dim):
    drift = redrawn(hp.HollowNet(dim))
    diffusion = redrawn(hp.Positive(hp.HollowNet(dim)))
    t, x = points(dim, (6,), 0)
    step = torch.linspace(0.01, 0.5, 6, dtype=torch.float64)
    value = likelihood.log_prob(drift, diffusion, t, x, step, x + 0.1)
    assert value.shape == (6,)
    value.sum().backward()
    for field in (drift, diffusion):
        for name, parameter in field.named_parameters():
            assert parameter.grad.isfinite().all() and parameter.grad.any(), name


PHI = {
    "phi1": (phi1, lambda z: mpmath.expm1(z) / z, 1.0),
    "phi2": (phi2, lambda z: (mpmath.expm1(z) - z) / z**2, 0.5),
}


@pytest.mark.parametrize("name", PHI)
@given(
    z=st.one_of(
        st.floats(-60, 60), st.floats(-0.6, 0.6), st.floats(-1e-2, 1e-2), st.floats(-1e-7, 1e-7)
    ).filter(lambda z: abs(z) > 1e-12)
)
def test_phi(name, z):
    function, exact, _ = PHI[name]
    at = torch.tensor(z, dtype=torch.float64, requires_grad=True)
    value = function(at)
    (slope,) = torch.autograd.grad(value, at, create_graph=True)
    (bend,) = torch.autograd.grad(slope, at)
    for k, (y, rtol) in enumerate(((value, 1e-14), (slope, 1e-13), (bend, 1e-12))):
        assert y.item() == pytest.approx(float(mpmath.diff(exact, mpmath.mpf(z), k)), rel=rtol)


@pytest.mark.parametrize("name", PHI)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_phi_at_zero_and_far_below(name, dtype):
    function, _, limit = PHI[name]
    z = torch.tensor([0.0, -1e3, -1e6, -1e9], dtype=dtype, requires_grad=True)
    value = function(z)
    (slope,) = torch.autograd.grad(value.sum(), z, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), z)
    assert value[0].item() == limit
    # phi_k = sum_n z^n / (n + k)!
    k = int(name[-1])
    assert slope[0].item() == pytest.approx(1 / math.factorial(k + 1))
    assert bend[0].item() == pytest.approx(2 / math.factorial(k + 2))
    for y in (value, slope, bend):
        assert y.isfinite().all()


def test_the_transition_density_is_normalised():
    drift, diffusion = redrawn(hp.HollowNet(1)), redrawn(hp.Positive(hp.HollowNet(1)))
    to = torch.linspace(-20, 20, 4001, dtype=torch.float64).unsqueeze(-1)
    x, t = torch.full_like(to, 0.3), torch.full((4001,), 0.2).double()
    step = torch.full((4001,), 0.1).double()
    for likelihood in (hp.EulerMaruyama(), hp.LocalLinearization()):
        p = likelihood.log_prob(drift, diffusion, t, x, step, to).exp()
        agree("the integral", torch.trapezoid(p, to.squeeze(-1)), torch.ones(()).double())
