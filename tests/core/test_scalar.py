"""Scalar fields: the contract checks, and the Laplacian against brute force."""

from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import functional_call, stack_module_state, vmap

import hollowpde as hp
import hollowpde.testing as checks
from hollowpde.densities import CorrelatedMixture
from hollowpde.nets import silu
from hollowpde.nets.scalar import product
from hollowpde.nets.scalar.outer import Outer, Scaled
from hollowpde.testing.common import agree, points

from .families import DENSITIES, SCALARS

SEEDS = st.integers(0, 10_000)
DIMS = st.integers(1, 8)
every_family = pytest.mark.parametrize("family", SCALARS)

VARIANTS = {
    "SeparableNet": hp.nets.Separable(),
    "shared SeparableNet": hp.nets.Separable(shared=True),
    "periodic SeparableNet": hp.nets.Separable(period=3.0),
    "ProductNet": hp.nets.Product(),
    "shared ProductNet": hp.nets.Product(shared=True),
    "periodic ProductNet": hp.nets.Product(period=3.0),
    "shared periodic ProductNet": hp.nets.Product(shared=True, period=3.0),
    "RidgeNet": hp.nets.Ridge(),
    "sharp RidgeNet": hp.nets.Ridge(spread=3.0),
}
every_variant = pytest.mark.parametrize("spec", VARIANTS.values(), ids=VARIANTS)


def alternating(dim):
    """A period of every other coordinate."""
    return tuple(None if j % 2 else 3.0 for j in range(dim))


# Dimensions below, at and above the number of directions, which is 4.
SMALL = {
    "SeparableNet": lambda dim: hp.SeparableNet(dim, 4, inner=(3, 5), outer=(6, 5)),
    "shared SeparableNet": lambda dim: hp.SeparableNet(
        dim, 4, inner=(3, 5), outer=(6, 5), shared=True
    ),
    "periodic SeparableNet": lambda dim: hp.SeparableNet(
        dim, 4, inner=(3, 5), outer=(6, 5), period=alternating(dim)
    ),
    "ProductNet": lambda dim: hp.ProductNet(dim, 4, inner=(5,)),
    "shared periodic ProductNet": lambda dim: hp.ProductNet(
        dim, 4, inner=(5,), shared=True, period=3.0
    ),
    "RidgeNet": lambda dim: hp.RidgeNet(dim, (4, 6, 5)),
    # Wider than a block of its squares.
    "two-layer RidgeNet": lambda dim: hp.RidgeNet(dim, (18, 5)),
    "GaussianMixture": lambda dim: hp.GaussianMixture(dim, 4, hidden=3),
    "CorrelatedMixture": lambda dim: CorrelatedMixture(dim, 2, hidden=3),
}
every_small = pytest.mark.parametrize("family", SMALL)
# Thirty coordinates regressed on each other at random have |z|^2 in the thousands, and so have the
# exponents whose rounding the gradients see.
ROUNDING = {"CorrelatedMixture": 1e-8}
sizes = pytest.mark.parametrize("dim", [1, 3, 4, 5, 30])
WEIGHTS = {
    "no weights": lambda x: None,
    "weights": lambda x: torch.linspace(0.5, 2.0, x.shape[-1], dtype=x.dtype),
    "weights of both signs": lambda x: torch.linspace(-2.0, 1.0, x.shape[-1], dtype=x.dtype),
    "weights per sample": lambda x: x.cos(),
}
all_weights = pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)


@every_family
@settings(max_examples=20)
@given(data=st.data(), dim=DIMS, order=st.integers(0, 6), seed=SEEDS)
def test_derivatives(family, data, dim, order, seed):
    checks.check_derivatives(data.draw(SCALARS[family](dim))(), order=order, seed=seed)


@every_family
@given(data=st.data(), dim=DIMS, order=st.integers(0, 3), seed=SEEDS)
def test_gradients(family, data, dim, order, seed):
    make = data.draw(SCALARS[family](dim))
    checks.check_gradients(make(), order=order, seed=seed)
    checks.check_roundtrip(make(), make=make, seed=seed)


@every_family
@settings(max_examples=4)
@given(data=st.data(), dim=st.integers(1, 5), order=st.integers(0, 3), seed=SEEDS)
def test_gradgrad(family, data, dim, order, seed):
    checks.check_gradgrad(data.draw(SCALARS[family](dim))(), order=order, seed=seed)


@every_variant
def test_defaults(spec):
    make = lambda: spec.build(3)  # noqa: E731
    checks.check_field(make(), make=make)


def both(field, weights, dim, seed=0):
    """Value, gradient and weighted Laplacian with the inputs: ours, and by brute force."""
    t, x = points(dim, (4,), seed)
    out = []
    for net in (field, deepcopy(field)):
        inputs = {"t": t.clone().requires_grad_(), "x": x.clone().requires_grad_()}
        inputs |= dict(net.named_parameters())
        a = weights(inputs["x"].detach())
        if net is field:
            values = net.with_laplacian(inputs["t"], inputs["x"], a)
        else:
            value, d1, d2 = hp.reference.dimwise(net, inputs["t"], inputs["x"], order=2)
            values = value, d1, (d2 if a is None else a * d2).sum(-1)
        out.append((values, inputs))
    return out


@every_small
@sizes
@all_weights
def test_laplacian(family, dim, weights):
    field = checks.redrawn(SMALL[family](dim))
    (got, _), (expected, inputs) = both(field, weights, dim)
    with torch.no_grad():
        t, x = inputs["t"], inputs["x"]
        quiet = field.with_laplacian(t, x, weights(x))
    for name, *pair in zip(("value", "gradient", "Laplacian"), got, quiet, expected, strict=True):
        agree(name, pair[0], pair[2], 1e-10)
        agree(f"{name} under no_grad", pair[1], pair[2], 1e-10)


@every_small
@sizes
@all_weights
def test_gradient_of_the_laplacian(family, dim, weights):
    field = checks.redrawn(SMALL[family](dim))
    gradients = []
    for (value, gradient, laplacian), inputs in both(field, weights, dim):
        loss = (laplacian.square() + value * laplacian).sum() + gradient.square().sum()
        gradients.append(
            torch.autograd.grad(
                loss, list(inputs.values()), create_graph=True, materialize_grads=True
            )
        )
    for name, got, expected in zip(inputs, *gradients, strict=True):
        agree(f"the gradient with respect to {name}", got, expected, ROUNDING.get(family, 1e-10))


@every_small
def test_laplacian_differentiated_twice(family):
    field = checks.redrawn(SMALL[family](6))
    t, x = points(6, (2,), 0)

    def laplacian(t, x):
        return field.with_laplacian(t, x)[2]

    inputs = (t.requires_grad_(), x.requires_grad_())
    assert torch.autograd.gradgradcheck(laplacian, inputs)
    in_time = torch.func.jvp(lambda s: laplacian(s, x), (t,), (torch.ones_like(t),))[1]
    (expected,) = torch.autograd.grad(laplacian(t, x).sum(), t)
    agree("d/dt of the Laplacian", in_time, expected, 1e-10)


@every_variant
@pytest.mark.parametrize("dim", [2, 40])
def test_blocks_of_coordinates_do_not_change_the_values(spec, dim):
    field = checks.redrawn(spec.build(dim))
    t, x = points(dim, (20_000 // dim,), 0)
    with torch.no_grad():
        whole = *field.dimwise(t, x, 2), field.with_laplacian(t, x)[2]
        few = *field.dimwise(t[:3], x[:3], 2), field.with_laplacian(t[:3], x[:3])[2]
    for a, b in zip(whole, few, strict=True):
        agree("the first samples", a[:3], b, 1e-12)


@every_variant
@pytest.mark.parametrize("dim", [1, 10, 1000])
def test_float32_is_float64_rounded(spec, dim):
    field = spec.build(dim)
    t, x = points(dim, (5,), 0)
    expected = deepcopy(field).double().with_laplacian(t, x, x)
    got = field.with_laplacian(t.float(), x.float(), x.float())
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-5)


@every_variant
@pytest.mark.parametrize("dim", [10, 1000])
def test_of_order_one_at_any_dimension(spec, dim):
    net, x = spec.build(dim), torch.randn(500, dim)
    for t in (0.0, 0.5, 1.0):
        u = net(t, x)
        assert 0.005 < u.std() < 10
        assert u.mean().abs() < 10


@every_variant
@pytest.mark.parametrize("dim", [2, 20])
def test_ensembles(spec, dim):
    nets = [checks.redrawn(spec.build(dim), seed) for seed in range(3)]
    parameters, buffers = stack_module_state(nets)
    t, x = points(dim, (4,), 0)

    class Laplacian(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nets[0]

        def forward(self, t, x):
            return *self.net.dimwise(t, x, 3), self.net.with_laplacian(t, x)[2]

    module = Laplacian()

    def one(p, b):
        return functional_call(module, {f"net.{name}": y for name, y in (p | b).items()}, (t, x))

    for k, together in enumerate(zip(*vmap(one)(parameters, buffers), strict=True)):
        alone = *nets[k].dimwise(t, x, 3), nets[k].with_laplacian(t, x)[2]
        for a, b in zip(together, alone, strict=True):
            agree(f"network {k}", a, b, 1e-10)


@every_small
def test_within_transforms(family):
    field = checks.redrawn(SMALL[family](5))
    t, x = points(5, (4,), 0)
    _, d1, d2 = field.dimwise(t, x, 2)
    _, gradient, laplacian = vmap(field.with_laplacian)(t, x)
    hessian = vmap(torch.func.jacrev(torch.func.jacrev(lambda x, t: field(t, x))))(x, t)
    agree("the gradient under vmap", gradient, d1, 1e-10)
    agree("the Laplacian under vmap", laplacian, d2.sum(-1), 1e-10)
    agree("the second derivatives", hessian.diagonal(dim1=-2, dim2=-1), d2, 1e-9)


def options(**kinds):
    """Both kinds of networks of coordinates, with the options given."""
    nets = {
        "SeparableNet": lambda dim: hp.SeparableNet(dim, features=3, inner=(5, 4), **kinds),
        "ProductNet": lambda dim: hp.ProductNet(dim, rank=3, inner=(5, 4), **kinds),
    }
    return pytest.mark.parametrize("make", nets.values(), ids=nets)


def size(net):
    return sum(p.numel() for p in net.parameters())


@options(shared=True)
def test_shared_networks_are_symmetric_under_permutations(make):
    net = checks.redrawn(make(6))
    assert size(net) == size(make(60))
    t, x = points(6, (4,), 0)
    order = torch.randperm(6)
    value, *slopes = net.dimwise(t, x, 4)
    permuted, *others = net.dimwise(t, x[:, order], 4)
    agree("the value", permuted, value, 1e-12)
    for a, b in zip(others, slopes, strict=True):
        agree("the derivatives", a, b[:, order], 1e-10)


@pytest.mark.parametrize("period", [None, 3.0])
@pytest.mark.parametrize("family", [hp.SeparableNet, hp.ProductNet])
def test_a_shared_network_is_that_of_equal_parameters(family, period):
    shared = checks.redrawn(family(7, 3, shared=True, period=period))
    each = family(7, 3, period=period).double()
    each.load_state_dict(
        {name: y.expand_as(each.state_dict()[name]) for name, y in shared.state_dict().items()}
    )
    t, x = points(7, (4,), 0)
    both = [(*net.dimwise(t, x, 4), *net.with_laplacian(t, x, x)) for net in (shared, each)]
    for a, b in zip(*both, strict=True):
        agree("what is shared", a, b, 1e-12)


@options(period=alternating(4))
def test_periods_are_exact(make):
    net = checks.redrawn(make(4).float())  # which must not round the period
    t, x = points(4, (5,), 0)
    before = *net.dimwise(t, x, 4), net.with_laplacian(t, x)[2]
    for j in range(4):
        moved = x.clone()
        moved[:, j] += 30.0
        after = *net.dimwise(t, moved, 4), net.with_laplacian(t, moved)[2]
        if j % 2:
            assert (after[0] != before[0]).all()
        else:
            for a, b in zip(after, before, strict=True):
                agree("what is ten periods away", a, b, 1e-11)


@options(period=alternating(2))
def test_coordinates_without_a_period_are_straight_lines(make):
    net = checks.redrawn(make(2))
    t, x = points(2, (5,), 0)
    line = net.inner._first(t, x, 3, slice(1, 2))
    expected = t[:, None] * net.inner.drift[1] + x[:, 1:] * net.inner.slope[1] + net.inner.bias[1]
    agree("the line", line[0][:, 0], expected, 1e-14)
    agree("its slope", line[1][:, 0], net.inner.slope[1].expand(5, -1), 1e-14)
    assert not line[2].any() and not line[3].any()


def test_no_period_anywhere_is_as_without():
    assert size(hp.SeparableNet(2, period=(None, None))) == size(hp.SeparableNet(2))


@pytest.mark.parametrize("dim", [1, 2, 10])
def test_spread(dim):
    net = hp.RidgeNet(dim, hidden=(4000, 3), spread=5.0)
    x, t = torch.rand(500, dim) * 2 - 1, torch.rand(500) * 2 - 1
    assert 4 < net._start(t, x).std() < 7
    # Every unit vanishes within the box: its bias is no larger than the others can make up for.
    reach = net.first.weight.abs().sum(-1) + net.drift.abs()
    assert (net.first.bias.abs() <= reach).all()


def test_the_default_spread_is_that_of_linear_layers():
    torch.manual_seed(0)
    net = hp.RidgeNet(3)
    torch.manual_seed(0)
    assert torch.equal(net.first.weight, torch.nn.Linear(3, 64).weight)


def test_specs_pass_everything_on():
    sizes = {"inner": (3,), "activation": hp.nets.tanh, "shared": True, "period": 2.0}
    pairs = [
        (
            hp.nets.Separable(features=2, outer=(5,), **sizes),
            lambda: hp.SeparableNet(4, features=2, outer=(5,), **sizes),
        ),
        (hp.nets.Product(rank=2, **sizes), lambda: hp.ProductNet(4, rank=2, **sizes)),
        (
            hp.nets.Ridge(hidden=(5,), activation=hp.nets.tanh, spread=2.0),
            lambda: hp.RidgeNet(4, hidden=(5,), activation=hp.nets.tanh, spread=2.0),
        ),
    ]
    x = torch.randn(5, 4)
    for spec, make in pairs:
        torch.manual_seed(0)
        built = spec.build(4)
        torch.manual_seed(0)
        assert torch.equal(built(0.5, x), make()(0.5, x))


def test_curvature_of_the_outer_network():
    outer = Outer((4, 5, 3), silu).double()
    z = torch.randn(4, dtype=torch.float64)
    metric = torch.randn(4, 4, dtype=torch.float64)
    metric = metric + metric.T
    hessian = torch.autograd.functional.hessian(outer, z)
    for tangents in (None, torch.eye(4, dtype=torch.float64)):
        curvature = outer.second(z, tangents)[2]
        agree("the Hessian", curvature.matrix(), hessian, 1e-12)
        agree("its diagonal", curvature.diagonal(), hessian.diagonal(), 1e-12)
        agree("its trace", curvature.trace(metric), (hessian * metric).sum(), 1e-12)


@given(dim=st.integers(1, 20), seed=SEEDS)
def test_products_of_the_others_with_factors_that_vanish(dim, seed):
    generator = torch.Generator().manual_seed(seed)
    factors = torch.randint(-2, 3, (4, dim, 3), generator=generator).double()
    others = product._product_of_others(factors)
    assert torch.equal(product._product(factors), factors.prod(-2))
    for j in range(dim):
        rest = torch.cat([factors[:, :j], factors[:, j + 1 :]], dim=1)
        assert torch.equal(others[:, j], rest.prod(-2))


def test_no_series_depends_on_another_coordinate():
    net = checks.redrawn(hp.SeparableNet(3, features=2))
    x = torch.randn(4, 3, dtype=torch.float64)
    moved = x.clone()
    moved[:, 0] += 1.0
    _, before = net.inner.around(torch.zeros(4).double(), x, 3)
    _, after = net.inner.around(torch.zeros(4).double(), moved, 3)
    for a, b in zip(before, after, strict=True):
        assert torch.equal(a[:, 1:], b[:, 1:])
        assert (a[:, 0] != b[:, 0]).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: hp.SeparableNet(0), "dim and features must be at least 1, but they are 0 and 16"),
        (lambda: hp.SeparableNet(2, features=0), "they are 2 and 0"),
        (lambda: hp.SeparableNet(2, inner=()), "at least one width, all positive"),
        (lambda: hp.SeparableNet(2, outer=(4, 0)), r"all positive, but is \(4, 0\)"),
        (lambda: hp.ProductNet(2, rank=0), "dim and rank must be at least 1"),
        (lambda: hp.ProductNet(2, inner=()), "at least one width"),
        (lambda: hp.RidgeNet(0), "dim must be at least 1, but is 0"),
        (lambda: hp.RidgeNet(2, hidden=()), "at least one width"),
        (lambda: hp.RidgeNet(2, spread=0.0), "spread must be positive .* but is 0.0"),
        (lambda: hp.nets.Ridge(spread=-1.0).build(2), "spread must be positive .* but is -1.0"),
        (
            lambda: hp.SeparableNet(3, period=(1.0, None)),
            r"period must be one number, or a tuple of 3, .* but is \(1.0, None\)",
        ),
        (lambda: hp.ProductNet(2, period=-2.0), "period must be positive .* but is -2.0"),
        (
            lambda: hp.SeparableNet(2, period=(None, 0.0)),
            r"period must be positive .* but is \(None, 0.0\)",
        ),
    ],
)
def test_refused(make, message):
    with pytest.raises(hp.InputError, match=message):
        make()


@every_family
def test_points_of_another_dimension_are_refused(family):
    net = getattr(hp, family)(3)
    for use in (net, lambda t, x: hp.laplacian(net, t, x), lambda t, x: hp.gradient(net, t, x)):
        with pytest.raises(hp.InputError, match=r"3 columns, .* shape \(5, 2\)"):
            use(0.0, torch.zeros(5, 2))


def test_families_are_all_here():
    assert {name.split()[-1] for name in SMALL} == {*SCALARS, *DENSITIES}


@pytest.mark.parametrize("width", [1, 7, 8, 18])
@pytest.mark.parametrize("batched", [False, True])
def test_tangents_that_are_scaled_are_those_written_out(width, batched):
    generator = torch.Generator().manual_seed(0)

    def normal(*size):
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    s, V, w, G = normal(3, width), normal(5, width), normal(3, 5), normal(3, width, width)
    G = (G + G.mT) if batched else (G + G.mT)[0]
    T = s[:, :, None] * V.T
    scaled = Scaled(s, V)
    for got, expected in (
        (scaled.squares(G), torch.einsum("bik,bij,bjk->bk", T, G.expand(3, -1, -1), T)),
        (scaled.along(w), torch.einsum("bik,bk,bjk->bij", T, w, T)),
        (scaled.each(w), torch.einsum("bik,bk,bik->bi", T, w, T)),
    ):  # fmt: skip
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
