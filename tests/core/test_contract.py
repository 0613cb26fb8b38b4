"""The contract checks that ship with the package, over every registered implementation."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hollowpde as hp
import hollowpde.testing as checks
from hollowpde.nets import silu, softplus, tanh
from hollowpde.testing.common import dimension

from .families import CONDITIONERS, DENSITIES, NETWORKS, WRAPPERS, Explicit, networks

SEEDS = st.integers(0, 10_000)
ORDERS = st.integers(0, 5)
pairs = pytest.mark.parametrize(("conditioner", "transformer"), NETWORKS)


@pairs
@settings(max_examples=40)
@given(data=st.data(), seed=SEEDS)
def test_hollow(conditioner, transformer, data, seed):
    checks.check_hollow(data.draw(networks(conditioner, transformer))(), seed=seed)


@pairs
@settings(max_examples=40)
@given(data=st.data(), seed=SEEDS)
def test_coverage(conditioner, transformer, data, seed):
    dims = st.integers(1, 20)
    checks.check_coverage(data.draw(networks(conditioner, transformer, dims))(), seed=seed)


@pairs
@settings(max_examples=12)
@given(data=st.data(), order=ORDERS, seed=SEEDS)
def test_derivatives(conditioner, transformer, data, order, seed):
    make = data.draw(networks(conditioner, transformer))
    checks.check_derivatives(make(), order=order, seed=seed)


@pairs
@settings(max_examples=10)
@given(data=st.data(), order=st.integers(0, 3), seed=SEEDS)
def test_gradients(conditioner, transformer, data, order, seed):
    make = data.draw(networks(conditioner, transformer))
    checks.check_gradients(make(), order=order, seed=seed)


@pairs
@settings(max_examples=4)
@given(data=st.data(), order=st.integers(0, 3), seed=SEEDS)
def test_gradgrad(conditioner, transformer, data, order, seed):
    make = data.draw(networks(conditioner, transformer, dims=st.integers(1, 4)))
    checks.check_gradgrad(make(), order=order, seed=seed)


@pairs
@given(data=st.data(), seed=SEEDS)
def test_roundtrip(conditioner, transformer, data, seed):
    make = data.draw(networks(conditioner, transformer))
    checks.check_roundtrip(make(), make=make, seed=seed)


@pytest.mark.parametrize("wrapper", WRAPPERS)
@settings(max_examples=3)
@given(make=networks().filter(lambda make: not make().context), seed=SEEDS)
def test_wrapped_networks(wrapper, make, seed):
    build = lambda: WRAPPERS[wrapper](make())  # noqa: E731
    checks.check_field(build(), make=build, order=4, seed=seed)


@pytest.mark.parametrize("activation", [tanh, silu, softplus], ids=repr)
def test_default_networks(activation):
    make = lambda: hp.HollowNet(  # noqa: E731
        3, conditioner=hp.MaskedMLP(), transformer=hp.SharedMLP(activation=activation)
    )
    checks.check_field(make(), make=make)


@pytest.mark.parametrize("family", DENSITIES)
@settings(max_examples=30)
@given(data=st.data(), dim=st.integers(1, 8), order=ORDERS, seed=SEEDS)
def test_derivatives_of_densities(family, data, dim, order, seed):
    checks.check_derivatives(data.draw(DENSITIES[family](dim))(), order=order, seed=seed)


@pytest.mark.parametrize("family", DENSITIES)
@settings(max_examples=5)
@given(data=st.data(), dim=st.integers(1, 4), seed=SEEDS)
def test_gradients_of_densities(family, data, dim, seed):
    make = data.draw(DENSITIES[family](dim))
    checks.check_gradients(make(), order=3, seed=seed)
    checks.check_gradgrad(make(), seed=seed)
    checks.check_roundtrip(make(), make=make, seed=seed)


@pytest.mark.parametrize("family", DENSITIES)
@settings(max_examples=12)
@given(data=st.data(), dim=st.integers(1, 5), seed=SEEDS)
def test_densities(family, data, dim, seed):
    checks.check_density(data.draw(DENSITIES[family](dim))(), seed=seed)


@pytest.mark.parametrize("dim", [300, 1024])
@pytest.mark.parametrize("width", [64, 256])
def test_high_dimension(dim, width):
    net = hp.HollowNet(dim, conditioner=hp.MaskedMLP(hidden=(width, width)))
    checks.check_hollow(net, dims=6)
    checks.check_coverage(net)


@pytest.mark.parametrize(
    "formula",
    [
        lambda t, x: -x,
        lambda t, x: torch.ones_like(x),
        lambda t, x: t.unsqueeze(-1) * x.sin().roll(1, -1),
        lambda t, x: t + x.prod(-1),
    ],
    ids=["linear", "constant", "shifted", "scalar"],
)
def test_fields_without_parameters(formula):
    checks.check_field(Explicit(formula), dim=3)


def test_a_context_per_sample():
    net = checks.redrawn(hp.HollowNet(3, context=2))
    context, x = torch.randn(5, 2).double(), torch.randn(5, 3).double()
    together = hp.dimwise(net.given(context), 0.3, x, order=2)
    for n in range(5):
        alone = hp.dimwise(net.given(context[n]), 0.3, x[n], order=2)
        for a, b in zip(together, alone, strict=True):
            torch.testing.assert_close(a[n], b)


def test_the_context_matters_for_every_output():
    net = checks.redrawn(hp.HollowNet(4, context=2))
    context = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    for f in net.given(context)(0.3, torch.ones(4).double()):
        (slope,) = torch.autograd.grad(f, context, retain_graph=True)
        assert (slope != 0).all()


@pytest.mark.parametrize("conditioner", CONDITIONERS)
@given(data=st.data(), seed=SEEDS)
def test_every_h_depends_on_time_and_context(conditioner, data, seed):
    spec = data.draw(CONDITIONERS[conditioner](4))
    net = checks.redrawn(hp.HollowNet(4, context=2, conditioner=spec), seed)
    t = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    context = torch.ones(2, dtype=torch.float64, requires_grad=True)
    for h in net.hidden(t, torch.ones(4).double(), context):
        for slope in torch.autograd.grad(h.sum(), (t, context), retain_graph=True):
            assert slope.all()


@settings(max_examples=10)
@given(dim=st.integers(2, 7), extra=st.integers(0, 5), depth=st.integers(1, 3), seed=SEEDS)
def test_masked_mlp_is_nonlinear_in_every_neighbour(dim, extra, depth, seed):
    # The linear window alone would satisfy coverage; wide enough streams must see all as well.
    spec = hp.MaskedMLP(hidden=(dim + extra,) * depth, features=2)
    net = checks.redrawn(hp.HollowNet(dim, conditioner=spec), seed)
    x = torch.randn(dim, dtype=torch.float64)
    curvature = torch.zeros(dim, dim, dtype=torch.float64)
    for j in range(dim):

        def line(s, j=j):
            return net.hidden(0.5, x + s * torch.eye(dim, dtype=torch.float64)[j]).sum(-1)

        zero = torch.tensor(0.0, dtype=torch.float64)
        curvature[:, j] = torch.func.jacfwd(torch.func.jacfwd(line))(zero)
    off = ~torch.eye(dim, dtype=torch.bool)
    assert (curvature[off].abs() > 1e-12 * curvature.abs().max()).all()
    assert (curvature.diagonal() == 0).all()


def test_blocks_do_not_change_the_values():
    net = hp.HollowNet(3)
    x = torch.randn(1000, 3)
    whole = hp.dimwise(net, 0.1, x, order=3)
    with torch.no_grad():
        blocks = hp.dimwise(net, 0.1, x, order=3)
    for a, b in zip(whole, blocks, strict=True):
        torch.testing.assert_close(a, b)
        assert not b.requires_grad


@settings(max_examples=20)
@given(make=networks(), seed=SEEDS, batch=st.sampled_from([(), (1,), (2, 3), (0,)]))
def test_float32_is_float64_rounded(make, seed, batch):
    single = checks.redrawn(make(), seed, torch.float32)
    double = checks.redrawn(make(), seed, torch.float64)
    if single.context:
        c = torch.randn(single.context)
        single, double = single.given(c), double.given(c.double())
    t, x = torch.rand(batch), torch.randn(*batch, dimension(double, None))
    a = hp.dimwise(single, t, x, order=2)
    b = hp.dimwise(double, t.double(), x.double(), order=2)
    for p, q in zip(a, b, strict=True):
        assert p.dtype == torch.float32 and q.dtype == torch.float64
        # A few hundred roundings of 6e-8, in sums of terms of order ten.
        torch.testing.assert_close(p.double(), q, rtol=1e-4, atol=1e-4)
