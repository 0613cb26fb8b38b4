"""What torch transforms a function by: vmap (over points, over stacked parameters), compile."""

import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap

import hollowpde as hp
from hollowpde.testing import redrawn
from hollowpde.testing.common import agree, bound, points

from .families import CONDITIONERS, DENSITIES, TRANSFORMERS, WRAPPERS, networks

TOLERANCE = {torch.float32: 2e-4, torch.float64: 1e-9}
DTYPES = st.sampled_from(sorted(TOLERANCE, key=str))
SEEDS = st.integers(0, 10_000)
ORDERS = st.integers(0, 3)
BATCHES = st.sampled_from([(), (3,), (2, 3)])


class Operator(nn.Module):
    """`function(fields, t, x)` as the forward pass of a module: what `functional_call` needs."""

    def __init__(self, function, *fields):
        super().__init__()
        self.function, self.fields = function, nn.ModuleList(fields)

    def forward(self, t, x):
        return self.function(*self.fields, t, x)


def total(out):
    """A loss to which every part contributes differently."""
    return sum((k + 1) * y.square().sum() for k, y in enumerate(out))


def check_ensemble(members, t, x, rtol):
    """vmap over the stacked parameters does what a loop over the members does; gradients too."""
    parameters, buffers = stack_module_state(members)

    def call(p, b):
        return functional_call(members[0], (p, b), (t, x))

    expected = [m(t, x) for m in members]
    for k, y in enumerate(vmap(call)(parameters, buffers)):
        agree(f"part {k}", y, torch.stack([e[k] for e in expected]), rtol)
    with torch.no_grad():
        for k, y in enumerate(vmap(call)(parameters, buffers)):
            agree(f"part {k} under no_grad", y, torch.stack([e[k] for e in expected]), rtol)

    within = vmap(grad(lambda p, b: total(call(p, b))))(parameters, buffers)
    loss = vmap(lambda p, b: total(call(p, b)))(parameters, buffers).sum()
    outside = gradients(loss, parameters)
    alone = [
        gradients(total(y), dict(m.named_parameters()))
        for m, y in zip(members, expected, strict=True)
    ]
    for name in parameters:
        each = torch.stack([g[name] for g in alone])
        agree(f"the gradient within vmap by {name}", within[name], each, rtol)
        agree(f"the gradient outside vmap by {name}", outside[name], each, rtol)


def gradients(loss, parameters):
    found = torch.autograd.grad(loss, list(parameters.values()), materialize_grads=True)
    return dict(zip(parameters, found, strict=True))


@st.composite
def families(draw):
    """A factory of a field of any family, and its dimension."""
    if draw(st.integers(0, 3)):
        transformer = draw(st.sampled_from(sorted(TRANSFORMERS)))
        make = draw(networks(draw(st.sampled_from(sorted(CONDITIONERS))), transformer))
        net = make()
        if net.context:
            return (lambda: bound(make())), net.dim
        wrap = WRAPPERS[draw(st.sampled_from(sorted(WRAPPERS)))]
        return (lambda: wrap(make())), net.dim
    dim = draw(st.integers(1, 5))
    return draw(DENSITIES[draw(st.sampled_from(sorted(DENSITIES)))](dim)), dim


@given(
    family=families(), batch=BATCHES, order=ORDERS, seed=SEEDS, dtype=DTYPES, needs=st.booleans()
)
@settings(max_examples=30)
def test_ensembles(family, batch, order, seed, dtype, needs):
    make, dim = family
    t, x = points(dim, batch, seed, dtype)
    x.requires_grad_(needs)

    def operator(field, t, x):
        return hp.dimwise(field, t, x, order=order)

    members = [Operator(operator, redrawn(make(), seed + n, dtype)) for n in range(3)]
    check_ensemble(members, t, x, TOLERANCE[dtype])


@pytest.mark.parametrize("dim", [1, 3])
def test_ensembles_of_residuals(dim):
    residual = hp.fokker_planck()

    def equation(density, drift, diffusion, t, x):
        return residual([density, drift, diffusion], t, x), hp.Jet(drift, t, x).dt_d(1)

    def make(seed):
        nets = [hp.GaussianMixture(dim, 2), hp.HollowNet(dim), hp.Positive(hp.HollowNet(dim))]
        return Operator(equation, *(redrawn(net, seed + n) for n, net in enumerate(nets)))

    t, x = points(dim, (5,), 0)
    check_ensemble([make(0), make(10), make(20)], t, x, 1e-8)


def test_large_ensembles_of_batches_in_blocks():
    # So many rows that a network alone works in blocks.
    def operator(field, t, x):
        return hp.dimwise(field, t, x, order=2)

    members = [Operator(operator, redrawn(hp.HollowNet(40), n)) for n in range(2)]
    check_ensemble(members, *points(40, (120,), 0), 1e-8)


@given(family=families(), order=ORDERS, seed=SEEDS, dtype=DTYPES)
@settings(max_examples=30)
def test_vmap_over_points(family, order, seed, dtype):
    make, dim = family
    field = redrawn(make(), seed, dtype)
    t, x = points(dim, (5,), seed, dtype)
    whole = hp.dimwise_in_time(field, t, x, order=order)
    mapped = vmap(lambda s, y: hp.dimwise_in_time(field, s, y, order=order))(t, x)
    for what, a, b in zip(("derivative", "slope"), mapped, whole, strict=True):
        for k, (y, z) in enumerate(zip(a, b, strict=True)):
            agree(f"the {what} of order {k}", y, z, TOLERANCE[dtype])


@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="no compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch compiles parts of itself
def test_compile():
    # More rows than one block, so that the compiled function must do without blocks.
    net = hp.HollowNet(3, conditioner=hp.MaskedMLP(hidden=(8,)), transformer=hp.SharedMLP((8,)))
    net = redrawn(net, 0, torch.float32)
    t, x = points(3, (700,), 0, torch.float32)
    x.requires_grad_()

    def operator(t, x):
        return hp.dimwise(net, t, x, order=2)

    leaves = {"x": x, **dict(net.named_parameters())}
    expected = operator(t, x)
    slopes = gradients(total(expected), leaves)
    compiled = torch.compile(operator)(t, x)
    for k, (a, b) in enumerate(zip(compiled, expected, strict=True)):
        agree(f"the derivative of order {k}", a, b, 1e-5)
    for name, y in gradients(total(compiled), leaves).items():
        agree(f"the gradient by {name}", y, slopes[name], 1e-5)
