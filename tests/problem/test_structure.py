"""What the user knows of an SDE: forms of drift and diffusion, positive data, no noise, blocks."""

import logging
import math
import os
import signal
from functools import partial
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
import torchsde
from torch import nn

import hollowpde as hp
from hollowpde.data import Logarithms, Pairs
from hollowpde.likelihoods import (
    EulerMaruyama,
    LocalLinearization,
    MixtureClosure,
    MomentClosure,
    ProbedClosure,
)
from hollowpde.problem import Compute
from hollowpde.problem.sde import bootstrap
from hollowpde.problem.sde.bootstrap import counted, resampled
from hollowpde.problem.sde.choice import compare, ladder
from hollowpde.problem.sde.learned import FittedSDE
from hollowpde.problem.sde.metrics import parameter_metrics
from hollowpde.problem.sde.rows import always, take
from hollowpde.problem.stage import Stage
from hollowpde.training import Progress, running
from hollowpde.training.elsewhere import run_elsewhere

NO_DENSITY = ("density.components=1", "density.optimiser.steps=5", "density.refine.steps=0")
SHORT = (
    *NO_DENSITY,
    "transition.first.steps=150",
    "transition.whole.steps=4",
    "transition.stop.every=50",
)


class SDE(torchsde.SDEIto):
    def __init__(self, drift, diffusion):
        super().__init__("diagonal")
        self.drift, self.diffusion = drift, diffusion

    def f(self, t, y):
        return self.drift(y)

    def g(self, t, y):
        return self.diffusion(y)


OU = SDE(lambda y: 1.5 * (2.0 - y), lambda y: 0.6 * torch.ones_like(y))
GBM = SDE(lambda y: 0.3 * y, lambda y: 0.4 * y)
LANGEVIN = SDE(
    lambda y: torch.stack([y[:, 1], -y[:, 0] - y[:, 1]], 1),
    lambda y: torch.tensor([0.0, 0.7]).expand_as(y),
)


def paths(sde, x0, times=11, n=300, dt=0.1, seed=0):
    return hp.simulate(sde, torch.tensor(x0), torch.arange(times) * dt, n, seed)


class MeanReversion(nn.Module):
    def __init__(self, speed=1.0, level=0.0):
        super().__init__()
        self.speed, self.level = (
            nn.Parameter(torch.tensor(speed)),
            nn.Parameter(torch.tensor(level)),
        )

    def forward(self, t, y):
        return self.speed * (self.level - y)


class Constant(nn.Module):
    def __init__(self):
        super().__init__()
        self.log_D = nn.Parameter(torch.zeros(()))

    def forward(self, t, y):
        return self.log_D.exp() * torch.ones_like(y)


def test_the_users_own_parameters_are_found_and_named(tmp_path):
    module = MeanReversion()
    problem = hp.SDEProblem(
        name="own", data=paths(OU, [0.0], n=1000), truth=OU, drift=hp.Parametric(module),
        diffusion=hp.Parametric(Constant()),
    )  # fmt: skip
    run = hp.fit(problem, tmp_path / "run", overrides=[
        *NO_DENSITY, "transition.first.steps=600",
        "uncertainty.members=4",
    ])  # fmt: skip
    m = run.metrics
    assert m["drift.speed"] == pytest.approx(1.5, abs=0.15)
    assert m["drift.level"] == pytest.approx(2.0, abs=0.15)
    assert m["diffusion.log_D"] == pytest.approx(math.log(0.36), abs=0.06)
    for name in ("drift.speed", "drift.level", "diffusion.log_D"):
        assert m[f"{name}_low"] < m[name] < m[f"{name}_high"]
    # The declaration keeps the values it was given.
    assert module.speed.item() == 1.0
    low, high = run.ensemble.intervals()["drift.speed"]
    assert (low.item(), high.item()) == (m["drift.speed_low"], m["drift.speed_high"])
    page = (run.path / "report.html").read_text()
    assert "with 90 % intervals from the ensemble" in page and "drift.speed" in page
    again = hp.load(run.path, problem=problem)
    assert torch.equal(
        again.learned.parameters["drift.speed"], run.learned.parameters["drift.speed"]
    )
    assert len(again.ensemble) == 4


def test_a_known_part_and_a_correction(tmp_path):
    data = paths(OU, [0.0])
    fit = hp.SDEProblem(
        name="known", data=data, drift=hp.Known(lambda t, y: -y, plus=hp.Hollow()),
        diffusion=hp.Known(lambda t, y: 0.36 * torch.ones_like(y)),
    ).begin(Compute())  # fmt: skip
    learned = fit.model
    fit.model.components.fill_(1)
    sde = fit.learned.sde
    x = torch.linspace(-1, 3, 7, dtype=torch.float64).unsqueeze(-1)
    torch.testing.assert_close(sde.diffusion(0.0, x), torch.full_like(x, 0.36))
    correction = [p for p in learned.drift.parameters() if p.requires_grad]
    assert correction
    with torch.no_grad():
        for p in correction:
            p.zero_()
    torch.testing.assert_close(sde.drift(0.0, x), -x, rtol=1e-5, atol=1e-5)


def test_a_known_drift_of_positive_data_gets_its_ito_correction():
    data = paths(GBM, [1.0])
    fit = hp.SDEProblem(
        name="gbm", data=data, support="positive", drift=hp.Known(lambda t, y: 0.3 * y),
        diffusion=hp.Known(lambda t, y: 0.16 * y.square()),
    ).begin(Compute())  # fmt: skip
    fit.model.components.fill_(1)
    x = torch.linspace(0.2, 3, 7, dtype=torch.float64).unsqueeze(-1)
    torch.testing.assert_close(fit.learned.sde.f(0.0, x), 0.3 * x, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(fit.learned.sde.g(0.0, x), 0.4 * x, rtol=1e-5, atol=1e-6)
    z = torch.zeros(3, 1)
    t = torch.zeros(3)
    # In standardised logarithms: .3 - .16 / 2, per unit of standardised time.
    units = fit.model.standardisation
    expected = (0.3 - 0.08) * units.t_scale / units.scale
    torch.testing.assert_close(fit.model.drift(t, z), expected.float().expand(3, 1))


def test_positive_data(tmp_path):
    problem = hp.SDEProblem(
        name="gbm", data=paths(GBM, [1.0], n=600), truth=GBM, support="positive",
        diffusion=hp.Constant(), drift=hp.Linear(),
    )  # fmt: skip
    run = hp.fit(problem, tmp_path / "run", overrides=[
        *NO_DENSITY, "transition.first.steps=400",
    ])  # fmt: skip
    assert run.metrics["diffusion_rel_l2"] < 0.1
    assert run.metrics["drift_rel_l2"] < 0.5
    # A density on the half line: normalised there and nothing elsewhere.
    grid = torch.linspace(-1, 12, 13_001, dtype=torch.float64).unsqueeze(-1)
    p = run.density.log_prob(0.5, grid).exp()
    assert torch.trapezoid(p, grid[:, 0]).item() == pytest.approx(1, abs=1e-3)
    assert not p[grid[:, 0] <= 0].any()
    marginal = run.density.marginal_log_prob(0.5, grid).exp()[:, 0]
    torch.testing.assert_close(marginal, p)
    assert (run.density.sample(0.5, 100) > 0).all()
    # Steps that would carry a path below zero if taken in x itself.
    start, times = torch.tensor([0.5]), torch.arange(3) * 5.0
    far = hp.simulate(run.sde, start, times, 20_000, step=2.5, method="euler")
    assert (far.x > 0).all()
    raw = FittedSDE(run.sde.drift, run.sde.diffusion)
    assert (hp.simulate(raw, start, times, 20_000, step=2.5, method="euler").x <= 0).any()
    # The likelihood of transitions is that of x, not of log x: against the exact one.
    exact, data = 0.0, problem.begin(Compute()).split.test.pairs()
    mean, sd = 0.22 * 0.1, 0.4 * math.sqrt(0.1)
    log = torch.distributions.LogNormal(data.x[:, 0].log() + mean, sd)
    exact = -log.log_prob(data.x_next[:, 0]).mean().item()
    assert run.metrics["transition_nll"] == pytest.approx(exact, abs=0.1)


def test_exit_times_of_positive_data_are_simulated_in_logarithms():
    # d log X = X / X dt - 1/2 dt + dW: the mean time from 1 to 3 is 2 log 3.
    log = FittedSDE(lambda t, y: 0.5 + 0 * y, lambda t, y: 1 + 0 * y)
    gbm = FittedSDE(lambda t, y: y, lambda t, y: y.square(), Logarithms(log, torch.tensor([True])))
    for low in (0.0, -math.inf):
        time = hp.simulate_exit_time(
            gbm, torch.ones(1), low, 3.0, step=0.1, horizon=100.0, paths=4000
        )
        assert time.mean == pytest.approx(2 * math.log(3), abs=5 * time.standard_error)
    with pytest.raises(hp.InputError, match="x0 must be positive"):
        hp.simulate(gbm, torch.tensor([-1.0]), torch.arange(2.0), 3)


def test_values_that_are_not_positive_are_counted():
    data = paths(OU, [0.0])
    with pytest.raises(hp.InputError, match=r"values of 'x1' are zero or negative"):
        hp.SDEProblem(name="a", data=data, support="positive").begin(Compute())


def test_a_dimension_without_noise(tmp_path):
    problem = hp.SDEProblem(
        name="langevin", data=paths(LANGEVIN, [1.0, 0.0]), truth=LANGEVIN, noiseless=("x1",),
        drift=hp.Linear(), diffusion=hp.Constant(),
    )  # fmt: skip
    run = hp.fit(problem, tmp_path / "run", overrides=[
        *NO_DENSITY, "transition.first.steps=600",
    ])  # fmt: skip
    x = torch.randn(5, 2)
    g = run.sde.g(0.0, x)
    assert not g[:, 0].any()
    assert (g[:, 1] - 0.7).abs().max() < 0.05
    assert (run.sde.f(0.0, x)[:, 0] - x[:, 1]).abs().max() < 0.1
    assert not hp.load(run.path, problem=problem).sde.g(0.0, x)[:, 0].any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noiseless": ("y",)}, "noiseless: no coordinate 'y'"),
        ({"noiseless": ("x1",)}, "at least one coordinate with noise"),
        ({"support": "positiv"}, "did you mean 'positive'"),
        ({"support": ("real", "positive")}, "one for each of 1 coordinates"),
        ({"diffusion": ()}, "at least one candidate"),
        ({"drift": 3}, "but is a int"),
        ({"diffusion": hp.Known(lambda t, y: y, plus=hp.Hollow())}, "takes no addition"),
    ],
)
def test_structures_that_make_no_sense(settings, message):
    data = paths(OU, [0.0], n=20)
    with pytest.raises(hp.InputError, match=message):
        hp.SDEProblem(name="a", data=data, **settings).begin(Compute())


def test_parametric_wants_a_module():
    with pytest.raises(hp.InputError, match=r"use hp.Known"):
        hp.Parametric(lambda t, y: y)


def test_one_long_path_is_cut_into_blocks(caplog):
    data = paths(OU, [0.0], times=400, n=1)
    with caplog.at_level(logging.INFO):
        fit = hp.SDEProblem(name="long", data=data).begin(Compute())
    assert "cut into blocks" in caplog.text
    assert [part.paths for part in fit.split] == [16, 2, 2]
    steps = fit.split.train.pairs().step
    torch.testing.assert_close(steps, torch.full_like(steps, 0.1), atol=1e-4, rtol=0)


# --- the choice of the likelihood -----------------------------------------------------------


def field(function):
    return hp.nets.as_field(lambda t, y: function(y))


def pairs_of(data):
    pairs = data.double().pairs()
    return Pairs(*(c.double() if c.is_floating_point() else c for c in pairs))


@pytest.mark.parametrize(
    ("drift", "dt", "expected"),
    [
        (lambda y: -y, 1e-3, EulerMaruyama),  # nothing happens within a step
        (lambda y: -y, 0.3, LocalLinearization),  # exact for it
        (lambda y: y - y**3, 0.5, MixtureClosure),
    ],
)
def test_the_cheapest_likelihood_that_is_good(drift, dt, expected):
    sde = SDE(drift, lambda y: 0.7 * torch.ones_like(y))
    steps = ladder((True,))
    seen = compare(
        steps.rungs, steps.reference, field(drift), field(lambda y: 0.49 + 0 * y),
        pairs_of(paths(sde, [0.5], dt=dt)),
    )  # fmt: skip
    assert type(steps.rungs[seen.choice]) is expected
    assert expected.__name__ in seen.reason(steps.rungs)


def test_coupled_dimensions_need_the_full_covariance():
    A = torch.tensor([[-1.0, 0.8], [-0.8, -1.2]], dtype=torch.float64)
    sde = SDE(lambda y: y @ A.T.float(), lambda y: torch.tensor([0.5, 1.0]).expand_as(y))
    steps = ladder((True, True))
    seen = compare(
        steps.rungs, steps.reference, field(lambda y: y @ A.T),
        field(lambda y: torch.tensor([0.25, 1.0]).double().expand_as(y)),
        pairs_of(paths(sde, [2.0, -1.0], dt=0.5, times=5)),
    )  # fmt: skip
    assert isinstance(steps.rungs[seen.choice], MomentClosure)


@pytest.mark.parametrize(
    ("coupling", "expected"), [(0.0, LocalLinearization), (1.5, ProbedClosure)]
)
def test_many_coupled_dimensions_are_probed(coupling, expected):
    A = coupling * (torch.diag(torch.ones(19), 1) + torch.diag(torch.ones(19), -1))
    A -= 3.5 * torch.eye(20)
    sde = SDE(lambda y: y @ A.T, lambda y: 0.7 * torch.ones_like(y))
    steps = ladder((True,) * 20)
    seen = compare(
        steps.rungs, steps.reference, field(lambda y: y @ A.double().T),
        field(lambda y: 0.49 * torch.ones_like(y)),
        pairs_of(paths(sde, [1.0] * 20, dt=0.25, times=4, n=100)),
    )  # fmt: skip
    assert type(steps.rungs[seen.choice]) is expected


def test_candidates_of_the_diffusion(tmp_path, caplog):
    """Constant noise is found to be constant, and noise that depends on x not to be."""
    for sde, start, constant in ((OU, 0.0, True), (GBM, 1.0, False)):
        problem = hp.SDEProblem(name="c", data=paths(sde, [start], n=600))
        with caplog.at_level(logging.INFO):
            run = hp.fit(problem, tmp_path / str(constant), overrides=SHORT)
        x = torch.linspace(0.8, 2, 5).unsqueeze(-1)
        assert bool(run.sde.g(0.0, x).std() < 1e-6) is constant
        assert "smallest as good as any" in caplog.text


# --- ensembles -------------------------------------------------------------------------------


def test_paths_are_resampled_whole():
    path = torch.arange(50).repeat_interleave(torch.arange(50) % 4 + 1)
    column = torch.zeros(len(path))
    rows = resampled(Pairs(column, column, column, column, path), seed=3)
    drawn = path[rows]
    length = torch.bincount(path)
    times = torch.bincount(drawn, minlength=50)
    assert (times % length == 0).all()
    assert (times // length).sum() == 50
    assert not torch.equal(rows, resampled(Pairs(*[column] * 4, path), seed=4))


def test_drawn_rows_count_as_often_as_they_are_drawn():
    fit = hp.SDEProblem(name="ou", data=paths(OU, [0.0], n=40)).begin(Compute(0))
    coefficients = fit.coefficients
    pair = coefficients.model.pair(0)
    rows = resampled(coefficients.train, 5)
    for most in (len(rows.unique()), len(rows)):
        drawn = counted(coefficients.train, rows, most)
        assert len(drawn.counts) == most
        assert drawn.counts.sum() == len(rows)
        likelihood = EulerMaruyama()
        torch.testing.assert_close(
            coefficients.nll(pair, likelihood, drawn.rows, drawn.counts),
            coefficients.nll(pair, likelihood, take(coefficients.train, rows)),
        )


class Speed(nn.Module):
    """A drift with a parameter in two places."""

    def __init__(self):
        super().__init__()
        self.speed = nn.Parameter(torch.tensor(1.0))
        self.inner = nn.Linear(1, 1)
        self.inner.weight = nn.Parameter(torch.tensor([[1.0]]))
        self.outer = nn.Linear(1, 1)
        self.outer.weight = self.inner.weight

    def forward(self, t, y):
        return -self.speed * self.outer(self.inner(y))


class Counting(nn.Module):
    """A drift that looks at the values, which is nothing for all members at once."""

    def __init__(self):
        super().__init__()
        self.speed = nn.Parameter(torch.tensor(1.0))

    def forward(self, t, y):
        return -self.speed * y if self.speed > -10 else y


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch compiles parts of itself
@pytest.mark.parametrize("form", ["networks", "parametric", "noise", "batches", "time"])
def test_members_at_once_are_those_one_by_one(tmp_path, monkeypatch, form):
    changes, more = {}, []
    if form == "parametric":
        changes = {"drift": hp.Parametric(Speed())}
    if form == "noise":
        changes = {"observation": hp.ObservationNoise(0.1), "diffusion": hp.Constant()}
    if form == "batches":
        more = ["transition.whole_pairs=0", "transition.batch=64", "transition.late_batch=128",
                "transition.optimiser.steps=20", "uncertainty.optimiser.steps=20"]  # fmt: skip
    if form == "time":
        changes = {"autonomous": False}
    problem = hp.SDEProblem(name="ou", data=paths(OU, [0.0], n=30), **changes)
    settings = [
        *NO_DENSITY, "transition.first.steps=60", "transition.whole.steps=2",
        "uncertainty.members=3", "uncertainty.whole.steps=2", *more,
    ]  # fmt: skip
    runs = {}
    for few in (512, 0):
        monkeypatch.setattr(bootstrap, "_FEW", few)
        monkeypatch.setattr(bootstrap, "_FEW_FOR_FORMULAS", few)
        # In double precision: an optimiser makes much of rounding before it has converged.
        runs[few] = hp.fit(problem, tmp_path / str(few), dtype=torch.float64, overrides=settings)
        log = (runs[few].path / "log.txt").read_text()
        assert ("at once: done" in log) is (few > 0)
    x = torch.linspace(0, 2, 5).unsqueeze(-1)
    for name in ("drift", "diffusion"):
        one, other = (getattr(run.ensemble, name)(0.3, x) for run in runs.values())
        for a, b in zip(one, other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)
    assert not torch.equal(one[0], one[1])
    steps = [run.metrics["steps"] for run in runs.values()]
    assert steps[0] == steps[1]


def test_what_cannot_be_evaluated_at_once_is_fitted_one_by_one(tmp_path, caplog):
    problem = hp.SDEProblem(
        name="ou", data=paths(OU, [0.0], n=20), drift=hp.Parametric(Counting()),
        diffusion=hp.Constant(),
    )  # fmt: skip
    settings = [*NO_DENSITY, "transition.first.steps=20", "transition.whole.steps=1",
                "uncertainty.members=2", "uncertainty.whole.steps=1"]  # fmt: skip
    with caplog.at_level(logging.INFO):
        run = hp.fit(problem, tmp_path / "run", overrides=settings)
    assert "not all members at once, since the losses do not allow it" in caplog.text
    assert len(run.ensemble) == 2


def test_bands(tmp_path):
    problem = hp.SDEProblem(name="ou", data=paths(OU, [0.0]), truth=OU)
    run = hp.fit(problem, tmp_path / "run", overrides=[
        *SHORT, "uncertainty.members=3", "uncertainty.whole.steps=3",
    ])  # fmt: skip
    x = torch.linspace(0, 2, 5).unsqueeze(-1)
    for band, value in (
        (run.ensemble.drift, run.sde.drift),
        (run.ensemble.diffusion, run.sde.diffusion),
    ):
        low, high = band(0.0, x)
        assert (low < value(0.0, x)).all() and (value(0.0, x) < high).all()
        wider = band(0.0, x, level=0.99)
        assert (wider[0] < low).all() and (high < wider[1]).all()
    assert (run.ensemble.diffusion(0.0, x, 0.999)[0] > 0).all()
    assert 0 <= run.metrics["drift_coverage"] <= 1
    with pytest.raises(hp.InputError, match="level must lie between 0 and 1"):
        run.ensemble.drift(0.0, x, level=90)


def test_members_choose_their_diffusion_on_resampled_paths(monkeypatch):
    problem = hp.SDEProblem(
        name="x", data=paths(OU, [0.0]), diffusion=(hp.Linear(), hp.Constant()),
        transition=hp.TransitionFit(ridge=(1.0, 0.1)),
    )  # fmt: skip
    fit = problem.begin(Compute(0)).coefficients
    fit.model.chosen.fill_(3)  # the constant, with the second ridge

    def chosen(spread, gain):
        # Of 30 held-out paths, the linear diffusion is better by `gain`, give or take `spread`.
        better = gain + spread * torch.randn(30, generator=torch.Generator().manual_seed(0))
        nll = {id(fit.model.pair(1)): 0 * better, id(fit.model.pair(3)): better}
        monkeypatch.setattr(fit, "_path_nll", lambda pair: nll[id(pair)].double().numpy())
        return fit.chosen_anew(torch.Generator().manual_seed(1), 40)

    assert set(chosen(1.0, 5.0)) == {1}
    assert set(chosen(1.0, -5.0)) == {3}
    unclear = chosen(1.0, 0.2)
    assert set(unclear) == {1, 3}
    assert unclear == chosen(1.0, 0.2)


def test_a_run_without_an_ensemble_says_so(quick_run):
    with pytest.raises(hp.InputError, match=r"uncertainty\.members"):
        _ = quick_run.ensemble


@pytest.mark.parametrize(
    "stop_at", ["drift and diffusion, ridge 0.5", "drift and diffusion, diffusion 2", "member 2"]
)
def test_resumed_equals_uninterrupted(tmp_path, monkeypatch, stop_at):
    problem = hp.SDEProblem(name="ou", data=paths(OU, [0.0], n=60), truth=OU)
    settings = [
        *NO_DENSITY, "transition.first.steps=30",
        "transition.whole.steps=3", "transition.stop.every=10", "uncertainty.members=2",
        "uncertainty.whole.steps=4",
    ]  # fmt: skip
    whole = hp.fit(problem, tmp_path / "whole", overrides=settings)
    advance = running.Running.advance

    def stop(self):
        if self.stage.name.startswith(stop_at) and self.step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return advance(self)

    monkeypatch.setattr(running.Running, "advance", stop)
    with pytest.raises(KeyboardInterrupt):
        hp.fit(problem, tmp_path / "run", overrides=settings)
    monkeypatch.undo()
    run = hp.fit(problem, tmp_path / "run", resume=True)
    for key, value in whole.metrics.items():
        if key != "seconds":
            assert run.metrics[key] == value, key
    x = torch.linspace(0, 2, 5).unsqueeze(-1)
    assert torch.equal(run.ensemble.drift(0.0, x)[0], whole.ensemble.drift(0.0, x)[0])


def test_members_in_processes_of_their_own(tmp_path, monkeypatch):
    problem = hp.SDEProblem(name="ou", data=paths(OU, [0.0], n=120), truth=OU)
    settings = [
        *NO_DENSITY, "transition.first.steps=30", "transition.whole.steps=2",
        "uncertainty.members=3", "uncertainty.whole.steps=3",
    ]  # fmt: skip
    alone = hp.fit(problem, tmp_path / "alone", overrides=settings)
    settings.append("uncertainty.processes=2")
    say = Progress.say

    def interrupt(self, sentence):
        say(self, sentence)
        if sentence.startswith("member 1"):
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Progress, "say", interrupt)
    with pytest.raises(KeyboardInterrupt):
        hp.fit(problem, tmp_path / "run", overrides=settings)
    monkeypatch.undo()
    run = hp.fit(problem, tmp_path / "run", resume=True)
    for key, value in alone.metrics.items():
        if key != "seconds":
            assert run.metrics[key] == value, key
    x = torch.linspace(0, 2, 5).unsqueeze(-1)
    assert torch.equal(run.ensemble.drift(0.0, x)[0], alone.ensemble.drift(0.0, x)[0])
    log = (run.path / "log.txt").read_text()
    for k in (1, 2, 3):
        assert log.count(f"member {k} of 3: done") == 1
    stages = [set(pd.read_csv(r.path / "history.csv")["stage"]) for r in (run, alone)]
    assert stages[0] == stages[1]


def dying(batch, progress):
    os._exit(9)


def test_a_process_that_dies_is_an_error(tmp_path):
    stage = Stage(
        name="dying", module=nn.Linear(1, 1), batches=always(torch.zeros(1)), losses=dying,
        validate=partial(float, 0.0), optimiser=hp.Adam(steps=3),
    )  # fmt: skip
    with pytest.raises(hp.TrainingError, match="a process has died"):
        list(run_elsewhere([stage], 0, 2, lambda: False))


def test_an_estimate_is_not_lost_to_the_end_of_another_interval():
    values = {"drift.wall": torch.tensor(0.0), "drift.wall_low": torch.tensor(0.3)}
    ends = {"drift.wall": (torch.tensor(-1.0), torch.tensor(1.0))}
    learned = SimpleNamespace(parameters=values, ensemble=SimpleNamespace(intervals=lambda: ends))
    figures = parameter_metrics(learned)
    assert figures["drift.wall_low"] == pytest.approx(0.3)
    assert figures["drift.wall_high"] == 1.0


def test_what_cannot_be_sent_to_a_process_is_fitted_here(tmp_path):
    problem = hp.SDEProblem(
        name="ou", data=paths(OU, [0.0], n=400), diffusion=hp.Constant(),
        drift=hp.Known(lambda t, y: 1.5 * (2.0 - y)),
    )  # fmt: skip
    run = hp.fit(problem, tmp_path / "run", overrides=[
        *NO_DENSITY, "transition.first.steps=30", "transition.whole.steps=2",
        "uncertainty.members=2", "uncertainty.whole.steps=3", "uncertainty.processes=2",
    ])  # fmt: skip
    assert len(run.ensemble) == 2
    log = (run.path / "log.txt").read_text()
    assert "one process only" in log and "no lambdas" in log
