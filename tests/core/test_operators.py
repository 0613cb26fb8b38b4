"""Operators and jets against brute force, the fallback, and the errors."""

import itertools
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import hollowpde as hp
from hollowpde.operators import Field, time_derivative, with_laplacian
from hollowpde.operators.field import check_dtype
from hollowpde.testing import redrawn
from hollowpde.testing.common import agree, points

from .families import DENSITIES, WRAPPERS, Explicit, ForwardAlone, networks

DIMS = st.integers(1, 6)
SEEDS = st.integers(0, 10_000)
BATCHES = st.sampled_from([(), (1,), (3,), (2, 3)])
plain = networks(dims=DIMS).filter(lambda make: not make().context)


@pytest.fixture
def net():
    return redrawn(hp.HollowNet(3))


@pytest.fixture
def density():
    return redrawn(hp.GaussianMixture(3, 2))


def jacobian(field, t, x):
    """The full Jacobian of one point, by forward mode."""
    return torch.func.jacfwd(lambda y: field(t, y))(x)


@given(make=plain, wrapper=st.sampled_from(sorted(WRAPPERS)), batch=BATCHES, seed=SEEDS)
def test_divergence_is_the_trace_of_the_jacobian(make, wrapper, batch, seed):
    field = redrawn(WRAPPERS[wrapper](make()), seed)
    t, x = points(make().dim, batch, seed)
    flat = zip(t.reshape(-1), x.reshape(-1, x.shape[-1]), strict=True)
    traces = torch.stack([jacobian(field, s, y).trace() for s, y in flat]).reshape(batch)
    agree("the divergence", hp.divergence(field, t, x), traces)
    agree("the jet's divergence", hp.Jet(field, t, x).divergence, traces)
    agree("the reference", hp.reference.divergence(field, t, x), traces)


@pytest.mark.parametrize("family", DENSITIES)
@given(data=st.data(), dim=DIMS, batch=BATCHES, seed=SEEDS)
def test_gradient_and_laplacian_of_a_scalar(family, data, dim, batch, seed):
    field = redrawn(data.draw(DENSITIES[family](dim))(), seed)
    t, x = points(dim, batch, seed)
    flat = list(zip(t.reshape(-1), x.reshape(-1, dim), strict=True))
    slopes = torch.stack([jacobian(field, s, y) for s, y in flat]).reshape(*batch, dim)
    traces = torch.stack(
        [torch.func.hessian(lambda z, s=s: field(s, z))(y).trace() for s, y in flat]
    ).reshape(batch)
    u = hp.Jet(field, t, x)
    agree("the gradient", hp.gradient(field, t, x), slopes)
    agree("the Laplacian", hp.laplacian(field, t, x), traces)
    agree("the jet's gradient", u.gradient, slopes)
    agree("the jet's Laplacian", u.laplacian, traces)
    agree("the score", field.score(t, x), slopes)
    agree("the reference", hp.reference.laplacian(field, t, x), traces)


@pytest.mark.parametrize("family", DENSITIES)
@given(data=st.data(), dim=DIMS, batch=BATCHES, seed=SEEDS, each=st.booleans())
def test_weighted_laplacian(family, data, dim, batch, seed, each):
    field = redrawn(data.draw(DENSITIES[family](dim))(), seed)
    t, x = points(dim, batch, seed)
    weights = torch.randn(x.shape if each else (dim,), dtype=x.dtype)
    hessian = hp.reference.hessian(field, t, x)
    diagonal = hessian.diagonal(dim1=-2, dim2=-1)
    expected = (weights * diagonal).sum(-1)
    agree("the operator", hp.laplacian(field, t, x, weights=weights), expected)
    agree("the reference", hp.reference.laplacian(field, t, x, weights), expected)
    for order in (0, 2):
        u = hp.Jet(field, t, x, hp.Needs(order=order))
        agree("the jet", u.weighted_laplacian(weights), expected)
        agree("the gradient after it", u.gradient, hp.gradient(field, t, x))
        agree("the value after it", u.value, field(t, x))
    value, slope, total = with_laplacian(field, t, x, weights)
    agree("the value", value, field(t, x))
    agree("the gradient", slope, hp.gradient(field, t, x))
    agree("the sum", total, expected)


def test_hessian_by_brute_force():
    x = torch.randn(4, 3, dtype=torch.float64)

    def u(t, x):
        return (x[..., 0] * x[..., 1]).sin() + x[..., 2] ** 3

    got = hp.reference.hessian(u, 0.0, x)
    expected = torch.stack([torch.func.hessian(lambda z: u(0.0, z))(y) for y in x])
    torch.testing.assert_close(got.detach(), expected)
    with torch.no_grad():
        assert not hp.reference.hessian(u, 0.0, x).requires_grad
        assert not hp.reference.jacobian(lambda t, x: x**2, 0.0, x).requires_grad


@given(make=plain, batch=BATCHES, seed=SEEDS, time=st.sampled_from([0.0, 1.0, -0.5]))
def test_jvp_is_the_product_with_the_full_jacobian(make, batch, seed, time):
    field = redrawn(make(), seed)
    t, x = points(field.dim, batch, seed)
    v = torch.randn_like(x)
    value, slope = hp.jvp(field, t, x, v, time=time)
    product = (hp.reference.jacobian(field, t, x) @ v.unsqueeze(-1)).squeeze(-1)
    step = 1e-5
    in_time = (field(t + step, x) - field(t - step, x)) / (2 * step)
    agree("the value", value, field(t, x))
    agree("the slope", slope, product + time * in_time, 1e-7 if time == 0 else 1e-6)
    agree("d/dt", time_derivative(field, t, x), in_time, 1e-6)
    agree("the jet's d/dt", hp.Jet(field, t, x).dt, in_time, 1e-6)


@st.composite
def fields(draw):
    """Vector and scalar fields with structure, and their dimension."""
    if draw(st.booleans()):
        field = draw(plain)()
        return WRAPPERS[draw(st.sampled_from(sorted(WRAPPERS)))](field), field.dim
    dim = draw(DIMS)
    return draw(DENSITIES[draw(st.sampled_from(sorted(DENSITIES)))](dim))(), dim


@given(pair=fields(), batch=BATCHES, seed=SEEDS, order=st.integers(0, 3))
def test_time_derivatives_of_the_derivatives(pair, batch, seed, order):
    field = redrawn(pair[0], seed)
    t, x = points(pair[1], batch, seed)
    for time in (t, 0.3):
        expected = hp.reference.dimwise_in_time(field, time, x, order=order)
        with torch.no_grad():
            quiet = hp.dimwise_in_time(field, time, x, order=order)
        for got in (hp.dimwise_in_time(field, time, x, order=order), quiet):
            for what, a, b in zip(("derivative", "slope"), got, expected, strict=True):
                assert len(a) == len(b) == order + 1
                for k, (y, z) in enumerate(zip(a, b, strict=True)):
                    agree(f"the {what} of order {k}", y, z)


def test_brute_force_in_time_is_right():
    def wave(t, x):
        return (t.unsqueeze(-1) * x).sin() + x.roll(1, -1) * t.unsqueeze(-1)

    t, x = points(3, (4,), 0)
    s = t.unsqueeze(-1)
    values, slopes = hp.reference.dimwise_in_time(wave, t, x, order=2)
    agree("d/dt", slopes[0], x * (s * x).cos() + x.roll(1, -1))
    agree("d/dt d/dx", slopes[1], (s * x).cos() - s * x * (s * x).sin())
    agree("d/dt d2/dx2", slopes[2], -2 * s * (s * x).sin() - s**2 * x * (s * x).cos())
    for a, b in zip(values, hp.reference.dimwise(wave, t, x, order=2), strict=True):
        agree("the derivatives", a, b)
    scalar = hp.reference.dimwise_in_time(lambda t, x: wave(t, x).sum(-1), t, x, order=1)
    agree("d/dt of a scalar", scalar[1][0], slopes[0].sum(-1))
    agree("d/dt d/dx of a scalar", scalar[1][1], slopes[1] + s.new_ones(()))


def test_a_loss_on_the_time_derivative_of_a_derivative_trains(net):
    t, x = points(3, (4,), 0)
    gradients = []
    for operator in (hp.dimwise_in_time, hp.reference.dimwise_in_time):
        loss = sum(y.square().sum() for y in operator(net, t, x, order=2)[1])
        gradients.append(torch.autograd.grad(loss, list(net.parameters()), allow_unused=True))
    for (name, _), a, b in zip(net.named_parameters(), *gradients, strict=True):
        assert (a is None) == (b is None), name
        if a is not None:
            agree(f"the gradient with respect to {name}", a, b)


def test_expanded_times_and_points(net, density):
    # Forward mode refuses tensors whose elements share memory.
    t = torch.tensor(0.3, dtype=torch.float64).expand(4)
    x = torch.ones(3, dtype=torch.float64).expand(4, 3)
    v = torch.randn_like(x.contiguous())
    for field in (net, density):
        dt = hp.Jet(field, 0.3, x).dt
        assert dt.shape == field(t, x).shape
        torch.testing.assert_close(time_derivative(field, t, x), dt)
        for time in (0.0, 1.0):
            slope = hp.jvp(field, t, x, v, time=time)[1]
            torch.testing.assert_close(slope, hp.jvp(field, t, x.clone(), v, time=time)[1])


@pytest.mark.parametrize("order", range(4))
def test_vmap_over_points(net, density, order):
    x = torch.randn(5, 3, dtype=torch.float64)
    for field in (net, density):

        def operator(y, field=field):
            return hp.dimwise(field, 0.2, y, order=order)

        for a, b in zip(torch.func.vmap(operator)(x), operator(x), strict=True):
            torch.testing.assert_close(a, b)


def test_forward_mode_through_the_derivatives(net):
    x, v = torch.randn(2, 4, 3, dtype=torch.float64)
    for k in range(4):

        def derivative(y, k=k):
            return hp.dimwise(net, 0.2, y, order=k)[k]

        slope = torch.func.jvp(derivative, (x,), (v,))[1]
        leaf = x.clone().requires_grad_()
        d = derivative(leaf)
        rows = [torch.autograd.grad(y.sum(), leaf, retain_graph=True)[0] for y in d.unbind(-1)]
        agree(f"order {k}", slope, (torch.stack(rows, -2) @ v.unsqueeze(-1)).squeeze(-1))


# Jets


class Counting(Explicit):
    """x^4 componentwise, counting its evaluations by order."""

    def __init__(self):
        super().__init__(lambda t, x: x**4)
        self.asked = []

    def dimwise(self, t, x, order):
        self.asked.append(order)
        return super().dimwise(t, x, order)


def test_a_jet_computes_nothing_until_asked_and_everything_once():
    field, x = Counting(), torch.tensor([[1.0, 2.0]])
    u = hp.Jet(field, 0.0, x)
    assert field.asked == [] and u.needs == hp.Needs()
    torch.testing.assert_close(u.d(2), 12 * x**2)
    torch.testing.assert_close(u.d(1), 4 * x**3)
    torch.testing.assert_close(u.value, x**4)
    assert field.asked == [2] and u.needs == hp.Needs(order=2)
    torch.testing.assert_close(u.d(3), 24 * x)
    assert field.asked == [2, 3] and u.needs == hp.Needs(order=3)


def test_a_jet_opened_with_its_needs_is_one_pass():
    field = Counting()
    u = hp.Jet(field, 0.0, torch.ones(1, 2), hp.Needs(order=2))
    assert u.value.shape == u.d(1).shape == u.d(2).shape == (1, 2)
    assert field.asked == [2]


class Passes(Field):
    """A scalar field, sum_i exp(-t) x_i^4, that records which pass was asked for."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def terms(self, t, x, order):
        s = (-t).exp().unsqueeze(-1)
        each = [s * x**4, 4 * s * x**3, 12 * s * x**2, 24 * s * x]
        return each[0].sum(-1), *each[1 : order + 1]

    def dimwise(self, t, x, order):
        self.asked.append(("dimwise", order))
        return self.terms(t, x, order)

    def in_time(self, t, x, order):
        self.asked.append(("in_time", order))
        values = self.terms(t, x, order)
        return values, tuple(-y for y in values)

    def with_laplacian(self, t, x, weights=None):
        self.asked.append(("with_laplacian",))
        value, d1, d2 = self.terms(t, x, 2)
        return value, d1, (d2 if weights is None else weights * d2).sum(-1)


WEIGHTS = torch.tensor([2.0, -1.0, 0.5])
EXPRESSIONS = {
    "heat": (
        lambda u, t, x: u.value + u.dt - u.laplacian + u.gradient.sum(-1),
        [("with_laplacian",), ("in_time", 0)],
    ),
    "Laplacian first": (
        lambda u, t, x: u.laplacian * u.value,
        [("with_laplacian",)],
    ),
    "weighted": (
        lambda u, t, x: u.weighted_laplacian(WEIGHTS) + u.gradient.sum(-1) * u.value,
        [("with_laplacian",)],
    ),
    "each dimension": (
        lambda u, t, x: u.laplacian + u.d(2).square().sum(-1) + u.weighted_laplacian(WEIGHTS),
        [("dimwise", 2)],
    ),
    "mixed in time": (
        lambda u, t, x: u.dt + u.value + (u.dt_d(1) * u.d(2)).sum(-1) + u.laplacian,
        [("in_time", 2)],
    ),
    "mixed, in time later": (
        lambda u, t, x: u.value + (u.d(2) * u.dt_d(1)).sum(-1) + u.dt,
        [("in_time", 2)],
    ),
    "time alone": (lambda u, t, x: u.dt, [("in_time", 0)]),
    "slopes in time": (
        lambda u, t, x: u.dt_d(1).sum(-1) + u.laplacian + u.value,
        [("in_time", 1), ("with_laplacian",)],
    ),
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_a_residual_takes_the_fewest_passes(name):
    expression, passes = EXPRESSIONS[name]
    field, residual = Passes(), hp.Residual(expression)
    t, x = points(3, (4,), 0, torch.float32)
    first = residual([field], t, x)
    field.asked.clear()
    second = residual([field], t, x)
    assert sorted(field.asked) == sorted(passes)
    # By jets that know nothing beforehand, and by brute force.
    torch.testing.assert_close(first, second)
    torch.testing.assert_close(expression(hp.Jet(field, t, x), t, x), first)
    module = hp.Jet(lambda t, x: field.terms(t, x, 0)[0], t, x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", hp.BruteForceWarning)
        torch.testing.assert_close(expression(module, t, x).detach(), first)


def test_a_residual_takes_one_pass_at_the_order_it_needs():
    field = Counting()
    residual = hp.Residual(lambda u, t, x: u.value + u.d(1) + u.d(2))
    x = torch.ones(1, 2)
    torch.testing.assert_close(residual([field], 0.0, x), torch.full((1, 2), 17.0))
    assert field.asked[-1] == 2  # whatever it took to find that out
    field.asked.clear()
    residual([field], 0.0, x)
    assert field.asked == [2]


def test_the_order_that_a_residual_needs_may_grow():
    orders = iter([1, 1, 3])
    residual = hp.Residual(lambda u, t, x: u.d(next(orders)))
    x = torch.ones(1, 2)
    torch.testing.assert_close(residual([Counting()], 0.0, x), 4 * x)
    torch.testing.assert_close(residual([Counting()], 0.0, x), 24 * x)


def test_jets_refuse_what_their_field_has_not(net, density):
    x = torch.zeros(2, 3, dtype=torch.float64)
    for name in ("gradient", "laplacian"):
        with pytest.raises(hp.UnsupportedError, match=f"{name} needs a scalar field"):
            getattr(hp.Jet(net, 0.0, x), name)
    with pytest.raises(hp.UnsupportedError, match="laplacian needs a scalar field"):
        _ = hp.Jet(net, 0.0, x, hp.Needs(order=2)).laplacian
    with pytest.raises(hp.UnsupportedError, match="divergence needs a vector field"):
        _ = hp.Jet(density, 0.0, x).divergence
    with pytest.raises(hp.UnsupportedError, match=r"no Hessian: the mixed .* hp\.reference"):
        _ = hp.Jet(density, 0.0, x).hessian
    for ask in (hp.Jet(net, 0.0, x).d, hp.Jet(net, 0.0, x).dt_d):
        with pytest.raises(hp.InputError, match="k must be at least 0, but is -1"):
            ask(-1)


# The fallback


def test_any_module_works_by_brute_force_and_says_so():
    module = Plain()
    x = torch.randn(4, 3)
    with pytest.warns(hp.BruteForceWarning, match=r"Plain has no dimension-wise structure"):
        value, d1, d2 = hp.dimwise(module, 0.5, x, order=2)
    torch.testing.assert_close(value, 1.5 * x**2 + x.roll(1, -1))
    torch.testing.assert_close(d1, 3 * x)
    torch.testing.assert_close(d2, torch.full_like(x, 3.0))
    with pytest.warns(hp.BruteForceWarning):
        torch.testing.assert_close(hp.divergence(module, 0.5, x), (3 * x).sum(-1))


def test_a_field_with_structure_does_not_warn(net):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hp.dimwise(net, 0.0, torch.zeros(2, 3).double(), order=2)


def test_brute_force_trains_the_parameters_and_reaches_x():
    module = Plain()
    x = torch.ones(1, 2, requires_grad=True)
    hp.reference.dimwise(module, 0.0, x, order=1)[1].sum().backward()
    torch.testing.assert_close(x.grad, torch.full((1, 2), 2 * module.a.item()))
    assert module.a.grad.item() == 4.0
    with torch.no_grad():
        assert not hp.reference.dimwise(module, 0.0, x, order=1)[1].requires_grad


def test_brute_force_on_fields_that_are_constant_in_x():
    x = torch.zeros(2, 3)
    for field in (lambda t, x: torch.ones(2, 3), lambda t, x: torch.zeros(2)):
        for y in hp.reference.dimwise(field, 0.0, x, order=3)[1:]:
            assert y.shape == x.shape and not y.any()


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(1.5))

    def forward(self, t, x):
        return self.a * x**2 + x.roll(1, -1)


def test_brute_force_is_said_once_for_each_class():
    class Another(Plain):
        pass

    x = torch.zeros(2, 3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")  # what Python starts with, for our category
        hp.dimwise(Plain(), 0.0, x)
        hp.divergence(Plain(), 0.0, x)
        hp.dimwise_in_time(Plain(), 0.0, x)
        for module in (Plain(), Another(), Another()):
            hp.Jet(module, 0.0, x).d(1)
    assert [str(w.message).split()[0] for w in caught] == ["Plain", "Another"]
    assert all(w.category is hp.BruteForceWarning for w in caught)


def transforms(operator):
    """An operator of x within each transform, also on an x that has a gradient outside."""
    x = torch.ones(2, 3)
    for outer in (x, x.clone().requires_grad_()):
        yield lambda y=outer: torch.func.vmap(operator)(y)
        yield lambda y=outer: torch.func.vmap(lambda a: operator(a * y))(torch.ones(4))
        yield lambda y=outer: torch.func.grad(lambda a: operator(a * y).sum())(torch.ones(()))
        yield lambda y=outer: torch.func.jvp(operator, (x,), (x,))
        yield lambda y=outer: torch.func.vmap(
            lambda a: hp.reference.dimwise(lambda t, x: a * x**2, 0.0, y)[1]
        )(torch.ones(4))


@pytest.mark.parametrize(
    "operator",
    [
        lambda x: hp.reference.dimwise(Plain(), 0.0, x)[1],
        lambda x: hp.reference.dimwise_in_time(Plain(), 0.0, x)[1][0],
        lambda x: hp.reference.jacobian(Plain(), 0.0, x),
        lambda x: hp.reference.hessian(lambda t, x: x.sum(-1), 0.0, x),
    ],
    ids=["dimwise", "in time", "jacobian", "hessian"],
)
def test_brute_force_within_a_transform_is_refused(operator):
    # Torch's own gradient of an outer tensor would be silently zero there.
    for call in transforms(operator):
        with pytest.raises(hp.UnsupportedError, match="cannot run within a transform of"):
            call()


# Hutchinson


def every_sign(d, batch):
    """All 2^d sign vectors in turn, the same at every point."""
    signs = iter(itertools.product([-1.0, 1.0], repeat=d))
    return lambda x, generator: torch.tensor(next(signs), dtype=x.dtype).expand(*batch, d)


@pytest.mark.parametrize("batch", [(), (2, 3)])
@pytest.mark.parametrize("dim", [1, 2, 4])
def test_the_mean_over_all_signs_is_exact(dim, batch):
    t, x = points(dim, batch, 0)
    vector, scalar = redrawn(hp.HollowNet(dim)), redrawn(hp.GaussianMixture(dim, 2))
    for field, estimate, exact in (
        (vector, hp.hutchinson.divergence, hp.divergence),
        (scalar, hp.hutchinson.laplacian, hp.laplacian),
    ):
        parameters = [x.requires_grad_(), *field.parameters()]
        mean = estimate(field, t, x, probes=2**dim, distribution=every_sign(dim, batch))
        true = exact(field, t, x)
        agree("the mean", mean, true)
        gradients = [
            torch.autograd.grad(y.square().sum(), parameters, materialize_grads=True)
            for y in (mean, true)
        ]
        for a, b in zip(*gradients, strict=True):
            agree("its gradient", a, b)
        with torch.no_grad():
            signs = every_sign(dim, batch)
            agree(
                "without a graph", estimate(field, t, x, probes=2**dim, distribution=signs), true
            )


@pytest.mark.parametrize("distribution", [hp.hutchinson.rademacher, hp.hutchinson.gaussian])
def test_probes_have_mean_zero_and_unit_covariance(distribution):
    v = distribution(torch.zeros(100_000, 3), torch.Generator().manual_seed(0))
    assert v.dtype == torch.float32 and v.shape == (100_000, 3)
    # Five standard errors, of at most sqrt(2 / n).
    assert v.mean(0).abs().max() < 0.016
    assert (v.T @ v / len(v) - torch.eye(3)).abs().max() < 0.023


@pytest.mark.parametrize("distribution", [hp.hutchinson.rademacher, hp.hutchinson.gaussian])
def test_estimates_are_unbiased_and_follow_their_generator(distribution, net, density):
    x = torch.randn(3, dtype=torch.float64).expand(20_000, 3)
    for field, estimate, exact in (
        (net, hp.hutchinson.divergence, hp.divergence),
        (density, hp.hutchinson.laplacian, hp.laplacian),
    ):
        draws = [
            estimate(
                field,
                0.2,
                x,
                generator=torch.Generator().manual_seed(n),
                distribution=distribution,
            ).detach()
            for n in (0, 0, 1)
        ]
        assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
        error = draws[0].mean() - exact(field, 0.2, x[0])
        assert error.abs() < 5 * draws[0].std() / len(x) ** 0.5


def test_estimates_of_a_plain_module_do_not_warn():
    x = torch.randn(4, 3)
    hp.hutchinson.divergence(Plain(), 0.0, x).sum().backward()
    mapped = torch.func.vmap(
        lambda y: hp.hutchinson.laplacian(lambda t, x: (x**2).sum(-1), 0.0, y), randomness="same"
    )(x)
    torch.testing.assert_close(mapped, torch.full((4,), 6.0))


def test_probes_with_a_covariance_reach_mixed_derivatives():
    matrix = torch.tensor([[2.0, 1.0], [1.0, 3.0]], dtype=torch.float64)
    factor = torch.linalg.cholesky(matrix)
    signs = every_sign(2, (1,))
    x = torch.randn(1, 2, dtype=torch.float64)
    got = hp.hutchinson.laplacian(
        lambda t, x: x[..., 0] * x[..., 1] + x[..., 1] ** 3,
        0.0,
        x,
        probes=4,
        distribution=lambda x, generator: signs(x, generator) @ factor.T,
    )
    torch.testing.assert_close(got, 2 * matrix[0, 1] + matrix[1, 1] * 6 * x[:, 1])


def test_hutchinson_refuses(net, density):
    x = torch.zeros(2, 3, dtype=torch.float64)
    with pytest.raises(hp.UnsupportedError, match="divergence needs a vector field"):
        hp.hutchinson.divergence(density, 0.0, x)
    with pytest.raises(hp.UnsupportedError, match="laplacian needs a scalar field"):
        hp.hutchinson.laplacian(net, 0.0, x)
    for probes in (0, 1.0, True):
        with pytest.raises(hp.InputError, match=f"integer of at least 1, but is {probes}"):
            hp.hutchinson.divergence(net, 0.0, x, probes=probes)


def test_brute_force_is_at_fixed_t_and_fixed_x():
    def field(t, x):
        return t[..., None] * x**2

    x = torch.tensor([[1.0, 2.0]], requires_grad=True)
    t = x.sum(-1)
    torch.testing.assert_close(hp.reference.dimwise(field, t, x)[1], 2 * t[:, None] * x)
    torch.testing.assert_close(
        hp.reference.jacobian(field, t, x), torch.diag_embed(2 * t[:, None] * x)
    )
    hessian = hp.reference.hessian(lambda t, x: t * x.square().sum(-1), t, x)
    torch.testing.assert_close(hessian, torch.diag_embed(2 * t[:, None].expand_as(x)))
    t = torch.tensor([2.0], requires_grad=True)
    x = (3 * t)[:, None]
    values, slopes = hp.reference.dimwise_in_time(field, t, x, order=1)
    torch.testing.assert_close(slopes[0], x**2)
    torch.testing.assert_close(slopes[1], 2 * x)
    # And the graph still leads outside.
    (outer,) = torch.autograd.grad(values[1].sum(), t)
    torch.testing.assert_close(outer, 2 * x[0] + 2 * 3 * t)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: hp.dimwise(Plain(), 0.0, x),
        lambda x: hp.reference.hessian(lambda t, x: x.square().sum(-1), 0.0, x),
        lambda x: hp.dimwise(hp.HollowNet(3, transformer=ForwardAlone(hp.SharedMLP())), 0.0, x),
    ],
    ids=["dimwise", "hessian", "forward alone"],
)
@pytest.mark.filterwarnings("ignore::hollowpde.BruteForceWarning")
def test_reverse_mode_in_inference_mode_is_refused(call):
    with (
        torch.inference_mode(),
        pytest.raises(hp.UnsupportedError, match=r"use torch.no_grad\(\) instead"),
    ):
        call(torch.ones(2, 3))


def test_inference_mode_is_right_where_nothing_is_recorded(net):
    x = torch.randn(2, 3).double()
    with torch.no_grad():
        expected = hp.dimwise(net, 0.2, x, order=2)
    with torch.inference_mode():
        for a, b in zip(hp.dimwise(net, 0.2, x, order=2), expected, strict=True):
            assert torch.equal(a, b)


# Errors


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(2, 4), "x must have 3 columns, the dim of this"),
        (torch.zeros(2, 3, dtype=torch.long), "must be float32 or float64, but is torch.int64"),
        (torch.zeros(2, 3, dtype=torch.bfloat16), "float32 or float64, but is torch.bfloat16"),
        (torch.tensor(1.0), "x must be a tensor of shape"),
        ([[0.0, 0.0, 0.0]], "x must be a tensor of shape"),
    ],
)
@pytest.mark.parametrize("field", [hp.HollowNet(3), hp.GaussianMixture(3, 2)], ids=["net", "p"])
def test_wrong_x(field, x, message):
    for call in (hp.dimwise, hp.dimwise_in_time, hp.laplacian, hp.Jet, lambda f, t, x: f(t, x)):
        with pytest.raises(hp.InputError, match=message):
            outcome = call(field, 0.0, x)
            if isinstance(outcome, hp.Jet):
                _ = outcome.value


def test_the_dtype_of_a_network():
    check_dtype(torch.zeros(2), torch.zeros(3))
    with pytest.raises(
        hp.InputError, match=r"x is torch.float64, but this network is torch.float"
    ):
        check_dtype(torch.zeros(2).double(), torch.zeros(3))


@pytest.mark.parametrize("batch", [(), (2,)])
def test_wrong_weights(density, batch):
    x = torch.zeros(*batch, 3, dtype=torch.float64)
    for call in (
        lambda a: hp.laplacian(density, 0.0, x, weights=a),
        lambda a: hp.Jet(density, 0.0, x).weighted_laplacian(a),
    ):
        for shape in ((3, 3), (2, 3, 3)):
            with pytest.raises(hp.UnsupportedError, match="3 x 3 matrix, but the mixed second"):
                call(torch.ones(shape))
        for shape in ((), (2,), (1, 3), (4, 3)):
            with pytest.raises(hp.InputError, match=r"weights must have the shape \(3,\) or that"):
                call(torch.ones(shape))


@pytest.mark.parametrize("field", [hp.HollowNet(3), hp.RidgeNet(3)], ids=["net", "ridge"])
def test_half_precision_by_autocast_is_refused(field):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with pytest.raises(hp.InputError, match="autocast would compute derivatives in half"):
            hp.dimwise(field, 0.0, torch.zeros(2, 3))
        with pytest.raises(hp.InputError, match="autocast"):
            field(0.0, torch.zeros(2, 3))


def test_points_of_another_dtype_than_the_network():
    with pytest.raises(hp.InputError, match=r"x is torch.float64, but this network is torch.fl"):
        hp.dimwise(hp.HollowNet(3), 0.0, torch.zeros(2, 3).double())


@pytest.mark.parametrize("order", [-1, True, 1.0, None])
def test_wrong_order(order):
    with pytest.raises(hp.InputError, match=f"order must be an integer .* but is {order!r}"):
        hp.dimwise(hp.HollowNet(3), 0.0, torch.zeros(2, 3), order=order)


@pytest.mark.parametrize("shape", [(3,), (2, 1), (1,)])
def test_wrong_t(shape):
    net, t, x = hp.HollowNet(3), torch.zeros(shape), torch.zeros(2, 3)
    for call in (net, lambda t, x: hp.dimwise(net, t, x), lambda t, x: hp.Jet(net, t, x)):
        with pytest.raises(hp.InputError, match=r"a scalar or have the batch shape \(2,\)"):
            call(t, x)


def test_scalar_and_vector_fields_are_told_apart(net, density):
    x = torch.zeros(2, 3, dtype=torch.float64)
    with pytest.raises(hp.UnsupportedError, match="laplacian needs a scalar field"):
        hp.laplacian(net, 0.0, x)
    with pytest.raises(hp.UnsupportedError, match="gradient needs a scalar field"):
        hp.gradient(net, 0.0, x)
    with pytest.raises(hp.UnsupportedError, match="divergence needs a vector field"):
        hp.divergence(density, 0.0, x)


def test_wrong_direction(net):
    x = torch.zeros(2, 3, dtype=torch.float64)
    with pytest.raises(hp.InputError, match=r"direction must have the shape \(2, 3\) of x"):
        hp.jvp(net, 0.0, x, torch.zeros(3))


def test_a_field_that_returns_another_shape():
    with pytest.raises(hp.InputError, match=r"must return \(2, 3\) .* but returned \(3, 2\)"):
        hp.reference.dimwise(lambda t, x: x.T, 0.0, torch.zeros(2, 3))


def test_wrong_context():
    x = torch.zeros(2, 3)
    with pytest.raises(hp.InputError, match=r"context must have width 2, but has 0: bind one"):
        hp.HollowNet(3, context=2)(0.0, x)
    with pytest.raises(hp.InputError, match="context must have width 2, but has 4"):
        hp.HollowNet(3, context=2).given(torch.zeros(4))(0.0, x)
    with pytest.raises(hp.InputError, match="context must have width 0, but has 4"):
        hp.HollowNet(3).given(torch.zeros(4))(0.0, x)


@pytest.mark.parametrize(
    ("context", "x", "message"),
    [
        (torch.ones(4, 3), torch.zeros(5, 2), r"\(3,\) or \(5, 3\), .* but has \(4, 3\)"),
        (torch.ones(5, 3), torch.zeros(2), r"\(3,\) or \(3,\), .* but has \(5, 3\)"),
        (torch.tensor(1.0), torch.zeros(5, 2), "must have width 3, but has 1"),
        (torch.ones(3).double(), torch.zeros(5, 2), "context is torch.float64, but x is torch.fl"),
    ],
)
def test_wrong_context_shapes(context, x, message):
    with pytest.raises(hp.InputError, match=message):
        hp.HollowNet(2, context=3).given(context)(0.0, x)


@pytest.mark.parametrize(
    ("weights", "message"), [(2.0, "but is float"), (torch.ones(3), "but is torch.float32")]
)
def test_weights_of_the_wrong_type(density, weights, message):
    with pytest.raises(hp.InputError, match=f"weights must be .*{message}"):
        hp.laplacian(density, 0.0, torch.zeros(2, 3).double(), weights=weights)


@pytest.mark.parametrize("n", [1, 3, 4])
def test_positive_of_a_scalar(n):
    u = redrawn(hp.Positive(hp.SeparableNet(3)))
    t, x = points(3, (n,), 0)
    for order in range(4):
        exact = hp.dimwise(u, t, x, order=order)
        for a, b in zip(exact, hp.reference.dimwise(u, t, x, order=order), strict=True):
            agree("a derivative", a, b)


def test_residuals_with_data_of_every_point():
    x = torch.randn(4, 3)
    net = hp.HollowNet(3, context=2).given(torch.randn(4, 2))
    residual = hp.Residual(lambda u, t, x: u.divergence)
    torch.testing.assert_close(residual([net], 0.3, x), hp.divergence(net, 0.3, x))
    u, diffusion = hp.SeparableNet(3), torch.rand(4, 3)
    residual = hp.Residual(lambda u, t, x: u.weighted_laplacian(diffusion))
    expected = hp.laplacian(u, 0.3, x, weights=diffusion)
    torch.testing.assert_close(residual([u], 0.3, x), expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: hp.HollowNet(0), "dim must be at least 1"),
        (lambda: hp.HollowNet(2, context=-1), "context at least 0, but they are 2 and -1"),
        (lambda: hp.MaskedMLP(hidden=()), "hidden must hold at least one width"),
        (lambda: hp.MaskedMLP(hidden=(4, 0)), r"all positive, but is \(4, 0\)"),
        (lambda: hp.MaskedMLP(features=0), "features must be at least 1, but is 0"),
        (lambda: hp.SharedMLP(hidden=()), "hidden must hold at least one width"),
        (lambda: hp.SharedMLP(hidden=(0,)), r"all positive, but is \(0,\)"),
        (lambda: hp.GaussianMixture(0, 1), "must be at least 1, but they are 0 and 1"),
        (lambda: hp.GaussianMixture(1, 0), "must be at least 1, but they are 1 and 0"),
    ],
)
def test_wrong_sizes(make, message):
    with pytest.raises(hp.InputError, match=message):
        make()


def test_a_residual_takes_as_many_fields_as_it_says(net):
    with pytest.raises(hp.InputError, match="fields must hold 3 fields, but holds 1"):
        hp.fokker_planck()([net], 0.0, torch.zeros(2, 3).double())
