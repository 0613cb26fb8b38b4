"""Transition likelihoods against exact transitions and expansions in the step."""

import itertools
import math

import mpmath
import numpy as np
import pytest
import scipy
import torch
from hypothesis import given
from hypothesis import strategies as st

import hollowpde as hp
from hollowpde.likelihoods import (
    DiagonalClosure,
    DiagonalNormal,
    MixtureClosure,
    MomentClosure,
    NormalMixture,
    ProbedClosure,
    SkewClosure,
)
from hollowpde.likelihoods.diagonal_closure import _variance
from hollowpde.likelihoods.flow import missed
from hollowpde.likelihoods.moment_closure import Gaussian
from hollowpde.likelihoods.phi import phi
from hollowpde.testing import redrawn
from hollowpde.testing.common import agree, points

from .families import Explicit
from .transitions import (
    STEPS,
    after,
    constant,
    coupled,
    errors_of,
    linear,
    orders,
    van_loan,
)

mpmath.mp.dps = 40


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


LIKELIHOODS = {
    "Euler-Maruyama": hp.EulerMaruyama(),
    "local linearisation": hp.LocalLinearization(),
    "Ozaki": hp.LocalLinearization(curvature=False),
    "diagonal closure": DiagonalClosure(),
    "probed closure": ProbedClosure(directions=2),
    "moment closure, one node": MomentClosure(nodes=1),
    "moment closure": MomentClosure(nodes=2),
    "mixture closure": MixtureClosure(nodes=3),
}
ON_THE_LINE = {
    "skew closure, one node": SkewClosure(nodes=1),
    "skew closure": SkewClosure(nodes=2),
    "mixture of skew closures": MixtureClosure(nodes=3, closure=SkewClosure(nodes=1)),
}


def every_likelihood(*dims):
    """Each likelihood, in each of the numbers of dimensions that it is for."""
    return pytest.mark.parametrize(
        ("likelihood", "dim"),
        [
            pytest.param(likelihood, dim, id=f"{name}-{dim}")
            for dim in dims
            for name, likelihood in (LIKELIHOODS | (ON_THE_LINE if dim == 1 else {})).items()
        ],
    )


def networks(dim, dtype=torch.float64):
    conditioner, transformer = hp.MaskedMLP(hidden=(12,), features=3), hp.SharedMLP(hidden=(8,))
    net = hp.HollowNet(dim, conditioner=conditioner, transformer=transformer)
    return redrawn(net, 0, dtype), redrawn(hp.Positive(net), 1, dtype)


@every_likelihood(1, 2, 4)
def test_networks_train_through_the_likelihood(likelihood, dim):
    drift, diffusion = networks(dim)
    t, x = points(dim, (6,), 0)
    step = torch.linspace(0.01, 0.5, 6, dtype=torch.float64)
    value = likelihood.log_prob(drift, diffusion, t, x, step, x + 0.1)
    assert value.shape == (6,)
    value.sum().backward()
    for field in (drift, diffusion):
        for name, parameter in field.named_parameters():
            assert parameter.grad.isfinite().all() and parameter.grad.any(), name


@every_likelihood(1, 2)
def test_gradients_against_differences(likelihood, dim):
    drift, diffusion = networks(dim)
    t, x = points(dim, (3,), 0)
    step = torch.tensor([0.05, 0.3, 0.6]).double()

    def value():
        return likelihood.log_prob(drift, diffusion, t, x, step, x + 0.1).sum()

    value().backward()
    generator = torch.Generator().manual_seed(0)
    for field in (drift, diffusion):
        parameters = list(field.parameters())
        for _ in range(2):
            way = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]
            exact = sum(float((p.grad * v).sum()) for p, v in zip(parameters, way, strict=True))

            def moved(by, parameters=parameters, way=way):
                for p, v in zip(parameters, way, strict=True):
                    p.add_(by * v)
                return float(value())

            with torch.no_grad():
                above, below, _ = moved(1e-5), moved(-2e-5), moved(1e-5)
            assert exact == pytest.approx((above - below) / 2e-5, rel=1e-6)


@every_likelihood(1, 3)
def test_single_precision_agrees_with_double(likelihood, dim):
    def value(dtype):
        t, x = points(dim, (20,), 0, dtype)
        step = torch.linspace(0.01, 0.5, 20, dtype=dtype)
        return likelihood.log_prob(*networks(dim, dtype), t, x, step, x + 0.05)

    single = value(torch.float32)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), value(torch.float64), rtol=1e-4, atol=2e-3)


PHI = {
    "phi1": (lambda z: phi(z, 1), lambda z: mpmath.expm1(z) / z, 1.0),
    "phi2": (lambda z: phi(z, 2), lambda z: (mpmath.expm1(z) - z) / z**2, 0.5),
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


def test_transforms_go_through_phi():
    z = torch.tensor([-30.0, -0.7, -0.3, 0.0, 0.2, 0.5, 4.0]).double().requires_grad_()
    for k in (1, 2):
        assert torch.autograd.gradcheck(lambda y, k=k: phi(y, k), z, check_forward_ad=True)
        assert torch.autograd.gradgradcheck(lambda y, k=k: phi(y, k), z)

        def one(y, k=k):
            return phi(y, k)

        at = z.detach()
        (slope,) = torch.autograd.grad(one(z).sum(), z)
        torch.testing.assert_close(torch.func.vmap(torch.func.grad(one))(at), slope)
        torch.testing.assert_close(torch.func.vmap(torch.func.jacfwd(one))(at), slope)
        bend = torch.func.vmap(torch.func.grad(torch.func.grad(one)))(at)
        forward = torch.func.jvp(torch.func.vmap(torch.func.grad(one)), (at,), (at + 1,))[1]
        torch.testing.assert_close(forward, bend * (at + 1))


@every_likelihood(1)
def test_the_transition_density_is_normalised(likelihood, dim):
    drift, diffusion = networks(dim)
    to = torch.linspace(-20, 20, 4001, dtype=torch.float64).unsqueeze(-1)
    x, t = torch.full_like(to, 0.3), torch.full((4001,), 0.2).double()
    step = torch.full((4001,), 0.1).double()
    p = likelihood.log_prob(drift, diffusion, t, x, step, to).exp()
    agree("the integral", torch.trapezoid(p, to.squeeze(-1)), torch.ones(()).double())


@pytest.mark.parametrize("nodes", [1, 2, 3])
@pytest.mark.parametrize("dim", [2, 3, 4])
def test_moment_closure_of_a_coupled_linear_drift(dim, nodes):
    mean, covariance = errors_of(MomentClosure(nodes), *coupled(dim))
    assert orders(mean, STEPS) == pytest.approx([3, 3], abs=0.15)
    # The noise comes in by a quadrature of order 2 nodes + 1, through a flow of order 3.
    assert orders(covariance, STEPS) == pytest.approx([3 if nodes == 1 else 4] * 2, abs=0.25)
    assert mean(0.1) < 1e-3 and covariance(0.1) < (3e-3 if nodes == 1 else 3e-4)


@pytest.mark.parametrize("closure", [MomentClosure, SkewClosure])
@pytest.mark.parametrize("nodes", [1, 2, 3])
@pytest.mark.parametrize("rate", [0.0, 1.0, 30.0])
def test_closures_in_one_dimension_are_exact_for_a_linear_drift(rate, nodes, closure):
    mean, covariance = errors_of(closure(nodes), [[-rate]], [0.7], torch.ones(1).double())
    assert max(mean(0.5), covariance(0.5)) < 1e-14


@pytest.mark.parametrize("nodes", [1, 2, 3])
def test_the_nodes_miss_as_much_as_a_quadrature_of_their_number(nodes):
    def error(h):
        return float(missed(torch.tensor([-h]).double(), nodes))

    assert orders(error, [0.4, 0.2, 0.1]) == pytest.approx([2 * nodes] * 2, abs=0.4)
    anywhere = missed(torch.linspace(-50, 50, 999).double(), nodes)
    assert (anywhere >= 0).all() and anywhere.isfinite().all()


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_mixture_closure_of_a_linear_drift(dim):
    mean, covariance = errors_of(MixtureClosure(nodes=3), *coupled(dim))
    if dim == 1:
        assert max(mean(0.5), covariance(0.5)) < 1e-14
        return
    assert orders(mean, STEPS) == pytest.approx([3, 3], abs=0.15)
    assert orders(covariance, STEPS) == pytest.approx([3, 3], abs=0.25)
    assert mean(0.1) < 1e-3 and covariance(0.1) < 2e-3


def test_the_split_of_a_mixture_is_at_its_share():
    # A drift that is there only before the split: it moves the nodes, and nothing after it.
    drift = Explicit(lambda t, x: torch.where(t < 0.3 + 0.25, 1.0, 0.0).unsqueeze(-1) + 0 * x)
    mean, _ = after(MixtureClosure(share=0.25), drift, constant(0.2), torch.zeros(1).double(), 1.0)
    assert float(mean) == pytest.approx(0.25)


@pytest.mark.parametrize("dim", [1, 2, 4])
def test_diagonal_closure_of_a_linear_drift(dim):
    matrix, noise, x = coupled(dim)
    for substeps in (1, 2):
        mean, _ = errors_of(DiagonalClosure(substeps), matrix, noise, x)
        if dim > 1:
            assert orders(mean, STEPS) == pytest.approx([3, 3], abs=0.15)
        diagonal = np.diag(np.diag(matrix)).tolist()  # exact without the coupling
        mean, covariance = errors_of(DiagonalClosure(substeps), diagonal, noise, x)
        assert mean(0.7) < 1e-14 and covariance(0.7) < 1e-14


def closed(drift, diffusion, x, h):
    """Mean and variance by the moment equations `rates(t, m, v)`, to tight tolerance."""

    def rates(t, y):
        m, v = y
        return [drift(t) * m, 2 * drift(t) * v + diffusion(t, m, v)]

    solution = scipy.integrate.solve_ivp(rates, (0.3, 0.3 + h), [x, 0.0], rtol=1e-12, atol=1e-14)
    return solution.y[:, -1]


VARYING = {
    "coefficients that vary in time": (
        lambda t: -1 - 0.8 * np.sin(3 * t),
        lambda t, m, v: 0.5 + 0.4 * np.cos(2 * t),
        Explicit(lambda t, x: (-1 - 0.8 * (3 * t).sin()).unsqueeze(-1) * x),
        Explicit(lambda t, x: (0.5 + 0.4 * (2 * t).cos()).unsqueeze(-1) + 0 * x),
    ),
    # D = s^2 x^2, of which the mean is s^2 (m^2 + v).
    "geometric Brownian motion": (
        lambda t: 0.3,
        lambda t, m, v: 0.4 * (m**2 + v),
        Explicit(lambda t, x: 0.3 * x),
        Explicit(lambda t, x: 0.4 * x.square()),
    ),
}


@pytest.mark.parametrize("case", VARYING)
@pytest.mark.parametrize(
    "likelihood",
    [
        DiagonalClosure(1),
        DiagonalClosure(2),
        ProbedClosure(),
        MomentClosure(1),
        MomentClosure(2),
        MixtureClosure(3, share=0.3),
        SkewClosure(1),
        SkewClosure(2),
    ],
    ids=str,
)
def test_coefficients_that_vary(case, likelihood):
    slope, noise, drift, diffusion = VARYING[case]

    def error(which):
        def of(h):
            mean, covariance = after(likelihood, drift, diffusion, torch.tensor([1.3]).double(), h)
            exact = closed(slope, noise, float(torch.tensor(1.3)), h)
            return abs(float((mean, covariance)[which]) - exact[which])

        return of

    steps = [0.1, 0.05, 0.025]
    assert min(orders(error(1), steps)) > 2.7
    assert error(1)(0.1) < 1e-3
    if "time" in case:
        assert min(orders(error(0), steps)) > 2.7
    else:
        assert error(0)(0.1) < 1e-14


LANGEVIN = [[0.0, 1.0], [-1.0, -1.0]]  # dx = v dt, dv = (-x - v) dt + dW: no noise in x


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("step", [1e-3, 1e-2, 0.1])
def test_a_dimension_without_noise_gets_it_from_the_others(step, dtype):
    drift = Explicit(lambda t, x: x @ torch.tensor(LANGEVIN, dtype=x.dtype).T)
    diffusion = Explicit(lambda t, x: torch.tensor([0.0, 0.5], dtype=x.dtype).expand_as(x))
    x = torch.tensor([0.6, -0.3], dtype=dtype)
    _, covariance = after(MomentClosure(nodes=2), drift, diffusion, x, step, dtype)
    _, exact = van_loan(LANGEVIN, [0.0, 0.5], step)
    # In single precision x itself has no more than 2e-7 / 1e-5 of its spread at the least step.
    rtol = 0.3 * step if dtype == torch.float64 else 0.3 * step + 2e-2 * (1e-3 / step)
    torch.testing.assert_close(covariance.double(), exact, rtol=rtol, atol=0)


def test_a_dimension_without_noise_at_the_second_remove():
    chain = [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]
    x = torch.zeros(3).double()
    _, covariance = after(MomentClosure(nodes=3), linear(chain), constant(0, 0, 1.0), x, 0.2)
    torch.testing.assert_close(covariance, van_loan(chain, [0, 0, 1.0], 0.2)[1], rtol=0.05, atol=0)


@pytest.mark.parametrize(
    "likelihood", [MomentClosure(2), MixtureClosure(3), DiagonalClosure(), ProbedClosure()]
)
def test_noise_of_very_different_sizes_in_single_precision(likelihood):
    matrix, noise = [[-1.0, 0.0], [0.0, -2.0]], [1e-6, 1.0]
    drift = Explicit(lambda t, x: x @ torch.tensor(matrix, dtype=x.dtype).T)
    diffusion = Explicit(lambda t, x: torch.tensor(noise, dtype=x.dtype).expand_as(x))
    flow, covariance = van_loan(matrix, noise, 0.1)
    x = torch.tensor([0.1, -0.3])
    mean = flow @ x.double()
    to = (mean + covariance.diagonal().sqrt() * torch.tensor([1.0, -1.0])).float()

    def value(dtype):
        t, h = torch.zeros(1, dtype=dtype), torch.tensor([0.1]).to(dtype)
        return likelihood.log_prob(
            drift, diffusion, t, x[None].to(dtype), h, to[None].to(dtype)
        ).double()

    torch.testing.assert_close(value(torch.float32), value(torch.float64), rtol=0, atol=1e-3)
    if not isinstance(likelihood, MixtureClosure):
        normal = torch.distributions.MultivariateNormal(mean, covariance)
        exact = normal.log_prob(to.double())
        torch.testing.assert_close(value(torch.float32)[0], exact, rtol=0, atol=2e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@every_likelihood(1, 2)
def test_fast_decay_needs_no_small_step(likelihood, dim, dtype):
    if isinstance(likelihood, hp.EulerMaruyama):
        return
    drift = Explicit(lambda t, x: -1e3 * x)
    diffusion = Explicit(lambda t, x: torch.full_like(x, 0.5))
    x = torch.full((dim,), 2.0, dtype=dtype)
    mean, covariance = after(likelihood, drift, diffusion, x, 1.0, dtype)
    assert float(mean.abs().max()) < (1e-3 if dtype == torch.float32 else 1e-9)
    exact = torch.eye(dim).double() * 0.5 / 2e3
    torch.testing.assert_close(covariance.double(), exact, rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize(
    ("rate", "nodes", "rtol"), [(2.0, 2, 0.05), (2.0, 3, 5e-3), (4.0, 3, 0.04)]
)
def test_noise_of_a_fast_dimension_drives_a_slow_one(rate, nodes, rtol):
    # dx = v dt, dv = -rate v dt + dW, over a step of 1.
    matrix = [[0.0, 1.0], [0.0, -rate]]
    x = torch.zeros(2).double()
    _, covariance = after(MomentClosure(nodes), linear(matrix), constant(0.0, 4.0), x, 1.0)
    torch.testing.assert_close(covariance, van_loan(matrix, [0.0, 4.0], 1.0)[1], rtol=rtol, atol=0)


@pytest.mark.parametrize(
    "likelihood", [DiagonalClosure(), ProbedClosure(), MomentClosure(), MixtureClosure()]
)
def test_fast_decay_towards_a_curve(likelihood):
    # The fast dimension follows the slow one, at a cubic that no linearisation knows.
    drift = Explicit(
        lambda t, x: torch.stack([-x[..., 0], -500.0 * (x[..., 1] - x[..., 0] ** 3)], dim=-1)
    )
    x = torch.tensor([1.0, 1.0]).double()
    mean, covariance = after(likelihood, drift, constant(1e-4, 1e-2), x, 0.2)
    slow = math.exp(-0.2)
    assert mean.tolist() == pytest.approx([slow, slow**3], abs=0.02)
    assert covariance.isfinite().all() and (covariance.diagonal() > 0).all()


def test_variances_stay_positive_and_finite():
    # Noise that falls off at once, curves down, and a drift that grows beyond what exp holds.
    diffusion = Explicit(lambda t, x: 1e-3 + (-5 * x.square()).exp())
    for rate in (-1e4, -1.0, 1e3):
        drift = linear([[rate]])
        x = torch.linspace(-3, 3, 13).double().unsqueeze(-1)
        t, h = torch.zeros(13).double(), torch.ones(13).double()
        for likelihood in (*map(DiagonalClosure, (1, 2, 5)), ProbedClosure(), ProbedClosure(1, 1)):
            got = likelihood.transition(drift, diffusion, t, x, h)
            assert (got.variance > 0).all() and got.variance.isfinite().all()
            assert got.mean.isfinite().all()


def test_growth_beyond_e_fold_is_linear():
    v, h, growth = (torch.tensor([[y]]).double() for y in (1.0, 1.0, 5.0))
    got = _variance(v, h, growth, torch.zeros_like(v))
    assert float(got) == pytest.approx(math.e + 4 * (math.e - 1))  # e^1 v + phi1(1) (5 - 1) v


@pytest.mark.parametrize("likelihood", [DiagonalClosure(), ProbedClosure(2)])
def test_closures_keep_dimensions_apart(likelihood):
    # Dimensions that do not interact each have the moments that they have alone.
    drift = Explicit(lambda t, x: x - x**3)
    diffusion = Explicit(lambda t, x: 0.2 + 0.1 * x.square())
    t, x = points(3, (5,), 0)
    h = torch.linspace(0.05, 0.5, 5).double()
    together = likelihood.transition(drift, diffusion, t, x, h)
    for i in range(3):
        alone = likelihood.transition(drift, diffusion, t, x[:, i : i + 1], h)
        torch.testing.assert_close(together.mean[:, i : i + 1], alone.mean)
        torch.testing.assert_close(together.variance[:, i : i + 1], alone.variance)


def test_more_substeps_converge_to_the_moment_equations():
    # Of the double well: m' = m - m^3 - 3 m v, v' = 2 v (1 - 3 m^2 - 3 v) + D.
    def rates(t, y):
        m, v = y
        return [m - m**3 - 3 * m * v, 2 * v * (1 - 3 * m**2 - 3 * v) + 0.49]

    exact = scipy.integrate.solve_ivp(rates, (0, 0.5), [0.4, 0.0], rtol=1e-11, atol=1e-12)
    drift = Explicit(lambda t, x: x - x**3)
    x = torch.tensor([0.4]).double()

    def error(substeps):
        mean, covariance = after(DiagonalClosure(substeps), drift, constant(0.49), x, 0.5)
        return max(abs(float(mean) - exact.y[0, -1]), abs(float(covariance) - exact.y[1, -1]))

    assert orders(error, [8, 16, 32]) == pytest.approx([2, 2], abs=0.4)
    assert error(2) < 2e-2


def kolmogorov(start, h, noise=0.49, bins=481):
    """p(x, h) of the double well from `start`, by a Markov chain on a fine grid."""
    grid = np.linspace(-3, 3, bins)
    width = grid[1] - grid[0]
    up, down = (noise / width**2 + sign * (grid - grid**3) / width for sign in (1, -1))
    rates = scipy.sparse.diags_array([down[1:] / 2, up[:-1] / 2], offsets=[-1, 1]).tolil()
    rates.setdiag(-np.asarray(rates.sum(axis=1)).ravel())
    first = np.zeros(bins)
    first[np.argmin(abs(grid - start))] = 1 / width
    return grid, scipy.sparse.linalg.expm_multiply(rates.T.tocsc() * h, first)


def divergence(likelihood, drift, diffusion, start, h, grid, p):
    """KL(p || q) of a likelihood's density q, on a grid."""
    x = torch.from_numpy(grid).unsqueeze(-1)
    n = len(grid)
    with torch.no_grad():
        q = likelihood.transition(
            drift,
            diffusion,
            torch.zeros(1).double(),
            torch.full((1, 1), start).double(),
            torch.full((1,), h).double(),
        ).log_prob(x)
    assert q.shape == (n,)
    inside = p > 1e-12
    gap = np.where(inside, np.log(np.where(inside, p, 1)) - q.numpy(), 0)
    return float(scipy.integrate.trapezoid(p * gap, grid))


@pytest.mark.parametrize("start", [0.0, 0.3, 1.0, 1.6])
def test_the_mixture_of_a_double_well(start):
    grid, p = kolmogorov(start, 0.5)
    assert scipy.integrate.trapezoid(p, grid) == pytest.approx(1, abs=1e-6)
    case = (Explicit(lambda t, x: x - x**3), constant(0.49), grid[np.argmin(abs(grid - start))])
    mixture, one, diagonal, frozen = (
        divergence(likelihood, *case, 0.5, grid, p)
        for likelihood in (
            MixtureClosure(), MomentClosure(), DiagonalClosure(), hp.EulerMaruyama()
        )
    )  # fmt: skip
    assert 0 < mixture < 0.01
    assert max(one, diagonal) < frozen
    skew, best = (
        divergence(likelihood, *case, 0.5, grid, p)
        for likelihood in (SkewClosure(), MixtureClosure(9, closure=SkewClosure()))
    )
    assert 0 < best < 1e-3 < skew < 0.7 * one
    if start:  # from the top of the hill the transition is symmetric, and nearly Gaussian
        assert 0.02 < min(one, diagonal) and max(one, diagonal) < 0.045


@pytest.mark.parametrize("start", [0.3, 1.0, 2.0])
def test_the_mixture_of_the_cir_process(start):
    # dX = k (m - X) dt + s sqrt(X) dW: X / c is noncentral chi-square.
    k, m, s, h = 1.0, 1.0, 0.4, 0.5
    c = s**2 * -math.expm1(-k * h) / (4 * k)
    exact = scipy.stats.ncx2(4 * k * m / s**2, start * math.exp(-k * h) / c, scale=c)
    grid = np.linspace(1e-4, 6, 3000)
    drift = Explicit(lambda t, x: k * (m - x))
    diffusion = Explicit(lambda t, x: s**2 * x.clamp(min=1e-3))
    case = (drift, diffusion, start, h, grid, exact.pdf(grid))
    mixture, one = (divergence(f, *case) for f in (MixtureClosure(), MomentClosure()))
    assert 0 < mixture < 0.01
    assert one > 2.5 * mixture
    skew, best = (
        divergence(f, *case) for f in (SkewClosure(), MixtureClosure(closure=SkewClosure()))
    )
    assert 0 < best < 0.15 * mixture and 0 < skew < 0.3 * mixture
    for likelihood in (MomentClosure(), DiagonalClosure(), MixtureClosure(), SkewClosure()):
        mean, variance = after(likelihood, drift, diffusion, torch.tensor([start]).double(), h)
        assert float(mean) == pytest.approx(exact.mean(), rel=1e-3)
        assert float(variance) == pytest.approx(exact.var(), rel=3e-2)


def correlated_mixture(n):
    """Two components that differ in weight, place and correlation."""
    weight = torch.tensor([0.3, 0.7], dtype=torch.float64)
    mean = torch.tensor([[-1.0, 0.5], [1.2, -0.4]]).double().unsqueeze(1).expand(2, n, 2)
    factor = torch.tensor([[[0.6, 0.0], [0.5, 0.2]], [[0.9, 0.0], [-0.7, 0.4]]]).double()
    return NormalMixture(weight, mean, factor.unsqueeze(1).expand(2, n, 2, 2))


def draw(transition, generator):
    """One sample of each row."""
    n, d = transition.mean.shape[-2:]
    if isinstance(transition, DiagonalNormal):
        z = torch.randn(n, d, generator=generator).double()
        return transition.mean + transition.variance.sqrt() * z
    k = torch.multinomial(transition.weight, n, replacement=True, generator=generator)
    z = torch.randn(n, d, 1, generator=generator).double()
    rows = torch.arange(n)
    return transition.mean[k, rows] + (transition.factor[k, rows] @ z).squeeze(-1)


def uniform(u):
    """Whether each column is uniform, and no two depend on each other."""
    assert ((u >= 0) & (u <= 1)).all()
    for column in u.T:
        assert scipy.stats.kstest(column.numpy(), "uniform").pvalue > 0.01
    for a, b in itertools.combinations(u.T.numpy(), 2):
        assert scipy.stats.spearmanr(a, b).pvalue > 0.01
        # Dependence of spreads, which ranks alone do not show.
        assert scipy.stats.spearmanr(abs(a - 0.5), abs(b - 0.5)).pvalue > 0.01


@every_likelihood(2)
def test_uniforms_of_its_own_samples_are_uniform(likelihood, dim):
    drift, diffusion = networks(dim)
    t, x = points(dim, (600,), 0)
    with torch.no_grad():
        transition = likelihood.transition(drift, diffusion, t, x, torch.full_like(t, 0.4))
        u = transition.uniforms(draw(transition, torch.Generator().manual_seed(1)))
    uniform(u)


def test_uniforms_of_correlated_components():
    transition = correlated_mixture(4000)
    x = draw(transition, torch.Generator().manual_seed(2))
    assert abs(scipy.stats.spearmanr(*x.T.numpy()).statistic) > 0.3
    uniform(transition.uniforms(x))


def test_uniforms_are_conditional_distributions():
    # By the integral of the density over the second coordinate.
    transition = correlated_mixture(1)
    second = torch.linspace(-8, 8, 16001).double()
    for x1, x2 in [(-1.0, 0.4), (0.3, 0.0), (2.0, -1.0)]:
        line = torch.stack([torch.full_like(second, x1), second], dim=-1)
        p = transition.log_prob(line).exp()
        below = torch.trapezoid(torch.where(second <= x2, p, 0), second) / p.sum()
        u = transition.uniforms(torch.tensor([[x1, x2]], dtype=torch.float64))[0]
        assert float(u[1]) == pytest.approx(float(below / (second[1] - second[0])), abs=1e-3)
        first = sum(
            float(w) * scipy.stats.norm.cdf(x1, float(m[0, 0]), float(f[0, 0, 0]))
            for w, m, f in zip(transition.weight, transition.mean, transition.factor, strict=True)
        )
        assert float(u[0]) == pytest.approx(first, abs=1e-12)


@every_likelihood(1)
def test_uniforms_of_one_dimension_are_the_distribution_function(likelihood, dim):
    drift, diffusion = networks(dim)
    t, x = points(dim, (9,), 0)
    to = torch.linspace(0, 1, 4001).double().unsqueeze(-1)
    with torch.no_grad():
        transition = likelihood.transition(drift, diffusion, t, x, torch.full_like(t, 0.3))
        low, high = transition.uniforms(x - 0.3), transition.uniforms(x + 0.7)
        p = torch.stack([transition.log_prob(x - 0.3 + s).exp() for s in to])
    torch.testing.assert_close(
        (high - low)[:, 0], torch.trapezoid(p, to, dim=0), rtol=1e-6, atol=0
    )
    low, high = (torch.full_like(x, y) for y in (-1e4, 1e4))
    assert not transition.uniforms(low).any() and (transition.uniforms(high) == 1).all()


def test_the_density_of_a_mixture_against_torch():
    transition = correlated_mixture(5)
    parts = torch.distributions.MultivariateNormal(
        transition.mean.transpose(0, 1), scale_tril=transition.factor.transpose(0, 1)
    )
    mixing = torch.distributions.Categorical(transition.weight.expand(5, 2))
    exact = torch.distributions.MixtureSameFamily(mixing, parts)
    x = torch.randn(5, 2).double()
    torch.testing.assert_close(transition.log_prob(x), exact.log_prob(x))


def test_cubature_points_have_the_moments():
    factor = torch.tensor([[0.6, 0.0], [0.5, 0.2]]).double()
    mean = torch.tensor([1.0, -2.0]).double()
    at = Gaussian(mean, factor).points()
    torch.testing.assert_close(at.mean(0), mean)
    torch.testing.assert_close(torch.cov(at.T, correction=0), factor @ factor.T)


@pytest.mark.parametrize(
    ("likelihood", "dim"),
    [
        *itertools.product(
            [DiagonalClosure(), ProbedClosure(2), MomentClosure(), MixtureClosure(3)], [1, 3]
        ),
        (SkewClosure(), 1),
    ],
)
def test_a_row_that_fails_is_no_number_and_leaves_the_others(likelihood, dim):
    _, x = points(dim, (4,), 0)
    step = torch.full((4,), 0.1).double()
    times = torch.tensor([0.0, 0.0, 1e6, 0.0]).double()

    def log_prob(broken):
        # Of the third row alone the drift is what `broken` makes it.
        rate = torch.tensor(broken).double()
        drift = Explicit(lambda t, x: -x * torch.where(t > 1e5, rate, 1.0).unsqueeze(-1))
        start = x.clone().requires_grad_()
        noise = constant(*[0.5] * dim)
        value = likelihood.log_prob(drift, noise, times, start, step, x)
        (slope,) = torch.autograd.grad(value[torch.tensor([0, 1, 3])].sum(), start)
        return value.detach(), slope

    whole, expected = log_prob(1.0)
    rest = torch.tensor([0, 1, 3])
    for broken in (math.nan, math.inf, -1e200):
        value, slope = log_prob(broken)
        assert not value[2].isfinite()
        torch.testing.assert_close(value[rest], whole[rest])
        torch.testing.assert_close(slope[rest], expected[rest])


def test_a_dimension_that_no_noise_reaches_has_no_finite_density():
    likelihood = MomentClosure()
    t, x = points(2, (3,), 0)
    value = likelihood.log_prob(
        linear([[-1.0, 0.0], [0.0, -1.0]]), constant(0.0, 1.0), t, x, t + 0.1, x
    )
    assert not value.isfinite().any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MomentClosure(nodes=0), "nodes must be at least 1, but is 0"),
        (lambda: MixtureClosure(nodes=1), "nodes must be at least 2, but is 1"),
        (lambda: MixtureClosure(share=1.0), "share must lie between 0 and 1, but is 1.0"),
        (lambda: MixtureClosure(share=0.0), "share must lie between 0 and 1, but is 0.0"),
        (lambda: SkewClosure(nodes=0), "nodes must be at least 1, but is 0"),
        (lambda: DiagonalClosure(substeps=0), "substeps must be at least 1, but is 0"),
        (lambda: ProbedClosure(directions=0), "directions must be at least 1, but is 0"),
        (lambda: ProbedClosure(nodes=0), "nodes must be at least 1, but is 0"),
    ],
)
def test_settings_out_of_range(make, message):
    with pytest.raises(hp.InputError, match=message):
        make()


def test_too_many_components():
    t, x = points(5, (2,), 0)
    with pytest.raises(hp.UnsupportedError, match="3125 components: use MomentClosure"):
        MixtureClosure(nodes=5).transition(*networks(5), t, x, t)


def test_a_skewed_closure_is_for_one_dimension():
    t, x = points(2, (2,), 0)
    for likelihood in (SkewClosure(), MixtureClosure(closure=SkewClosure())):
        with pytest.raises(hp.UnsupportedError, match="one dimension, but there are 2"):
            likelihood.transition(*networks(2), t, x, t)
