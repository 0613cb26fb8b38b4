"""Transformers taken in blocks: the same values, derivatives and derivatives of derivatives."""

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import hollowpde as hp
import hollowpde.testing as checks
from hollowpde import taylor
from hollowpde.nets import Activation, blocks
from hollowpde.testing.common import agree

from .families import networks

SEEDS = st.integers(0, 10_000)


@pytest.fixture
def small(monkeypatch):
    """Every network is taken in many blocks."""
    monkeypatch.setattr(blocks, "SIZE", 20)


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), order=st.integers(0, 3), seed=SEEDS)
def test_contract(small, data, order, seed):
    make = data.draw(networks(dims=st.integers(1, 6)))
    checks.check_derivatives(make(), order=order, seed=seed)
    checks.check_gradients(make(), order=order, seed=seed)
    checks.check_gradgrad(make(), order=order, seed=seed)


def gradients(net, t, x, order, between=lambda: None):
    """Of a loss on all orders, with respect to x, t and the parameters; and of its gradient."""
    t, x = t.clone().requires_grad_(), x.clone().requires_grad_()
    wrt = [t, x, *net.parameters()]
    loss = sum((y.sin() + 0.3 * y.square()).sum() for y in hp.dimwise(net, t, x, order=order))
    between()
    first = torch.autograd.grad(loss, wrt, create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), wrt)
    plain = torch.autograd.grad(
        sum((y.sin() + 0.3 * y.square()).sum() for y in hp.dimwise(net, t, x, order=order)), wrt
    )
    return [*first, *second, *plain]


@pytest.mark.parametrize("order", range(4))
def test_gradients_do_not_depend_on_the_blocks(monkeypatch, order):
    net = checks.redrawn(hp.HollowNet(7))
    t, x = torch.rand(2, 9).double(), torch.randn(2, 9, 7).double()
    whole = gradients(net, t, x, order)
    monkeypatch.setattr(blocks, "SIZE", 640)
    names = ["t", "x", *(name for name, _ in net.named_parameters())]
    for name, a, b in zip(3 * names, whole, gradients(net, t, x, order), strict=True):
        agree(name, b, a, 1e-10)


def test_some_parameters_frozen_and_some_outputs_unused(small):
    net = hp.HollowNet(3).double()
    net.transformer.from_x.requires_grad_(False)
    x = torch.randn(4, 3).double()
    hp.dimwise(net, 0.0, x, order=2)[1].sum().backward()
    assert net.transformer.from_x.grad is None
    assert net.conditioner.out.weights[0].grad is not None
    got = net.transformer.out.grad.clone()
    net.zero_grad()
    hp.reference.dimwise(net, 0.0, x, order=1)[1].sum().backward()
    torch.testing.assert_close(got, net.transformer.out.grad)


def test_parameters_given_from_outside_are_those_of_the_gradient(small):
    # The backward pass runs when the module has its own parameters back.
    net, other = (checks.redrawn(hp.HollowNet(3), seed) for seed in (0, 1))
    x = torch.randn(6, 3).double()
    given_ = {name: p.detach().clone().requires_grad_() for name, p in other.named_parameters()}
    out = torch.func.functional_call(net, given_, (torch.tensor(0.2).double(), x))
    got = torch.autograd.grad(out.square().sum(), list(given_.values()))
    expected = torch.autograd.grad(other(0.2, x).square().sum(), list(other.parameters()))
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b)
    assert all(p.grad is None for p in net.parameters())


def test_an_optimiser_step_between_the_passes_is_an_error(small):
    net = hp.HollowNet(3).double()

    def step():
        with torch.no_grad():
            net.transformer.from_x.add_(1.0)

    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        gradients(net, torch.rand(4).double(), torch.randn(4, 3).double(), 1, step)


def test_training_keeps_no_activations():
    net = hp.HollowNet(64)
    x = torch.randn(128, 64)
    kept = []

    def pack(y):
        kept.append(y.untyped_storage().nbytes())
        return y

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda y: y):
        hp.dimwise(net, 0.0, x, order=2)
    # One activation of the transformer alone would be rows x width of it.
    assert max(kept) < x.numel() * net.transformer.out.shape[0] * x.element_size()


def test_many_gradients_at_once(monkeypatch):
    net = checks.redrawn(hp.HollowNet(3))
    y = torch.randn(4, 3).double().requires_grad_()
    v = torch.randn(5, 4, 3).double()

    def rows():
        out = net(0.2, y)
        one = torch.stack([torch.autograd.grad(out, y, w, retain_graph=True)[0] for w in v])
        (many,) = torch.autograd.grad(out, y, v, is_grads_batched=True, retain_graph=True)
        mapped = torch.func.vmap(lambda w: torch.autograd.grad(out, y, w, retain_graph=True)[0])(v)
        return one, many, mapped

    expected = rows()[0]
    monkeypatch.setattr(blocks, "SIZE", 20)
    for got in rows():
        torch.testing.assert_close(got, expected)


def test_asking_for_one_gradient_writes_no_other(small):
    rate = nn.Parameter(torch.tensor(0.7, dtype=torch.float64))

    @taylor.Rule
    def wave(v, order):
        return [
            rate**k * torch.sin(rate * v + k * torch.pi / 2) / math.factorial(k)
            for k in range(order + 1)
        ]

    spec = hp.SharedMLP(hidden=(8, 8), activation=Activation(wave))
    net = hp.HollowNet(3, transformer=spec).double()
    y = torch.randn(4, 3).double().requires_grad_()
    torch.autograd.grad(hp.dimwise(net, 0.2, y, order=1)[1].sum(), y)
    assert rate.grad is None
