"""Scores without a density: implicit score matching, its units, its diagnostics."""

import math
import os
import re
import signal

import numpy as np
import pytest
import torch

import hollowpde as hp
import hollowpde.testing as checks
from hollowpde.nets.structured.moving_linear import MovingLinear, MovingLinearField
from hollowpde.problem import Adam, Compute, EarlyStop
from hollowpde.problem.score import ScoreMatching, ScoreProblem
from hollowpde.problem.score.fit import implicit_objective
from hollowpde.problem.score.metrics import stein
from hollowpde.testing.common import agree, points, redrawn
from hollowpde.training import running

DOUBLE = torch.float64
SMALL = hp.Hollow(hp.MaskedMLP(hidden=(8,), features=4), hp.SharedMLP(hidden=(8,)))
QUICK = ScoreMatching(ridge=(5.0, 0.5), optimiser=Adam(steps=30), stop=EarlyStop(every=10))

# A Gaussian that moves and turns, the coordinates in different units.
SCALE = torch.tensor([100.0, 0.01], dtype=DOUBLE)


def moments(t):
    """The mean (2,) and the covariance (2, 2) of the process at t."""
    mean = torch.stack([torch.sin(t), torch.cos(t)])
    c = 0.7 * torch.sin(2 * t)
    one = torch.ones_like(c)
    return SCALE * mean, torch.outer(SCALE, SCALE) * torch.stack([one, c, c, one]).view(2, 2)


def truth(t, x):
    mean, covariance = moments(t.double())
    return torch.linalg.solve(covariance, (mean - x).T).T.to(x)


def moving(n=500, times=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    t = torch.linspace(0, 1.5, times, dtype=DOUBLE)
    rows = []
    for at in t:
        mean, covariance = moments(at)
        z = torch.randn(n, 2, generator=generator, dtype=DOUBLE)
        rows.append(mean + z @ torch.linalg.cholesky(covariance).T)
    return hp.Trajectories.from_dense(t, torch.stack(rows, 1), ("u", "v"))


def fitted(problem, tmp_path, **arguments):
    return hp.fit(problem, tmp_path / "run", **arguments)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("symmetric", [True, False])
def test_a_moving_linear_field_keeps_the_contract(symmetric, order):
    field = redrawn(MovingLinearField(4, terms=2, symmetric=symmetric))
    checks.check_field(field)
    t, x = points(4, (6,), 1)
    values, slopes = field.in_time(t, x, order)
    expected = hp.reference.dimwise_in_time(field, t, x, order=order)
    for got, wanted in zip((*values, *slopes), (*expected[0], *expected[1]), strict=True):
        agree("in_time", got, wanted)
    jacobian = hp.reference.jacobian(field, t, x)
    assert torch.allclose(jacobian, jacobian.mT) is symmetric


@pytest.mark.parametrize("dim", [1, 5])
def test_the_objective_is_that_of_brute_force(dim):
    field = redrawn(MovingLinear(plus=SMALL).build(dim))
    t, x = points(dim, (7,), 0)
    expected = field(t, x).square().sum(-1) / 2 + hp.reference.divergence(field, t, x)
    agree("objective", implicit_objective(field, t, x), expected)
    got = torch.autograd.grad(implicit_objective(field, t, x).sum(), list(field.parameters()))
    wanted = torch.autograd.grad(expected.sum(), list(field.parameters()))
    for a, b in zip(got, wanted, strict=True):
        agree("gradient", a, b)


def test_the_objective_is_least_at_the_score():
    """And falls short of it by half the mean squared error, for a Gaussian in closed form."""
    x = torch.randn(200_000, 1, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    x = (x - x.mean()) / x.std(correction=0)
    for slope in (-1.0, -0.5, -2.0):
        value = implicit_objective(
            redrawn_line(slope), torch.zeros(len(x), dtype=DOUBLE), x
        ).mean()
        assert value.item() == pytest.approx(0.5 * (slope + 1) ** 2 - 0.5, abs=1e-9)


def redrawn_line(slope):
    field = hp.nets.LinearField(1).double()
    with torch.no_grad():
        field.A.fill_(slope)
    return field


def test_the_score_of_a_gaussian_is_that_of_its_sample(tmp_path):
    """Linear score matching has a closed form: the inverse of the sample's covariance."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 3, generator=generator, dtype=DOUBLE)
    x = 2 + x @ torch.tensor([[1.0, 0.6, 0.0], [0.0, 1.0, -0.5], [0.0, 0.0, 1.0]], dtype=DOUBLE)
    data = hp.Trajectories(torch.zeros(400, dtype=DOUBLE), x, torch.arange(400))
    problem = ScoreProblem(
        name="gaussian", data=data, score=hp.Linear(),
        fit=ScoreMatching(
            batch=10_000, ridge=(0.0,), stop=EarlyStop(every=1500),
            optimiser=Adam(steps=1500, lr=1e-2),
        ),
    )  # fmt: skip
    run = fitted(problem, tmp_path, dtype=DOUBLE)
    train = data.split(problem.split, 0).train.x
    # Early stopping may prefer an earlier step, but not with a single validation at the end:
    # the standard normal at the start is far worse.
    expected = -torch.linalg.solve(torch.cov(train.T, correction=0), (x - train.mean(0)).T).T
    got = run.learned.score(0.0, x)
    # The batches are drawn with replacement: what they add is far below the sample's own error.
    assert ((got - expected).norm() / expected.norm()).item() < 0.06


def test_a_moving_gaussian_in_any_units(tmp_path):
    problem = ScoreProblem(
        name="moving",
        data=moving(1500),
        truth=truth,
        score=MovingLinear(symmetric=True),
        fit=ScoreMatching(ridge=(5.0,), optimiser=Adam(steps=1000, lr=1e-2)),
    )
    run = fitted(problem, tmp_path)
    assert run.metrics["score_rel_l2_worst"] < 0.15
    assert run.metrics["stein_worst"] < 1.3
    # In standardised units the objective does not depend on the units of the data.
    other = moving(1500)
    other = hp.Trajectories(3600 * other.t + 1e6, other.x / SCALE + 7, other.path)
    again = hp.fit(
        ScoreProblem(name="moving", data=other, score=problem.score, fit=problem.fit),
        tmp_path / "again",
    )
    for key in ("score_objective", "stein_worst"):
        assert again.metrics[key] == pytest.approx(run.metrics[key], rel=0.02)
    t, x = problem.data.t[:50], problem.data.x[:50]
    there = again.learned.score(3600 * t + 1e6, x / SCALE + 7) / SCALE
    gap = (there - run.learned.score(t, x)) * SCALE
    assert gap.abs().max() < 0.05


def test_units_are_undone_exactly():
    problem = ScoreProblem(name="moving", data=moving(), score=SMALL)
    fit = problem.begin(Compute(dtype=DOUBLE))
    units, field = fit.model.standardisation, fit.model.field
    learned = problem.restore(fit.model.state_dict())
    t, x = problem.data.t[::100], problem.data.x[::100]
    inner = field(units.time(t, DOUBLE), units.state(x, DOUBLE))
    assert torch.equal(learned.score(t, x), inner / units.scale)
    assert torch.equal(learned.score(t.numpy(), x.numpy()), learned.score(t, x))
    assert learned.score(0.5, np.zeros((3, 2), int)).dtype == torch.float32
    # The divergence in the user's units is that of brute force in these units.
    got, wanted = (d(learned.field, t, x) for d in (hp.divergence, hp.reference.divergence))
    assert torch.allclose(got * SCALE[1] ** 2, wanted * SCALE[1] ** 2, atol=1e-10)
    slope = learned.field.in_time(t, x, 1)[1]
    expected = hp.reference.dimwise_in_time(learned.field, t, x, order=1)[1]
    for k in (0, 1):
        agree("slope", slope[k] * SCALE ** (k + 1), expected[k] * SCALE ** (k + 1))


def test_before_fitting_it_is_near_a_standard_normal():
    data = moving()
    problem = ScoreProblem(name="moving", data=data, score=hp.Linear())
    fit = problem.begin(Compute())
    assert fit.metrics()["score_objective"] == pytest.approx(-1, abs=0.15)
    x = data.x[:4]
    expected = (data.split(problem.split, 0).train.x.mean(0) - x) / fit.model.standardisation.scale
    assert torch.allclose(fit.learned.score(0.0, x) * fit.model.standardisation.scale, expected)


def test_ridges_go_down():
    problem = ScoreProblem(
        name="moving", data=moving(20), score=SMALL, fit=ScoreMatching(ridge=(0.5, 5.0, 0.5))
    )
    names = [stage.name for stage in problem.begin(Compute()).stages()]
    assert names == ["score, ridge 5", "score, ridge 0.5"]


def test_steins_identities():
    generator = torch.Generator().manual_seed(0)
    path = torch.arange(400).repeat_interleave(5)
    z = torch.randn(2000, 3, generator=generator, dtype=DOUBLE)
    right, wrong = stein(-z, z, path), stein(-1.3 * z, z, path)
    assert right.worst < 1 < wrong.worst
    assert right.product == pytest.approx(-z.square().mean(0).numpy())
    # Rows of a path are no independent evidence.
    repeated = stein(
        -z.repeat_interleave(4, 0), z.repeat_interleave(4, 0), path.repeat_interleave(4)
    )
    assert repeated.worst == pytest.approx(right.worst)


def test_resumed_equals_uninterrupted(tmp_path, monkeypatch):
    problem = ScoreProblem(name="moving", data=moving(), truth=truth, score=SMALL, fit=QUICK)
    whole = hp.fit(problem, tmp_path / "whole")
    advance = running.Running.advance

    def stop(self):
        if self.stage.name == "score, ridge 0.5" and self.step == 15:
            os.kill(os.getpid(), signal.SIGINT)
        return advance(self)

    monkeypatch.setattr(running.Running, "advance", stop)
    with pytest.raises(KeyboardInterrupt):
        hp.fit(problem, tmp_path / "run")
    monkeypatch.undo()
    run = hp.fit(problem, tmp_path / "run", resume=True)
    for key, value in whole.metrics.items():
        if key != "seconds":
            assert run.metrics[key] == value, key
    loaded = hp.load(tmp_path / "run", problem=problem)
    t, x = problem.data.t, problem.data.x
    assert torch.equal(loaded.learned.score(t, x), whole.learned.score(t, x))
    assert torch.equal(loaded.field(t, x), whole.learned.score(t, x))


@pytest.mark.parametrize("dim", [1, 2, 6])
def test_panels(dim, tmp_path):
    x = torch.randn(30, 3, dim, generator=torch.Generator().manual_seed(0))
    data = hp.Trajectories.from_dense(torch.arange(3.0), x)
    run = fitted(ScoreProblem(name="noise", data=data, score=SMALL, fit=QUICK), tmp_path)
    page = (run.path / "report.html").read_text()
    assert "Score of x1" in page and "Stein" in page
    assert "score_rel_l2" not in run.metrics
    assert all(math.isfinite(value) for value in run.metrics.values())


def test_a_gradient_and_few_paths(tmp_path):
    data = hp.Trajectories.from_dense(torch.arange(200.0), torch.randn(1, 200, 2))
    problem = ScoreProblem(name="path", data=data, score=hp.Gradient(), fit=QUICK)
    run = fitted(problem, tmp_path)
    jacobian = hp.reference.jacobian(run.field, 3.0, torch.randn(4, 2))
    assert torch.allclose(jacobian, jacobian.mT, atol=1e-5)


STILL = hp.Trajectories.from_dense(torch.arange(3.0), torch.randn(20, 3, 1).cumsum(1))
BAD = {
    "something with .load()": {"data": 3},
    "score must be": {"score": 3},
    "truth must be called": {"truth": 3},
    "name must be": {"name": "a b"},
}


@pytest.mark.parametrize("message", BAD)
def test_errors_at_the_door(message):
    with pytest.raises(hp.InputError, match=re.escape(message)):
        ScoreProblem(**{"name": "x", "data": STILL, **BAD[message]})


def test_errors_of_data_truth_and_settings():
    problem = ScoreProblem(name="x", data=STILL, truth=lambda t, x: x[..., 0])
    with pytest.raises(hp.InputError, match=r"truth\(t, x\) must return the shape \(1, 1\)"):
        problem.begin(Compute())
    start = torch.randn(20, 3, 2)
    start[:, 1, 1] = 7.0
    data = hp.Trajectories.from_dense(torch.arange(3.0), start)
    with pytest.raises(hp.InputError, match="at t = 1 the coordinate 'x2' is the same in all 20"):
        ScoreProblem(name="x", data=data).begin(Compute())
    with pytest.raises(hp.InputError, match="batch must be at least 1"):
        ScoreMatching(batch=0)
    with pytest.raises(hp.InputError, match="ridge must hold"):
        ScoreMatching(ridge=())
    with pytest.raises(hp.InputError, match="must be at least 1"):
        MovingLinearField(0)
    with pytest.raises(hp.InputError, match="3 columns"):
        MovingLinearField(3)(0.0, torch.zeros(2))
