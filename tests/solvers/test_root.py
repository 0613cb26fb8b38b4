"""Roots and fixed points: found to the tolerance, differentiable, or an error."""

import pytest
import torch
from scipy.optimize import fsolve
from torch import nn

import hollowpde as hp

DOUBLE = torch.float64


class Coupled(nn.Module):
    """x_i^3 + x_i - a_i + c tanh(sum of the others)."""

    def __init__(self, dim=5, coupling=0.5):
        super().__init__()
        self.a = nn.Parameter(torch.linspace(-2, 3, dim, dtype=DOUBLE))
        self.coupling = coupling

    def forward(self, x):
        others = x.sum(-1, keepdim=True) - x
        return x**3 + x - self.a + self.coupling * torch.tanh(others)

    def diagonal(self, x):
        return 3 * x**2 + 1


@pytest.mark.parametrize(
    "method", [hp.JacobiNewton(), hp.JacobiNewton(anderson=0), hp.DenseNewton(), hp.NewtonKrylov()]
)
@pytest.mark.parametrize("coupling", [0.3, 3.0])
def test_roots_against_scipy(method, coupling):
    F = Coupled(coupling=coupling)
    x0 = torch.stack([torch.zeros(5), torch.ones(5), -2 * torch.ones(5)]).to(DOUBLE)
    found = hp.find_root(F, x0, method=method, diagonal=F.diagonal)
    assert found.success.all() and found.status == "All 3 roots were found."
    assert F(found.x).abs().max() < 1e-7
    with torch.no_grad():
        exact = fsolve(
            lambda x: F(torch.from_numpy(x)[None])[0].numpy(),
            found.x[0].detach().numpy(),
        )
    torch.testing.assert_close(found.x[0], torch.from_numpy(exact), rtol=1e-6, atol=1e-7)


def test_gradients_of_roots():
    F = Coupled()
    x0 = torch.zeros(2, 5, dtype=DOUBLE)

    def root(a):
        G = Coupled()
        G.a = nn.Parameter(a.detach())
        return hp.find_root(G, x0, diagonal=G.diagonal, rtol=1e-12, atol=1e-13).x.detach()

    found = hp.find_root(F, x0, diagonal=F.diagonal, rtol=1e-12, atol=1e-13)
    weights = torch.linspace(1, 2, 10, dtype=DOUBLE).reshape(2, 5)
    (weights * found.x).sum().backward()
    for k in range(5):
        e = torch.zeros(5, dtype=DOUBLE)
        e[k] = 1e-6
        slope = ((root(F.a + e) - root(F.a - e)) * weights).sum() / 2e-6
        assert float(F.a.grad[k]) == pytest.approx(float(slope), rel=1e-5, abs=1e-7)


def test_fixed_points_of_hollow_networks():
    torch.manual_seed(0)
    net = hp.HollowNet(6).double()
    x0 = torch.randn(3, 6, dtype=DOUBLE)
    found = hp.fixed_point(net, x0)
    torch.testing.assert_close(net(0.0, found.x), found.x, rtol=1e-7, atol=1e-8)
    found.x.sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    again = hp.find_root(net, x0, method=hp.DenseNewton(), throw=False)
    if again.success.all():
        assert net(0.0, again.x).abs().max() < 1e-6


def test_what_has_no_root_is_an_error():
    x0 = torch.tensor([[1.0], [0.5]], dtype=DOUBLE)
    target = torch.tensor([[2.0], [-1.0]], dtype=DOUBLE)

    def F(x):
        # The second has none.
        return x**2 - torch.where(x0[: len(x)] == 1.0, target[: len(x)], target[-len(x) :])

    with pytest.raises(hp.SolverError, match="samples have no root within 50 sweeps"):
        hp.find_root(lambda x: x**2 + 1, x0, diagonal=lambda x: 2 * x)
    found = hp.find_root(lambda x: x**2 + 1, x0, diagonal=lambda x: 2 * x, throw=False)
    assert not found.success.any() and "have no root" in found.status


def test_contradictions_are_refused():
    with pytest.raises(hp.InputError, match="JacobiNewton needs the diagonal"):
        hp.find_root(lambda x: x, torch.ones(1, 1))
    with pytest.raises(hp.InputError, match=r"x0 must be a tensor \(B, d\)"):
        hp.find_root(lambda x: x, torch.ones(1))
    with pytest.raises(hp.InputError, match="rtol and atol must be positive"):
        hp.find_root(lambda x: x, torch.ones(1, 1), rtol=0.0, atol=0.0)
