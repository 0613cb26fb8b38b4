"""Operators and jets against brute force, the fallback, and the errors."""

import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import hollowpde as hp
from hollowpde.operators import time_derivative
from hollowpde.testing import redrawn
from hollowpde.testing.common import agree, points

from .families import DENSITIES, WRAPPERS, Explicit, networks

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

        with warnings.catch_warnings():
            # torch falls back to a loop for in-place products: slow, not wrong.
            warnings.filterwarnings("ignore", "There is a performance drop")
            mapped = torch.func.vmap(operator)(x)
        for a, b in zip(mapped, operator(x), strict=True):
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
    assert field.asked == [] and u.order == 0
    torch.testing.assert_close(u.d(2), 12 * x**2)
    torch.testing.assert_close(u.d(1), 4 * x**3)
    torch.testing.assert_close(u.value, x**4)
    assert field.asked == [2] and u.order == 2
    torch.testing.assert_close(u.d(3), 24 * x)
    assert field.asked == [2, 3] and u.order == 3


def test_a_jet_opened_at_an_order_is_one_pass():
    field = Counting()
    u = hp.Jet(field, 0.0, torch.ones(1, 2), order=2)
    assert u.value.shape == u.d(1).shape == u.d(2).shape == (1, 2)
    assert field.asked == [2]


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
    with pytest.raises(hp.UnsupportedError, match="divergence needs a vector field"):
        _ = hp.Jet(density, 0.0, x).divergence
    with pytest.raises(hp.InputError, match="k must be at least 0, but is -1"):
        hp.Jet(net, 0.0, x).d(-1)


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
    with pytest.raises(hp.InputError, match=message):
        hp.dimwise(field, 0.0, x)


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
    ("make", "message"),
    [
        (lambda: hp.HollowNet(0), "dim must be at least 1"),
        (lambda: hp.HollowNet(2, context=-1), "context at least 0, but they are 2 and -1"),
        (lambda: hp.MaskedMLP(hidden=()), "hidden must hold at least one width"),
        (lambda: hp.MaskedMLP(hidden=(4, 0)), r"all positive, but is \(4, 0\)"),
        (lambda: hp.MaskedMLP(features=1), "features must be at least 2"),
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
