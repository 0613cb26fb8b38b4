"""The diagonal of Jacobi-Newton iteration: kept while it serves, and taken anew in time."""

import numpy as np
import pytest
import torch

import hollowpde as hp
from hollowpde.solvers.equation import Stage
from hollowpde.solvers.system import System

DOUBLE = torch.float64
TOLERANCE = 0.03


class Switched:
    """Decay to one, at a rate that can be changed."""

    rate = 1e4

    def f(self, t, y):
        return -self.rate * (y - 1.0)

    def diagonal(self, t, y):
        return torch.full_like(y, -self.rate)


def solve(worker, system, error, scale):
    """One equation, from a guess so far from its root; what is left of the error, in its units."""
    base, c = torch.full((1, 2), 3.0, dtype=DOUBLE), torch.full((1, 1), 0.1, dtype=DOUBLE)
    k = c * system.rate
    root = (base + k) / (1.0 + k)
    stage = Stage(
        System(system.f, system.diagonal, dtype=DOUBLE), torch.zeros(1, dtype=DOUBLE), base, c
    )
    out = worker.solve(stage, root + error, torch.full_like(base, scale), np.arange(1))
    assert out.converged.all()
    return float((out.z - root).abs().max()) / scale, stage.system.counts["diagonal"]


@pytest.mark.parametrize("memory", [0, 5])
@pytest.mark.parametrize("rates", [(1e4, 1.0), (1.0, 1e4), (1e4, -5.0)])
def test_a_diagonal_that_no_longer_holds_is_not_believed(rates, memory):
    worker, system = hp.JacobiNewton(anderson=memory).worker(1, TOLERANCE), Switched()
    system.rate = rates[0]
    for _ in range(3):
        assert solve(worker, system, 2e-3, 1e-3)[0] <= TOLERANCE
    # It served: nothing was evaluated but f.
    assert solve(worker, system, 2e-3, 1e-3)[1] == 0
    system.rate = rates[1]
    # By the old diagonal the first step looks as if there were hardly an error.
    error, diagonals = solve(worker, system, 2e-3, 1e-3)
    assert error <= TOLERANCE
    assert diagonals == 1 or error < 1e-3 * TOLERANCE
    assert solve(worker, system, 2e-3, 1e-3)[0] <= TOLERANCE


def test_a_kept_diagonal_is_weighed_by_the_step_that_it_serves():
    system = Switched()
    worker, y = hp.JacobiNewton().worker(1, 1e-8), torch.zeros(1, 2, dtype=DOUBLE)
    steps = [torch.tensor([[c]], dtype=DOUBLE) for c in (1e-4, 1e-5, 1e-4, 1e-3)]
    whole = System(system.f, system.diagonal, dtype=DOUBLE)
    for c in (*steps, steps[-1]):
        out = worker.solve(
            Stage(whole, torch.zeros(1, dtype=DOUBLE), y, c), y, torch.ones_like(y), np.arange(1)
        )
        # The Jacobian is diagonal: with the right weight there is nothing left after one step.
        assert out.converged.all() and out.rate[0] < 1e-10
    assert whole.counts["diagonal"] == 1


def test_a_diagonal_may_be_written_into_the_same_tensor():
    system, buffer = Switched(), torch.empty(1, 2, dtype=DOUBLE)

    def diagonal(t, y):
        return buffer.fill_(-system.rate)

    worker, y = hp.JacobiNewton().worker(1, 1e-8), torch.zeros(1, 2, dtype=DOUBLE)
    whole, c = System(system.f, diagonal, dtype=DOUBLE), torch.full((1, 1), 0.1, dtype=DOUBLE)
    stage = Stage(whole, torch.zeros(1, dtype=DOUBLE), y, c)
    for system.rate in (1e4, 10.0):
        worker.renew()
        out = worker.solve(stage, y, torch.ones_like(y), np.arange(1))
        root = 0.1 * system.rate / (1.0 + 0.1 * system.rate)
        torch.testing.assert_close(out.z, torch.full_like(y, root))


def switching(t):
    """A rate that falls from 1e4 to 1 within a few hundredths."""
    return 1.0 + 1e4 * torch.sigmoid((0.5 - t) / 0.004)[:, None]


@pytest.mark.parametrize("method", [hp.JacobiNewtonBDF(), hp.AdamsMoulton(), hp.ESDIRK43()])
@pytest.mark.parametrize("rtol", [1e-3, 1e-6])
def test_few_diagonals_on_the_way_and_as_right_as_ever(method, rtol):
    def f(t, y):
        return -switching(t) * (y - torch.cos(5 * t)[:, None])

    y0, times = torch.zeros(2, 1, dtype=DOUBLE), [0.4, 0.5, 0.52, 1.0]
    with torch.no_grad():
        found = hp.solve_ivp(
            f, (0.0, 1.0), y0, method=method, diagonal=lambda t, y: -switching(t).expand_as(y),
            rtol=rtol, atol=1e-2 * rtol, t_eval=times,
        )  # fmt: skip
        exact = hp.solve_ivp(
            f, (0.0, 1.0), y0, method=hp.SciPy("Radau"), rtol=1e-10, atol=1e-12, t_eval=times
        )
    assert (found.y - exact.y).abs().max() <= 50 * rtol
    stats = found.stats
    assert 2 <= stats.n_diag <= stats.n_f / 5


def test_samples_keep_diagonals_of_their_own():
    """A sample whose diagonal changes much does not decide for one whose changes little."""

    # The first component says which sample it is, and stays.
    def rates(t, y):
        fast = 1e3 * (1.0 + y[:, 0] * torch.sin(40 * t) ** 2)
        return torch.stack([torch.zeros_like(fast), fast], -1)

    def f(t, y):
        return -rates(t, y) * (y - torch.cos(t)[:, None])

    y0 = torch.tensor([[5.0, 0.3], [0.02, 0.3]], dtype=DOUBLE)
    settings = {"diagonal": lambda t, y: -rates(t, y), "rtol": 1e-6}
    with torch.no_grad():
        together = hp.solve_ivp(f, (0.0, 0.4), y0, **settings)
        for k in range(2):
            alone = hp.solve_ivp(f, (0.0, 0.4), y0[k : k + 1], **settings)
            torch.testing.assert_close(together.y[:, k], alone.y[:, 0], rtol=1e-10, atol=1e-12)
            assert alone.stats.evaluations[0] == together.stats.evaluations[k]


@pytest.mark.parametrize(
    ("there", "back", "contraction"),
    [
        (20.0, 0.002, 0.2),  # an error that moves to where it counts more, and then is gone
        (0.95, 0.95, 0.95),  # one that lasts
        (0.05, 18.0, 0.95),  # the same, in unlike units
    ],
)
def test_the_contraction_is_that_of_errors_that_last(there, back, contraction):
    M = torch.tensor([[0.0, back], [there, 0.0]], dtype=DOUBLE)
    system = System(lambda t, z: z @ M.T, lambda t, z: torch.zeros_like(z), dtype=DOUBLE)
    base, one = torch.zeros(1, 2, dtype=DOUBLE), torch.ones(1, 1, dtype=DOUBLE)
    stage = Stage(system, torch.zeros(1, dtype=DOUBLE), base, one)
    worker = hp.JacobiNewton().worker(1, 1e-6)
    guess = torch.tensor([[1.0, 0.0]], dtype=DOUBLE)
    out = worker.solve(stage, guess, torch.ones_like(base), np.arange(1))
    assert out.rate[0] >= 0.99 * contraction
    # What is measured of one step alone is never forgotten where it grows.
    assert out.rate[0] <= 1.01 * max(contraction, back)
