"""Gradients through implicit steps: against differences of a tight reference, and each other."""

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp as by_scipy
from torch import nn

import hollowpde as hp

DOUBLE = torch.float64


class Relaxation(nn.Module):
    """Rates from 1 to 1e4, of which some may be trained; each relaxes to a function of all."""

    def __init__(self, dim=4):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.log_k = nn.Parameter(torch.linspace(0, 9, dim, dtype=DOUBLE))
        W = torch.randn(dim, dim, generator=generator, dtype=DOUBLE) / dim**0.5
        self.W = nn.Parameter(W)
        self.register_buffer("others", 1 - torch.eye(dim, dtype=DOUBLE))

    def forward(self, t, y):
        return -self.log_k.exp() * (y - torch.tanh(y @ (self.W * self.others).T + t[:, None]))

    def diagonal(self, t, y):
        return -self.log_k.exp().expand_as(y)


def scalar(y):
    return (y * torch.linspace(-1, 1, y.numel(), dtype=DOUBLE).reshape(y.shape)).sum() + y.pow(
        2
    ).sum()


def start(samples=2):
    generator = torch.Generator().manual_seed(2)
    return torch.randn(samples, 4, generator=generator, dtype=DOUBLE)


def reference(net, y0, t0, t1):
    """The scalar of the solution, by SciPy's Radau to near rounding."""
    ends = []
    for row in y0.detach():

        def f(t, y):
            with torch.no_grad():
                return net(torch.full((1,), t, dtype=DOUBLE), torch.from_numpy(np.array(y))[None])[
                    0
                ].numpy()

        found = by_scipy(f, (t0, t1), row.numpy(), method="Radau", rtol=1e-9, atol=1e-12)
        ends.append(torch.from_numpy(found.y[:, -1]))
    return float(scalar(torch.stack(ends)))


METHODS = {
    "BDF": hp.JacobiNewtonBDF(),
    "dense": hp.JacobiNewtonBDF(inner=hp.DenseNewton()),
    "Krylov": hp.JacobiNewtonBDF(inner=hp.NewtonKrylov()),
    "ESDIRK": hp.ESDIRK43(),
}


STEP = 1e-3


def of_rate(net, y, times, e):
    net.log_k[0] += e


def of_weight(net, y, times, e):
    net.W[1, 0] += e


def of_start(net, y, times, e):
    y[0, 0] += e


def of_begin(net, y, times, e):
    times[0] += e


def of_end(net, y, times, e):
    times[1] += e


@pytest.fixture(scope="module")
def differences():
    """Of the scalar, by each of the changes."""
    out = []
    for change in (of_rate, of_weight, of_start, of_begin, of_end):
        ends = []
        for sign in (1, -1):
            moved, at, times = Relaxation(), start(1), [0.0, 0.7]
            with torch.no_grad():
                change(moved, at, times, sign * STEP)
            ends.append(reference(moved, at, *times))
        out.append((ends[0] - ends[1]) / (2 * STEP))
    return out


@pytest.mark.parametrize("name", METHODS)
def test_gradients_against_differences_of_a_tight_reference(name, differences):
    net, y0 = Relaxation(), start(1).requires_grad_()
    t0, t1 = (torch.tensor(t, dtype=DOUBLE, requires_grad=True) for t in (0.0, 0.7))
    found = hp.solve_ivp(
        net, (t0, t1), y0, method=METHODS[name], diagonal=net.diagonal, rtol=1e-6, atol=1e-9
    )
    scalar(found.y[-1]).backward()
    ours = [net.log_k.grad[0], net.W.grad[1, 0], y0.grad[0, 0], t0.grad, t1.grad]
    for got, want in zip(ours, differences, strict=True):
        assert float(got) == pytest.approx(want, rel=3e-4, abs=3e-6), (ours, differences)


def test_gradients_are_as_good_as_the_solution():
    exact = None
    for rtol, bound in ((1e-10, 0.0), (1e-3, 1e-2), (1e-5, 1e-4)):
        net, y0 = Relaxation(), start().requires_grad_()
        found = hp.solve_ivp(
            net, (0.0, 0.7), y0, diagonal=net.diagonal, rtol=rtol, atol=1e-3 * rtol,
            t_eval=[0.1, 0.35, 0.7],
        )  # fmt: skip
        grads = torch.autograd.grad(scalar(found.y), [*net.parameters(), y0])
        exact = exact or grads
        for got, want in zip(grads, exact, strict=True):
            assert (got - want).norm() <= bound * want.norm()


def test_a_plain_function_finds_what_it_depends_on():
    log_rate = torch.tensor(7.0, dtype=DOUBLE, requires_grad=True)
    rate = log_rate.exp()

    def f(t, y):
        return -rate * (y - torch.cos(t)[:, None])

    found = hp.solve_ivp(
        f, (0.0, 1.0), torch.ones(1, 1, dtype=DOUBLE), diagonal=lambda t, y: -rate.expand_as(y),
        rtol=1e-9, atol=1e-12,
    )  # fmt: skip
    (grad,) = torch.autograd.grad(found.y[-1].sum(), log_rate)
    # y = (k^2 cos t + k sin t) / (1 + k^2), after the transient
    k = torch.tensor(7.0, dtype=DOUBLE, requires_grad=True)
    one = torch.ones((), dtype=DOUBLE)
    e = k.exp()
    exact = (e**2 * torch.cos(one) + e * torch.sin(one)) / (1 + e**2)
    torch.testing.assert_close(grad, torch.autograd.grad(exact, k)[0], rtol=1e-5, atol=1e-9)


def test_gradients_of_gradients_are_refused():
    net, y0 = Relaxation(), start().requires_grad_()
    found = hp.solve_ivp(net, (0.0, 0.7), y0, diagonal=net.diagonal, rtol=1e-3)
    (grad,) = torch.autograd.grad(scalar(found.y[-1]), y0, create_graph=True)
    with pytest.raises(RuntimeError, match=r"once_differentiable|does not require grad"):
        grad.sum().backward()


def test_a_hollow_field_is_trained_through():
    torch.manual_seed(0)
    net = hp.HollowNet(3).double()
    y0 = torch.randn(4, 3, dtype=DOUBLE)
    grads = []
    for method in (hp.JacobiNewtonBDF(), hp.RungeKutta()):
        found = hp.solve_ivp(net, (0.0, 1.0), y0, method=method, rtol=1e-8, atol=1e-10)
        grads.append(torch.autograd.grad(scalar(found.y[-1]), [*net.parameters()]))
    for got, want in zip(*grads, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("seed", [3, 4, 5])
@pytest.mark.parametrize("rtol", [1e-4, 1e-7])
def test_gradients_by_times_of_a_stiff_linear_system_are_as_good_as_its_tolerance(seed, rtol):
    generator = torch.Generator().manual_seed(seed)
    k = torch.logspace(0, 5, 4, dtype=DOUBLE)
    W = 0.4 * torch.randn(4, 4, generator=generator, dtype=DOUBLE).fill_diagonal_(0)
    A = -k[:, None] * (torch.eye(4, dtype=DOUBLE) - W)
    y0 = torch.randn(2, 4, generator=generator, dtype=DOUBLE, requires_grad=True)
    t0, t1 = (torch.tensor(t, dtype=DOUBLE, requires_grad=True) for t in (0.2, 0.9))
    found = hp.solve_ivp(
        lambda t, y: y @ A.T, (t0, t1), y0, diagonal=lambda t, y: A.diagonal().expand_as(y),
        rtol=rtol, atol=1e-3 * rtol,
    )  # fmt: skip
    ours = torch.autograd.grad(scalar(found.y[-1]), [y0, t0, t1])
    exact = torch.autograd.grad(scalar(y0 @ torch.matrix_exp(A * (t1 - t0)).T), [y0, t0, t1])
    for got, want in zip(ours, exact, strict=True):
        assert (got - want).norm() <= 5 * rtol * want.norm()
