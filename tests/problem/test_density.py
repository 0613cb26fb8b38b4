"""Density problems: units, figures, stages, resuming, pages."""

import dataclasses
import math
import os
import re
import signal

import numpy as np
import pandas as pd
import pytest
import torch

import hollowpde as hp
from hollowpde.data.samples import load
from hollowpde.problem import Compute
from hollowpde.problem.density import stiffness
from hollowpde.problem.density.fit import Drawn
from hollowpde.problem.density.stiffness import spectral_radius
from hollowpde.testing import redrawn
from hollowpde.testing.common import agree
from hollowpde.training import running

DOUBLE = torch.float64
SMALL = hp.Hollow(hp.MaskedMLP(hidden=(8,), features=4), hp.SharedMLP(hidden=(8,)))
STEPS = hp.Adam(steps=20, lr=1e-2)
QUICK = {
    "velocity": SMALL,
    "matching": hp.FlowMatching(batch=64, optimiser=STEPS, stop=hp.EarlyStop(every=10)),
    "likelihood": hp.Likelihood(
        solver=hp.RK4(2), batch=64, optimiser=STEPS, stop=hp.EarlyStop(every=10)
    ),
    "evaluation": hp.Evaluation(solver=hp.RK4(4)),
}
MEAN = torch.tensor([1e3, -0.01], dtype=DOUBLE)
SCALE = torch.tensor([100.0, 0.001], dtype=DOUBLE)


def gaussian(n, generator):
    """Correlated, in units that are far apart."""
    z = torch.randn(n, 2, generator=generator, dtype=DOUBLE)
    z = torch.stack([z[:, 0], 0.6 * z[:, 0] + 0.8 * z[:, 1]], -1)
    return MEAN + SCALE * z


ENTROPY = 1 + math.log(2 * math.pi) + math.log(0.8) + float(SCALE.log().sum())


def problem(**changes):
    given = {"name": "gaussian", "data": hp.Samples(gaussian, 1000), "entropy": ENTROPY, **QUICK}
    return hp.DensityProblem(**given | changes)


def begun(**changes):
    fit = problem(**changes).begin(Compute(dtype=DOUBLE))
    fit.model.flow.load_state_dict(redrawn(fit.model.flow).state_dict())
    return fit


def test_units_are_undone_exactly():
    fit = begun(evaluation=hp.Evaluation(solver=hp.Dopri5(1e-9, 1e-9)))
    flow, units, density = fit.model.flow, fit.model.standardisation, fit.learned.density
    x = fit.split.test.x[:5]
    z = (x - units.shift) / units.scale
    agree("log_prob", density.log_prob(x), flow.log_prob(z) - units.scale.log().sum())
    agree("on the way", density.log_prob(0.3, x), flow.log_prob(0.3, z) - units.scale.log().sum())
    agree("score", density.score(x) * units.scale, flow.score(z))
    y = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(density.log_prob(y).sum(), y)
    agree("score, as a gradient", density.score(x) * units.scale, expected * units.scale, 1e-6)
    assert torch.equal(density.log_prob(x.numpy()), density.log_prob(x))
    draws = density.sample((2, 3), generator=torch.Generator().manual_seed(0))
    again = flow.sample((2, 3), generator=torch.Generator().manual_seed(0))
    agree("samples", (draws - units.shift) / units.scale, again)
    assert density.sample(0.5, 4).shape == (4, 2) and density.sample().shape == (2,)
    # It is normalised in the user's units.
    axes = [
        torch.linspace(-8, 8, 91, dtype=DOUBLE) * s + m
        for s, m in zip(units.scale, units.shift, strict=True)
    ]
    cell = math.prod(float(a[1] - a[0]) for a in axes)
    coarse = density.using(solver=hp.RK4(8))
    with torch.no_grad():
        total = coarse.log_prob(torch.cartesian_prod(*axes)).exp().sum() * cell
    assert total.item() == pytest.approx(1, abs=1e-3)


def test_figures():
    fit = begun()
    metrics = fit.metrics()
    value = fit.learned.density.log_prob(fit.split.test.x)
    assert metrics["nll"] == pytest.approx(-value.mean().item(), rel=1e-9)
    assert metrics["nll_gap"] == pytest.approx(metrics["nll"] - ENTROPY)
    assert metrics["nfe"] == 16
    assert "nll_gap" not in begun(entropy=None).metrics()
    losses = fit.likelihood_losses(Drawn(fit.test, 0), 0.0)
    exact = fit.model.flow.using(solver=hp.RK4(2)).log_prob(fit.test)
    assert losses["NLL"].item() == pytest.approx((fit.log_scale - exact.mean()).item(), rel=1e-9)


def test_trained_with_one_trace_and_evaluated_with_another():
    setting = dataclasses.replace(
        QUICK["likelihood"],
        trace=hp.HutchinsonTrace(),
        penalties=(hp.KineticEnergy(0.5), hp.JacobianNorm(0.1)),
    )
    fit = begun(likelihood=setting)
    # As many samples as average out the noise, all at one place.
    batch = Drawn(fit.test[:1].expand(4000, 2), 7)
    losses = fit.likelihood_losses(batch, 0.0)
    assert set(losses) == {"NLL", "KineticEnergy", "JacobianNorm"}
    exact = fit.likelihood_losses(batch, 0.0)["NLL"]
    assert torch.equal(losses["NLL"], exact)  # by the seed of the batch
    other = fit.likelihood_losses(batch._replace(seed=8), 0.0)["NLL"]
    assert other != exact
    flow = fit.model.flow.using(solver=hp.RK4(2))
    wanted = fit.log_scale - flow.log_prob(fit.test[:1]).item()
    assert losses["NLL"].item() == pytest.approx(wanted, abs=0.1)
    _, (kinetic,) = flow.with_penalties(1.0, fit.test[:1], (hp.KineticEnergy(),))
    assert losses["KineticEnergy"].item() == pytest.approx(0.5 * kinetic.item())
    # What is quoted and what weights are chosen by is exact.
    assert fit.metrics() == pytest.approx(fit.metrics())
    assert fit._validate() == pytest.approx(
        -fit.learned.density.log_prob(fit.split.validation.x).mean().item(), rel=1e-9
    )


def test_flow_matching_goes_from_the_base_to_the_data():
    fit = begun()
    batch = Drawn(fit.train[:50], 3)
    generator = torch.Generator().manual_seed(3)
    x0 = torch.randn(50, 2, generator=generator, dtype=DOUBLE)
    t = torch.rand(50, generator=generator, dtype=DOUBLE)
    x = torch.lerp(x0, batch.x, t.unsqueeze(-1))
    expected = (fit.model.flow.velocity(t, x) - (batch.x - x0)).square().mean()
    agree("loss", fit.matching_losses(batch, 0.0)["velocity"], expected)


def test_a_gaussian_is_found(tmp_path):
    run = hp.fit(
        problem(
            data=hp.Samples(gaussian, 4000),
            matching=hp.FlowMatching(batch=256, optimiser=hp.Adam(steps=300, lr=1e-2)),
            likelihood=hp.Likelihood(
                solver=hp.RK4(3), batch=256, optimiser=hp.Adam(steps=60, lr=5e-3)
            ),
        ),
        tmp_path / "run",
    )
    error = run.metrics["nll_error"]
    assert abs(run.metrics["nll_gap"]) < 0.03 + 3 * error
    draws = run.density.sample(4000, generator=torch.Generator().manual_seed(0)).double()
    z = (draws - MEAN) / SCALE
    assert z.mean(0).abs().max() < 0.1
    assert z.T.corrcoef()[0, 1].item() == pytest.approx(0.6, abs=0.06)


def test_resumed_equals_uninterrupted(tmp_path, monkeypatch):
    given = problem(
        likelihood=dataclasses.replace(QUICK["likelihood"], trace=hp.HutchinsonTrace())
    )
    whole = hp.fit(given, tmp_path / "whole")
    advance = running.Running.advance

    def stop(self):
        if self.stage.name == "likelihood" and self.step == 7:
            os.kill(os.getpid(), signal.SIGINT)
        return advance(self)

    monkeypatch.setattr(running.Running, "advance", stop)
    with pytest.raises(KeyboardInterrupt):
        hp.fit(given, tmp_path / "run")
    monkeypatch.undo()
    run = hp.fit(given, tmp_path / "run", resume=True)
    for key, value in whole.metrics.items():
        if key != "seconds":
            assert run.metrics[key] == value, key
    loaded = hp.load(tmp_path / "run", problem=given)
    x = given.data.load().x[:5].float()
    assert torch.equal(loaded.density.log_prob(x), whole.density.log_prob(x))


@pytest.mark.parametrize("dim", [1, 2, 4])
def test_panels(dim, tmp_path):
    x = torch.randn(200, dim, generator=torch.Generator().manual_seed(0))
    image = (2, 2) if dim == 4 else None
    run = hp.fit(problem(data=x, entropy=None, image=image), tmp_path / "run")
    page = (run.path / "report.html").read_text()
    assert "Exact and stochastic" in page and "NLL against time" in page
    assert ("Density along the flow" in page) == (dim < 3)
    assert ("as images" in page) == (dim == 4)
    assert "nll_gap" not in run.metrics
    assert all(math.isfinite(value) for value in run.metrics.values())


def test_a_stage_without_steps_is_left_out():
    none = hp.Adam(steps=0)
    fit = begun(matching=hp.FlowMatching(optimiser=none))
    assert [stage.name for stage in fit.stages()] == ["likelihood"]
    fit = begun(likelihood=hp.Likelihood(optimiser=none))
    assert [stage.name for stage in fit.stages()] == ["flow matching"]


def test_a_flow_that_cannot_be_solved_is_not_chosen(caplog):
    fit = begun(evaluation=hp.Evaluation(solver=hp.Dopri5(max_steps=1)))
    assert fit._validate() == math.inf
    assert "held-out samples: " in caplog.text and "more than 1 steps" in caplog.text


def test_a_flow_that_does_not_come_back_is_said():
    fit = begun(evaluation=hp.Evaluation(solver=hp.RK4(20)))
    assert fit.metrics()["round_trip"] < 1e-4 and fit.sentences() == []
    rough = begun(evaluation=hp.Evaluation(solver=hp.RK4(1)))
    with torch.no_grad():
        for weights in rough.model.flow.velocity.parameters():
            weights.mul_(3)
    x = rough.test
    back = rough.model.flow.push_forward(1.0, rough.model.flow.pull_back(1.0, x).x)
    worst = (back - x).norm(dim=-1).max().item() / math.sqrt(2)
    assert rough.metrics()["round_trip"] == pytest.approx(worst) and worst > 0.01
    (sentence,) = rough.sentences()
    assert f"end up to {worst:.2g} standard deviations away" in sentence


def test_repeated_values_are_said():
    x = torch.randn(500, 2)
    assert begun(data=x).sentences() == []
    x[:, 1] = x[:, 1].round()
    (sentence,) = begun(data=x).sentences()
    assert "many values of x2 are repeated" in sentence


def test_data_of_all_kinds():
    x = np.arange(20.0).reshape(10, 2)
    for data in (
        x, torch.as_tensor(x), pd.DataFrame(x), hp.Samples(lambda n, g: torch.as_tensor(x), 10),
        hp.Trajectories(torch.zeros(10), x, torch.arange(10)),
    ):  # fmt: skip
        agree("data", load(data).x.double(), torch.as_tensor(x))
    frame = pd.DataFrame({"a": [1, 2, 3], "b": [0.5, 0.25, 0.125]})
    assert load(frame).names == ["a", "b"]
    counts = load(np.arange(6).reshape(3, 2))
    assert counts.x.dtype == torch.float32
    seen = []
    lazy = problem(data=hp.Samples(lambda n, g: seen.append(n) or gaussian(n, g)))
    assert lazy.summary()["data"] == "50000 samples" and not seen


BAD = {
    "data must be values (n, d)": {"data": 3},
    "velocity must be": {"velocity": 3},
    "entropy must be finite": {"entropy": math.nan},
    "name must be": {"name": "a b"},
}


@pytest.mark.parametrize("message", BAD)
def test_errors_at_the_door(message):
    with pytest.raises(hp.InputError, match=re.escape(message)):
        problem(**BAD[message])


BAD_DATA = {
    "data must have shape (n, d)": torch.zeros(5),
    "the columns a do not": pd.DataFrame({"a": ["x"] * 5}),
    "these are of several times": hp.Trajectories.from_dense(
        torch.arange(2.0), torch.randn(9, 2, 1)
    ),
    "the coordinate 'x2' is constant": torch.stack([torch.arange(9.0), torch.ones(9)], -1),
    "must return 7 rows": hp.Samples(lambda n, g: torch.zeros(3, 2), 7),
    "must be finite": torch.full((9, 2), torch.nan),
}


@pytest.mark.parametrize("message", BAD_DATA)
def test_errors_of_data(message):
    with pytest.raises(hp.InputError, match=re.escape(message)):
        problem(data=BAD_DATA[message]).begin(Compute())


def test_other_errors():
    with pytest.raises(hp.InputError, match="image must have 2 pixels"):
        problem(image=(3, 3)).begin(Compute())
    with pytest.raises(hp.InputError, match="batch must be at least 1"):
        hp.Likelihood(batch=0)
    with pytest.raises(hp.InputError, match="samples must be at least 1"):
        hp.Samples(gaussian, 0)
    with pytest.raises(hp.InputError, match="draw must be called"):
        hp.Samples(3)


def test_a_flow_is_a_density_of_an_sde_problem(tmp_path):
    """Flow time is physical time: fitted by likelihood and the Fokker-Planck residual."""

    def flow(dim, components):
        base = hp.GaussianMixture(dim, components)
        return hp.CNF(
            SMALL.build(dim), base=base, interval=(-1.0, 1.0), solver=hp.RK4(2)
        )  # fmt: skip

    times = torch.linspace(0, 1, 4)
    noise = torch.randn(80, 4, 2, generator=torch.Generator().manual_seed(0))
    data = hp.Trajectories.from_dense(times, 0.3 * noise.cumsum(1) + 5 * times[:, None])
    few = hp.Adam(steps=4)
    given = hp.SDEProblem(
        name="moving",
        data=data,
        transition=hp.TransitionFit(first=few, optimiser=few, whole=hp.LBFGS(steps=1)),
        density=hp.DensityFit(
            components=(1,),
            family=flow,
            batch=128,
            optimiser=hp.Adam(steps=120, lr=2e-2, warmup=5, averaging=0.9),
            refine=few,
        ),
    )
    run = hp.fit(given, tmp_path / "run")
    assert any("velocity is one of many" in sentence for sentence in run.verdict)
    # A shift of 5 in unit time, by the flow; it has hardly been trained.
    means = run.density.sample(torch.tensor([0.0, 1.0]), 500).mean(0)
    assert means[1, 0] - means[0, 0] > 3
    x = data.x[:3].double()
    rate = run.density.in_time(torch.tensor(0.4).expand(3), x, 0)[1][0]
    h = 1e-3
    later, before = (run.density.log_prob(0.4 + s * h, x) for s in (1, -1))
    agree("d/dt", rate, (later - before) / (2 * h), 5e-2)


def test_solvers_are_compared_on_the_same_weights_as_training_goes_on(tmp_path):
    solvers = {
        "explicit": hp.Dopri5(1e-4, 1e-4),
        "implicit": hp.JacobiNewtonBDF(),
        "hopeless": hp.Dopri5(1e-4, 1e-4, max_steps=1),
    }
    given = problem(stiffness=hp.Stiffness(solvers, explicit="explicit", samples=8))
    run = hp.fit(given, out=tmp_path / "run", seed=0)
    history = pd.read_csv(run.path / "history.csv")
    for name in ("explicit", "implicit"):
        assert (history[f"held out evaluations: {name}"] > 5).all()
        assert (history[f"held out error of log p: {name}"] < 1e-2).all()
    assert history["held out evaluations: hopeless"].isna().all()
    h = 6 / history["held out evaluations: explicit"]
    np.testing.assert_allclose(history["held out h rho"], history["held out spectral radius"] * h)
    page = (run.path / "report.html").read_text()
    assert "evaluations against time" in page and "error of log p against time" in page


def test_a_reference_that_cannot_be_solved_does_not_end_a_fit(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(stiffness, "_REFERENCE", hp.Dopri5(1e-9, 1e-9, max_steps=1))
    given = problem(stiffness=hp.Stiffness({"explicit": hp.Dopri5()}, samples=4))
    run = hp.fit(given, out=tmp_path / "run", seed=0)
    assert "solvers are not compared: sample" in (run.path / "log.txt").read_text() + caplog.text
    assert "evaluations: explicit" not in (run.path / "history.csv").read_text()


def test_the_spectral_radius_is_that_of_the_velocity():
    class Spiral(torch.nn.Module):
        dim = 2

        def forward(self, t, x):
            return x @ torch.tensor([[-3.0, 4.0], [-4.0, -3.0]], dtype=x.dtype)

    flow = hp.CNF(Spiral(), base=hp.StandardNormal(2).double())
    x = torch.randn(3, 2, dtype=DOUBLE)
    with pytest.warns(UserWarning, match="brute force"):
        radius = spectral_radius(flow, x)
    assert radius == pytest.approx(5.0)


def test_a_comparison_of_solvers_is_refused_clearly():
    with pytest.raises(hp.InputError, match="samples must be at least 1"):
        hp.Stiffness(samples=0)
    with pytest.raises(hp.InputError, match="explicit must be one of the solvers, a, but"):
        hp.Stiffness({"a": hp.Dopri5()}, explicit="b")
