"""Dense Newton keeps Jacobians and their factors: each sample its own, and none too long."""

import numpy as np
import pytest
import torch

import hollowpde as hp
from hollowpde.solvers.equation import Stage
from hollowpde.solvers.system import System

DOUBLE = torch.float64


def systems(samples, dim):
    """Linear systems, of each sample one of its own."""
    generator = torch.Generator().manual_seed(0)
    J = 50 * torch.randn(samples, dim, dim, generator=generator, dtype=DOUBLE)
    return J - 300 * torch.eye(dim, dtype=DOUBLE)


class Chosen:
    """f of some of the samples."""

    def __init__(self, J):
        self.J = J

    def f(self, t, y):
        # The time of a sample says which it is; directions are samples, one after another.
        return torch.einsum("nij,nj->ni", self.J[t.long()], y)


@pytest.mark.parametrize("some", [[0, 1, 2, 3], [1, 3], [2]])
def test_factors_are_those_of_the_step(some):
    J = systems(4, 5)
    worker, system = hp.DenseNewton().worker(4, 1e-6), System(Chosen(J).f, dtype=DOUBLE)
    generator = torch.Generator().manual_seed(1)
    everyone = list(range(4))
    steps = torch.logspace(-4, -1, 4, dtype=DOUBLE)[:, None]
    # Steps that stay, that change for one sample, and for all; for all samples and for some.
    course = [(everyone, steps), (everyone, steps), (some, steps), (some, steps.flip(0)),
              (everyone, steps.flip(0)), (everyone, 2 * steps)]  # fmt: skip
    for rows, c in course:
        base = torch.randn(len(rows), 5, generator=generator, dtype=DOUBLE)
        times = torch.tensor(rows, dtype=DOUBLE)
        out = worker.solve(
            Stage(system, times, base, c[rows]), torch.zeros_like(base), torch.ones_like(base),
            np.array(rows),
        )  # fmt: skip
        matrices = torch.eye(5, dtype=DOUBLE) - c[rows][:, :, None] * J[rows]
        exact = torch.linalg.solve(matrices, base)
        assert out.converged.all()
        torch.testing.assert_close(out.z, exact, rtol=1e-9, atol=1e-10)
        # With the right factors there is nothing left after one step.
        assert (out.iterations <= 2).all()
    assert system.counts["jacobian"] == 1


def test_samples_that_leave_take_their_factors_along():
    J = systems(3, 4)
    worker, system = hp.DenseNewton().worker(3, 1e-6), System(Chosen(J).f, dtype=DOUBLE)
    c = torch.tensor([[0.001], [0.1], [0.01]], dtype=DOUBLE)
    for rows in ([0, 1, 2], [1, 2], [2]):
        base = torch.ones(len(rows), 4, dtype=DOUBLE)
        stage = Stage(system, torch.tensor(rows, dtype=DOUBLE), base, c[rows])
        out = worker.solve(
            stage, torch.zeros_like(base), torch.ones_like(base), np.arange(len(rows))
        )
        assert out.converged.all() and (out.iterations <= 2).all()
        worker.keep(np.arange(1, len(rows)))
    assert system.counts["jacobian"] == 1


def test_equal_steps_are_factored_once(monkeypatch):
    made = []
    factor = torch.linalg.lu_factor_ex
    monkeypatch.setattr(torch.linalg, "lu_factor_ex", lambda A: made.append(len(A)) or factor(A))
    J = systems(1, 6)

    def f(t, y):
        return y @ J[0].T + torch.sin(t)[:, None]

    y0, method = torch.ones(1, 6, dtype=DOUBLE), hp.JacobiNewtonBDF(inner=hp.DenseNewton())
    found = hp.solve_ivp(f, (0.0, 20.0), y0, method=method, rtol=1e-6)
    assert len(made) < 0.6 * found.stats.n_steps


def test_a_function_may_return_an_expanded_view():
    y0 = torch.tensor([[1.0, 0.5], [20.0, 3.0]], dtype=DOUBLE)

    def f(t, y):
        return (-(y.sum(-1, keepdim=True) ** 3)).expand_as(y)

    method = hp.JacobiNewtonBDF(inner=hp.DenseNewton())
    found = hp.solve_ivp(f, (0.0, 2.0), y0, method=method, rtol=1e-6)
    torch.testing.assert_close(found.y[-1, :, 0] - found.y[-1, :, 1], y0[:, 0] - y0[:, 1])
