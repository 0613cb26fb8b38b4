"""Gauss-Newton, linearisation, and the fields that PDE problems are built of."""

import itertools

import pytest
import torch

import hollowpde as hp
from hollowpde.optim import GaussNewton, linearise


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(("n", "width"), [(9, 4), (3, 5), (600, 300), (300, 600)])
def test_a_linear_problem_takes_one_step(n, width):
    w, A, b = torch.nn.Parameter(torch.randn(width)), torch.randn(n, width), torch.randn(n)
    GaussNewton([w], damping=1e-12).step(
        lambda: (A @ w - b).square().sum(), lambda: ((A @ w - b).detach(), A)
    )
    best = A @ torch.linalg.lstsq(A, b.unsqueeze(-1)).solution.squeeze(-1)
    torch.testing.assert_close((A @ w).detach(), best, rtol=1e-5, atol=1e-6)


def test_a_curved_valley_is_descended_and_its_end_is_noticed():
    w = torch.nn.Parameter(torch.tensor([-1.2, 1.0]))

    def residuals(w):
        return torch.stack([10 * (w[1] - w[0] ** 2), 1 - w[0]])

    def linear():
        return residuals(w).detach(), torch.func.jacrev(residuals)(w.detach())

    optimiser, values = GaussNewton([w]), []
    for _ in range(60):
        values.append(float(residuals(w.detach()).square().sum()))
        optimiser.step(lambda: residuals(w.detach()).square().sum(), linear)
    assert all(b <= a for a, b in itertools.pairwise(values))
    torch.testing.assert_close(w.detach(), torch.ones(2), rtol=0, atol=1e-6)
    before = w.detach().clone()
    # Nothing is better than this: the parameters stay, and it is counted.
    optimiser.step(lambda: torch.tensor(1e9), linear)
    assert optimiser.param_groups[0]["stalled"] >= 1 and torch.equal(w, before)


def heat(u, t, x):
    jet = hp.Jet(u, t, x)
    return torch.stack([jet.dt - 0.3 * jet.laplacian, jet.gradient.square().sum(-1)], -1)


@pytest.mark.parametrize("net", [hp.RidgeNet(2, (5,)), hp.SeparableNet(3, 2, (3,), (4,))])
def test_linearise_agrees_with_autograd_row_by_row(net):
    net = net.double()
    t, x = torch.rand(4), torch.randn(4, net.dim)
    r, J = linearise(net, heat, (t, x))
    plain = heat(net, t, x).flatten()
    torch.testing.assert_close(r, plain.detach())
    for row, value in zip(J, plain, strict=True):
        grads = torch.autograd.grad(
            value, [*net.parameters()], retain_graph=True, materialize_grads=True
        )
        torch.testing.assert_close(row, torch.cat([g.flatten() for g in grads]))


def bump(t, x):
    return torch.exp(-t) * torch.exp(-x.square().sum(-1)) + x[..., 0] * torch.sin(x[..., 1])


def fields():
    net = hp.RidgeNet(2, (4, 4))
    shift, scale = torch.tensor([0.3, -0.2]), torch.tensor([2.0, 0.7])
    known = hp.nets.KnownFunction(bump)
    wall = hp.nets.KnownFunction(lambda t, x: t * (1 - x.square()).prod(-1))
    quadratic = hp.nets.MovingQuadraticField(2)
    with torch.no_grad():
        for p in quadratic.parameters():
            p.normal_()
    slope = quadratic.slope

    def by_hand(t, x):
        w = slope.weights(t, x)
        A = torch.einsum("...r,rij->...ij", w, (slope.A + slope.A.mT) / 2)
        form = 0.5 * torch.einsum("...i,...ij,...j->...", x, A, x)
        return form + (x * (w @ slope.b)).sum(-1) + w @ quadratic.c

    return {
        "known": (known, bump),
        "lifted": (
            hp.nets.Lifted(known, wall, net),
            lambda t, x: bump(t, x) + t * (1 - x.square()).prod(-1) * net(t, x),
        ),
        "rescaled": (
            hp.nets.Rescaled(net, shift, scale, 0.5, 3.0, 7.0),
            lambda t, x: 7 * net((t - 0.5) / 3, (x - shift) / scale),
        ),
        "quadratic": (quadratic, by_hand),
        "exponential": (hp.nets.ExponentialField(net), lambda t, x: net(t, x).exp()),
    }


@pytest.mark.parametrize("name", ["known", "lifted", "rescaled", "quadratic", "exponential"])
def test_derivatives_against_brute_force(name):
    field, plain = fields()[name]
    t, x, a = torch.rand(5), torch.randn(5, 2), torch.randn(5, 2)
    expected = hp.reference.dimwise(plain, t, x, order=2)
    for got, want in zip(hp.dimwise(field, t, x, order=2), expected, strict=True):
        torch.testing.assert_close(got, want)
    _, gradient, total = hp.operators.with_laplacian(field, t, x, a)
    torch.testing.assert_close(gradient, expected[1])
    torch.testing.assert_close(total, (a * expected[2]).sum(-1))
    slopes = hp.reference.dimwise_in_time(plain, t, x, order=1)[1]
    for got, want in zip(hp.dimwise_in_time(field, t, x, order=1)[1], slopes, strict=True):
        torch.testing.assert_close(got, want)
    within = torch.func.vmap(lambda s, y: field.dimwise(s, y, 2))(t, x)
    for got, want in zip(within, expected, strict=True):
        torch.testing.assert_close(got, want)


def test_what_is_remembered_of_a_known_function_is_of_these_points():
    known, t, x = hp.nets.KnownFunction(bump), torch.zeros(3), torch.randn(3, 2)
    first = hp.laplacian(known, t, x)
    assert hp.laplacian(known, t, x) is not None
    x.mul_(2)
    torch.testing.assert_close(hp.laplacian(known, t, x), hp.reference.laplacian(bump, t, x))
    assert not torch.allclose(first, hp.laplacian(known, t, x))
    with pytest.raises(hp.InputError, match="reduce over the last axis"):
        hp.nets.KnownFunction(lambda t, x: x[..., :1])(0.0, x)


def test_steps_that_gain_nothing_are_counted_until_one_does():
    w = torch.nn.Parameter(torch.ones(2))

    def linear():
        return w.detach().clone(), torch.eye(2)

    optimiser = GaussNewton([w])
    for count in (1, 2):
        optimiser.step(lambda: torch.tensor(torch.nan), linear)
        assert optimiser.param_groups[0]["stalled"] == count and torch.equal(w, torch.ones(2))
    # The damping has hardly grown: the next step, where one is possible, is a long one.
    optimiser.step(lambda: w.square().sum(), linear)
    assert optimiser.param_groups[0]["stalled"] == 0 and w.norm() < 0.1


@pytest.mark.parametrize("name", ["known", "lifted", "rescaled", "quadratic", "exponential"])
def test_laplacians_and_slopes_within_vmap(name):
    field, plain = fields()[name]
    t, x, a = torch.rand(5), torch.randn(5, 2), torch.randn(5, 2)
    second = hp.reference.dimwise(plain, t, x, order=2)[2]
    got = torch.func.vmap(lambda s, y, w: field.with_laplacian(s, y, w)[2])(t, x, a)
    torch.testing.assert_close(got, (a * second).sum(-1))
    slopes = hp.reference.dimwise_in_time(plain, t, x, order=1)[1]
    within = torch.func.vmap(lambda s, y: field.in_time(s, y, 1)[1])(t, x)
    for one, want in zip(within, slopes, strict=True):
        torch.testing.assert_close(one, want)


class Bowl(torch.nn.Module):
    """a |x|^2, with a that is not trained."""

    def __init__(self):
        super().__init__()
        self.a = torch.nn.Parameter(torch.ones(()), requires_grad=False)

    def forward(self, t, x):
        return self.a * x.square().sum(-1)


def test_what_is_remembered_of_a_module_is_of_its_weights():
    bowl, t, x = Bowl(), torch.zeros(3), torch.randn(3, 2)
    known = hp.nets.KnownFunction(bowl)
    torch.testing.assert_close(hp.laplacian(known, t, x), torch.full((3,), 4.0))
    bowl.a.fill_(5.0)
    torch.testing.assert_close(hp.laplacian(known, t, x), torch.full((3,), 20.0))
