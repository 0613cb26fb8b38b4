"""What is special to each family of conditioners; the contract is tested for all of them alike."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import hollowpde as hp
import hollowpde.testing as checks
from hollowpde.nets.conditioners.blocks import in_blocks
from hollowpde.nets.conditioners.pooling import exclusive_sum
from hollowpde.testing.common import points

SEEDS = st.integers(0, 10_000)


def redrawn(dim, conditioner, seed=0, dtype=torch.float64):
    return checks.redrawn(hp.HollowNet(dim, conditioner=conditioner), seed, dtype)


def dependence(net, seed=0):
    """Which h_i depends on which x_j: `(d, d)`."""
    t, x = points(net.dim, (), seed)
    jacobian = torch.func.jacrev(lambda x: net.hidden(t, x))(x)
    return (jacobian != 0).any(1)


def other(dim):
    return ~torch.eye(dim, dtype=torch.bool)


# Pooling


@given(dim=st.integers(2, 8), data=st.data(), seed=SEEDS)
def test_pooling_is_equivariant(dim, data, seed):
    order = torch.tensor(data.draw(st.permutations(range(dim))))
    net = redrawn(dim, hp.ExclusivePooling(), seed)
    t, x = points(dim, (3,), seed)
    moved, h = net.hidden(t, x[:, order]), net.hidden(t, x)
    torch.testing.assert_close(moved, h[:, order], rtol=1e-12, atol=1e-12)


def test_pooling_with_identity_is_not_equivariant():
    net = redrawn(4, hp.ExclusivePooling(identity=True))
    t, x = points(4, (), 0)
    swapped = x[[0, 2, 1, 3]]
    assert ((net.hidden(t, x) - net.hidden(t, swapped))[0].abs() > 1e-3).any()


@pytest.mark.parametrize("dim", [1, 2, 3, 10])
def test_exclusive_sum(dim):
    u = torch.randn(2, dim, 3, dtype=torch.float64)
    expected = torch.stack([u.sum(-2) - u[:, i] for i in range(dim)], dim=-2)
    torch.testing.assert_close(exclusive_sum(u), expected)


def test_exclusive_sum_is_accurate_in_float32():
    u = torch.randn(8, 1024, 16, generator=torch.Generator().manual_seed(0)) + 1
    error = exclusive_sum(u).double() - exclusive_sum(u.double())
    assert error.abs().max() < 1e-6 * 1024


RING = {
    "ExclusivePooling": hp.ExclusivePooling(identity=True),
    "ExclusiveAttention": hp.ExclusiveAttention(),
    "Convolution1d": hp.Convolution1d(periodic=True),
    "Convolution2d": hp.Convolution2d(shape=(1, 3)),
}


def error_on_a_ring(conditioner, steps=200):
    """Mean square error of f_i = x_{i+1}, learned on a ring of three; 1 is that of zero."""
    torch.manual_seed(0)
    net = hp.HollowNet(3, conditioner=conditioner, transformer=hp.SharedMLP(hidden=(16,)))
    adam = torch.optim.Adam(net.parameters(), lr=0.01)
    for step in range(steps + 1):
        x = torch.randn(256 if step < steps else 4096, 3)
        loss = (net(0.0, x) - x.roll(-1, -1)).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    return loss.item()


@pytest.mark.parametrize("family", RING)
def test_a_ring_is_learned(family):
    assert error_on_a_ring(RING[family]) < 0.05


def test_the_equivariant_form_cannot_tell_a_ring():
    # It knows the two others up to their order: E Var(a | {a, b}) = E (a - b)^2 / 4 = 1/2.
    assert 0.45 < error_on_a_ring(hp.ExclusivePooling(identity=False)) < 0.6


# Attention


@given(dim=st.integers(2, 6), layers=st.integers(1, 5), seed=SEEDS)
def test_attention_is_hollow_at_depth(dim, layers, seed):
    spec = hp.ExclusiveAttention(width=8, layers=layers)
    net = hp.HollowNet(dim, conditioner=spec)
    checks.check_hollow(net, seed=seed)
    assert torch.equal(dependence(redrawn(dim, spec, seed)), other(dim))


def test_attention_depends_on_the_query():
    # With two layers or more, and three dimensions, the weights of the second depend on x.
    net = redrawn(3, hp.ExclusiveAttention(width=8, layers=2))
    t, x = points(3, (), 0)
    before = net.hidden(t, x)
    net.conditioner.layers[1].query.weight.data *= 2
    assert (net.hidden(t, x) != before).all()


# Convolution


def lattice_dependence(shape, reach, periodic):
    """All pairs of different sites, at most `reach` apart along each axis."""
    sites = torch.cartesian_prod(*map(torch.arange, shape)).reshape(-1, len(shape))
    apart = (sites[:, None] - sites[None, :]).abs()
    if periodic:
        apart = torch.minimum(apart, torch.tensor(shape) - apart)
    near = apart.amax(-1)
    return (near > 0) & (near <= (reach or max(shape)))


REACHES = st.none() | st.integers(1, 20)


@given(dim=st.integers(2, 20), reach=REACHES, periodic=st.booleans(), seed=SEEDS)
def test_the_receptive_field_on_a_chain(dim, reach, periodic, seed):
    net = redrawn(dim, hp.Convolution1d(4, reach=reach, periodic=periodic), seed)
    assert torch.equal(dependence(net), lattice_dependence((dim,), reach, periodic))


@given(
    shape=st.tuples(st.integers(1, 12), st.integers(1, 12)).filter(lambda s: s != (1, 1)),
    reach=REACHES,
    periodic=st.booleans(),
    seed=SEEDS,
)
def test_the_receptive_field_on_an_image(shape, reach, periodic, seed):
    spec = hp.Convolution2d(shape, 4, reach=reach, periodic=periodic)
    net = redrawn(shape[0] * shape[1], spec, seed)
    assert torch.equal(dependence(net), lattice_dependence(shape, reach, periodic))


@pytest.mark.parametrize("shape", [(1, 17), (17, 1), (3, 7), (7, 3), (2, 11), (8, 9)])
@pytest.mark.parametrize("periodic", [False, True])
def test_images_of_any_shape_are_covered(shape, periodic):
    spec = hp.Convolution2d(shape, channels=4, periodic=periodic)
    net = hp.HollowNet(shape[0] * shape[1], conditioner=spec)
    checks.check_hollow(net, dims=50)
    checks.check_coverage(net)


@pytest.mark.parametrize("reach", [1, 2, 4, 8, 16])  # up to five layers
def test_local_convolutions_are_hollow_at_depth(reach):
    for periodic in (False, True):
        sizes = {"channels": 4, "reach": reach, "periodic": periodic}
        checks.check_hollow(hp.HollowNet(33, conditioner=hp.Convolution1d(**sizes)))
        checks.check_hollow(hp.HollowNet(35, conditioner=hp.Convolution2d((5, 7), **sizes)))


@given(shape=st.tuples(st.integers(1, 6), st.integers(2, 6)), data=st.data(), seed=SEEDS)
def test_periodic_convolutions_commute_with_translations(shape, data, seed):
    by = tuple(data.draw(st.integers(0, n)) for n in shape)
    net = redrawn(shape[0] * shape[1], hp.Convolution2d(shape, 4, periodic=True), seed)
    t, x = points(net.dim, (), seed)
    image = x.unflatten(-1, shape)
    moved = net.hidden(t, image.roll(by, (0, 1)).flatten()).unflatten(0, shape)
    expected = net.hidden(t, x).unflatten(0, shape).roll(by, (0, 1))
    torch.testing.assert_close(moved, expected, rtol=1e-12, atol=1e-12)


def test_an_image_of_one_row_is_a_chain():
    row = hp.HollowNet(9, conditioner=hp.Convolution2d((1, 9)))
    chain = hp.HollowNet(9, conditioner=hp.Convolution1d())
    x = torch.randn(4, 9)
    for a, b in ((row, chain), (chain, row)):
        a.load_state_dict(b.state_dict())
        assert torch.equal(row(0.3, x), chain(0.3, x))


# All families

FAMILIES = {
    "ExclusivePooling": lambda dim: hp.ExclusivePooling(),
    "ExclusivePooling, identity": lambda dim: hp.ExclusivePooling(identity=True),
    "ExclusiveAttention": lambda dim: hp.ExclusiveAttention(width=8, heads=1),
    "Convolution1d": lambda dim: hp.Convolution1d(),
    "Convolution1d, periodic": lambda dim: hp.Convolution1d(periodic=True),
    "Convolution2d": lambda dim: hp.Convolution2d((4, dim // 4)),
    "Convolution2d, periodic": lambda dim: hp.Convolution2d((4, dim // 4), periodic=True),
}
families = pytest.mark.parametrize("family", FAMILIES)


@families
def test_high_dimension(family):
    dim = 1024
    spec = hp.Convolution2d((32, 32)) if family == "Convolution2d" else FAMILIES[family](dim)
    checks.check_hollow(hp.HollowNet(dim, conditioner=spec), dims=2)
    # Of the whole Jacobian, which takes long here, a few rows, and these in float32.
    net = redrawn(dim, spec, dtype=torch.float32)
    t, x = points(dim, (), 0, torch.float32)
    x = (x * dim**-0.5).requires_grad_()
    f = net(t, x)
    for i in (0, 1, 33, 66, 99, 511, 512, 924, 1023):
        (row,) = torch.autograd.grad(f[i], x, retain_graph=True)
        assert (row != 0).all(), f"{(row == 0).sum()} zeros in row {i}"


@families
def test_samples_in_blocks_are_samples_alone(family):
    dim = 256
    net = redrawn(dim, FAMILIES[family](dim))
    t, x = points(dim, (40,), 0)
    alone = torch.stack([net.hidden(s, y) for s, y in zip(t, x, strict=True)])
    torch.testing.assert_close(net.hidden(t, x), alone, rtol=1e-12, atol=1e-12)


def test_blocks_are_of_the_size_asked_for():
    seen = []

    def function(x, c):
        seen.append(len(x))
        return x + c

    x, c = torch.randn(7, 3), torch.randn(7, 1)
    for samples, sizes in ((3, [3, 3, 1]), (7, [7]), (0, [1] * 7)):
        assert torch.equal(in_blocks(function, x, c, samples), x + c)
        assert seen == sizes
        seen.clear()
    empty = in_blocks(function, x[:0], c[:0], 3)
    assert empty.shape == (0, 3)


@families
def test_an_ensemble_by_vmap(family):
    dim = 8
    nets = [redrawn(dim, FAMILIES[family](dim), seed) for seed in range(3)]
    stacked, buffers = torch.func.stack_module_state(nets)
    t, x = points(dim, (5,), 0)

    def one(parameters, buffers):
        return torch.func.functional_call(nets[0], (parameters, buffers), (t, x))

    together = torch.func.vmap(one)(stacked, buffers)
    for net, value in zip(nets, together, strict=True):
        torch.testing.assert_close(value, net(t, x))


@families
def test_forward_mode_twice(family):
    dim = 8
    net = redrawn(dim, FAMILIES[family](dim))
    t, x = points(dim, (), 0)
    forward = torch.func.jacfwd(torch.func.jacfwd(lambda x: net.hidden(t, x).sum(-1)))(x)
    reverse = torch.func.jacrev(torch.func.jacrev(lambda x: net.hidden(t, x).sum(-1)))(x)
    torch.testing.assert_close(forward, reverse)


@families
def test_every_parameter_learns(family):
    net = redrawn(8, FAMILIES[family](8))
    t, x = points(8, (5,), 0)
    net.hidden(t, x).square().sum().backward()
    for name, parameter in net.conditioner.named_parameters():
        assert (parameter.grad != 0).any(), name


@families
def test_specs_are_values(family):
    spec = FAMILIES[family](8)
    assert copy.deepcopy(spec) == spec and hash(spec) == hash(FAMILIES[family](8))
    assert eval(repr(spec).replace("Activation(silu)", "silu"), vars(hp.nets)) == spec


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: hp.ExclusivePooling(hidden=()), r"hidden must hold at least one .* is \(\)"),
        (lambda: hp.ExclusivePooling(hidden=(4, 0)), r"hidden .* is \(4, 0\)"),
        (lambda: hp.ExclusivePooling(features=0), "features must be at least 1, but is 0"),
        (lambda: hp.ExclusiveAttention(width=0), "width must be at least 1, but is 0"),
        (lambda: hp.ExclusiveAttention(layers=0), "layers must be at least 1, but is 0"),
        (lambda: hp.ExclusiveAttention(heads=0), "heads must be at least 1, but is 0"),
        (lambda: hp.ExclusiveAttention(features=-1), "features must be at least 1, but is -1"),
        (lambda: hp.ExclusiveAttention(9, 2), "width must be a multiple of heads, .* 9 and 2"),
        (lambda: hp.Convolution1d(channels=0), "channels must be at least 1, but is 0"),
        (lambda: hp.Convolution1d(features=0), "features must be at least 1, but is 0"),
        (lambda: hp.Convolution1d(reach=0), "reach must be at least 1, but is 0"),
        (lambda: hp.Convolution2d((2, 2), reach=0), "reach must be at least 1, but is 0"),
        (lambda: hp.Convolution2d((0, 3)), r"shape must be \(H, W\), both positive, but is"),
        (lambda: hp.Convolution2d((2, 3, 4)), r"shape must be \(H, W\), .* is \(2, 3, 4\)"),
        (
            lambda: hp.HollowNet(7, conditioner=hp.Convolution2d((2, 3))),
            "shape must have as many pixels as x has dimensions, 7, but 2 x 3 = 6",
        ),
    ],
)
def test_sizes_are_checked(make, match):
    with pytest.raises(hp.InputError, match=match):
        make()
