"""A whole fit: what it leaves behind, and what can be done with it afterwards."""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torchsde

import hollowpde as hp
from hollowpde.problem import find_problem
from hollowpde.runs import make_report
from hollowpde.training.history import charts_of
from hollowpde.training.run import FILES
from tests.quick import PROBLEMS, QUICK

OU = str(PROBLEMS / "ou_process.py")


def test_the_run_directory_explains_itself(quick_run):
    assert {p.name for p in quick_run.path.iterdir()} | {"verdict.txt"} == set(FILES)
    settings = json.loads((quick_run.path / "settings.json").read_text())
    assert settings["fit"]["seed"] == 1
    assert settings["problem"]["transition"]["optimiser"]["steps"] == 60
    environment = json.loads((quick_run.path / "environment.json").read_text())
    assert environment["torch"] == torch.__version__
    history = pd.read_csv(quick_run.path / "history.csv")
    assert list(history["step"][:5]) == [20, 40, 1, 2, 1]
    assert {"stage", "validation", "transition", "density", "residual"} <= set(history.columns)


def test_metrics_are_flat_and_complete(quick_run):
    metrics = json.loads((quick_run.path / "metrics.json").read_text())
    assert metrics == quick_run.metrics
    assert {
        "drift_rel_l2", "drift_rel_l2_worst", "diffusion_rel_l2", "diffusion_rel_l2_worst",
        "density_nll", "transition_nll", "residual_rel_rms", "marginal_ks_ratio", "steps",
        "seconds",
    } <= set(metrics)  # fmt: skip
    assert all(np.isfinite(v) for v in metrics.values())


def test_loaded_equals_fitted(quick_run):
    run = hp.load(quick_run.path)
    x = torch.linspace(-2, 3, 7).unsqueeze(-1)
    for a, b in ((run.sde.f, quick_run.sde.f), (run.sde.g, quick_run.sde.g)):
        assert torch.equal(a(0.5, x), b(0.5, x))
    assert torch.equal(run.density.log_prob(0.5, x), quick_run.density.log_prob(0.5, x))
    assert run.metrics == quick_run.metrics
    assert "drift_rel_l2" in repr(run)
    with pytest.raises(hp.InputError, match="has no field"):
        _ = run.field


def test_the_fitted_sde_goes_into_torchsde(quick_run):
    y0 = torch.full((16, 1), 2.0)
    ys = torchsde.sdeint(quick_run.sde, y0, torch.linspace(0, 1, 3), dt=0.05)
    assert ys.shape == (3, 16, 1)
    assert torch.isfinite(ys).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_fitted_fields_in_the_users_units(quick_run, dtype):
    """Derivatives and normalisation after the change of units, by independent means."""
    x = torch.linspace(-1, 2.5, 9, dtype=dtype).unsqueeze(-1)
    t = torch.full((9,), 0.7, dtype=dtype)
    for field in (quick_run.sde.drift, quick_run.sde.diffusion, quick_run.density):
        for exact, brute in zip(
            hp.dimwise(field, t, x, order=2), hp.reference.dimwise(field, t, x, order=2),
            strict=True,
        ):  # fmt: skip
            assert exact.dtype == dtype
            assert torch.allclose(exact, brute, rtol=1e-3, atol=1e-4)
    grid = torch.linspace(-6, 8, 4001, dtype=torch.float64).unsqueeze(-1)
    mass = torch.trapezoid(quick_run.density.log_prob(0.7, grid).exp(), grid[:, 0])
    assert mass.item() == pytest.approx(1, abs=1e-4)
    assert (quick_run.sde.g(t, x) > 0).all()
    h = 1e-3
    slope = (quick_run.density.log_prob(t.double() + h, x.double())
             - quick_run.density.log_prob(t.double() - h, x.double())) / (2 * h)  # fmt: skip
    exact = quick_run.density.in_time(t, x, 0)[1][0].double()
    assert torch.allclose(slope, exact, atol=2e-2, rtol=2e-2)


def test_density_takes_any_array(quick_run):
    x = np.linspace(-1, 2, 5)[:, None]
    on_array = quick_run.density.log_prob(0.5, x)
    assert on_array.dtype == torch.float64
    on_tensor = quick_run.density.log_prob(0.5, torch.as_tensor(x))
    assert torch.equal(on_array, on_tensor)
    assert quick_run.density.log_prob(np.full(5, 0.5), x).shape == (5,)
    assert quick_run.density.score(0.5, x).shape == (5, 1)
    assert quick_run.density.sample(0.5, 11).shape == (11, 1)
    assert quick_run.density.sample(torch.tensor([0.1, 0.9]), 11).shape == (11, 2, 1)


def test_samples_follow_the_density(quick_run):
    generator = torch.Generator().manual_seed(0)
    x = quick_run.density.sample(0.5, 20_000, generator).double()
    grid = torch.linspace(-6, 8, 4001, dtype=torch.float64).unsqueeze(-1)
    p = quick_run.density.log_prob(0.5, grid).exp()
    mean = torch.trapezoid(p * grid[:, 0], grid[:, 0])
    assert x.mean().item() == pytest.approx(mean.item(), abs=5 * x.std().item() / 140)


def test_same_seed_same_result(quick_run, tmp_path):
    problem, source = find_problem(OU)
    again = hp.fit(problem, tmp_path / "again", overrides=QUICK, seed=1, source=source)
    other = hp.fit(problem, tmp_path / "other", overrides=QUICK, seed=2, source=source)
    drop = {"seconds"}
    assert {k: v for k, v in again.metrics.items() if k not in drop} == {
        k: v for k, v in quick_run.metrics.items() if k not in drop
    }
    assert other.metrics["transition_nll"] != again.metrics["transition_nll"]


@pytest.mark.parametrize(
    "stop_at", ["density of 1 component", "density with Fokker-Planck residual"]
)
def test_interrupted_and_resumed_equals_uninterrupted(quick_run, tmp_path, monkeypatch, stop_at):
    problem, source = find_problem(OU)
    from hollowpde.training import running

    advance = running.Running.advance

    def stop(self):
        if self.stage.name == stop_at and self.step == 25:
            os.kill(os.getpid(), signal.SIGINT)
        return advance(self)

    monkeypatch.setattr(running.Running, "advance", stop)
    with pytest.raises(KeyboardInterrupt):
        hp.fit(problem, tmp_path / "run", overrides=QUICK, seed=1, source=source)
    monkeypatch.undo()
    assert not (tmp_path / "run" / "metrics.json").exists()
    run = hp.fit(problem, tmp_path / "run", resume=True)
    for key, value in quick_run.metrics.items():
        if key != "seconds":
            assert run.metrics[key] == value, key


def test_resume_refuses_other_settings(quick_run):
    problem, _ = find_problem(OU)
    with pytest.raises(hp.InputError, match="are not those of the run"):
        hp.fit(problem, quick_run.path, overrides=["transition.batch=17"], resume=True)
    with pytest.raises(hp.InputError, match="seed is 7"):
        hp.fit(problem, quick_run.path, seed=7, resume=True)


def test_code_is_run_only_if_trusted(quick_run, tmp_path):
    run = shutil.copytree(quick_run.path, tmp_path / "run")
    hp.load(run)  # the same code, wherever it lies
    with (run / "problem.py").open("a") as file:
        file.write("\nprint('boo')\n")
    with pytest.raises(hp.InputError, match="no fit of yours has run"):
        hp.load(run)
    hp.load(run, trust=True)
    (run / "problem.py").unlink()
    with pytest.raises(hp.InputError, match="pass it, as in"):
        hp.load(run)
    problem, _ = find_problem(OU)
    hp.load(run, problem=hp.override(problem, QUICK))


def test_what_lies_beside_a_run_is_not_run(quick_run, tmp_path):
    """A trusted file is the only code: a module put beside it is not imported."""
    problem, _ = find_problem(OU)
    source = tmp_path / "some.py"
    source.write_text(Path(OU).read_text() + "\nimport beside_the_run\n")
    (tmp_path / "beside_the_run.py").write_text("")
    problem = hp.load_problems(source)["ou_process"]
    run = hp.fit(problem, tmp_path / "run", overrides=QUICK, source=source)
    (run.path / "beside_the_run.py").write_text("raise RuntimeError('run')")
    sys.modules.pop("beside_the_run", None)
    with pytest.raises(hp.InputError, match="No module named 'beside_the_run'"):
        hp.load(run.path)
    assert hp.load(run.path, problem=hp.override(problem, QUICK)).metrics == run.metrics


def test_resume_refuses_other_data_and_another_file(quick_run, tmp_path):
    run = shutil.copytree(quick_run.path, tmp_path / "run")
    source = tmp_path / "ou_process.py"
    source.write_text(Path(OU).read_text().replace("return -y", "return -5 * y"))
    changed = hp.load_problems(source)["ou_process"]
    for problem, file in ((changed, None), (find_problem(OU)[0], source)):
        with pytest.raises(hp.InputError, match="are not those of the run"):
            hp.fit(problem, run, resume=True, source=file)


def test_resume_before_the_first_step(quick_run, tmp_path, monkeypatch):
    problem, source = find_problem(OU)
    from hollowpde.training import running

    def fail(self):
        raise RuntimeError("power cut")

    monkeypatch.setattr(running.Running, "advance", fail)
    with pytest.raises(RuntimeError, match="power cut"):
        hp.fit(problem, tmp_path / "run", overrides=QUICK, seed=1, source=source)
    monkeypatch.undo()
    run = hp.fit(problem, tmp_path / "run", resume=True)
    assert run.metrics["transition_nll"] == quick_run.metrics["transition_nll"]


def test_a_checkpoint_is_data_only(quick_run, tmp_path):
    run = shutil.copytree(quick_run.path, tmp_path / "run")

    class Attack:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "owned"),))

    torch.save({"model": Attack()}, run / "checkpoint.pt")
    with pytest.raises(hp.InputError, match="not a readable checkpoint"):
        hp.load(run)
    assert not (tmp_path / "owned").exists()


def test_the_report_can_be_made_anew(quick_run, tmp_path):
    run = shutil.copytree(quick_run.path, tmp_path / "run")
    before = (run / "report.html").read_text()
    (run / "report.html").unlink()
    make_report(run)
    assert (run / "report.html").read_text() == before


def test_a_failed_write_leaves_the_old_file(quick_run, tmp_path, monkeypatch):
    from hollowpde.training.run import RunDirectory

    run = RunDirectory(shutil.copytree(quick_run.path, tmp_path / "run"))
    before = (run / "checkpoint.pt").read_bytes()

    def half(state, file):
        file.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="disk full"):
        run.write_checkpoint({})
    assert (run / "checkpoint.pt").read_bytes() == before
    assert {p.name for p in run.path.iterdir()} | {"verdict.txt"} == set(FILES)


def test_a_problem_in_two_dimensions(tmp_path):
    """Declared in Python, without truth, its drift free to depend on time, the joint stage on."""

    class Spiral(torchsde.SDEIto):
        def f(self, t, y):
            return torch.stack([-y[:, 0] + y[:, 1], -y[:, 0] - y[:, 1]], -1)

        def g(self, t, y):
            return 0.5 * torch.ones_like(y)

    data = hp.simulate(Spiral("diagonal"), torch.tensor([2.0, -1.0]), torch.linspace(0, 1, 6), 60)
    problem = hp.SDEProblem(name="spiral", data=data, autonomous=False)
    quick = [q for q in QUICK if not q.startswith("data")]
    run = hp.fit(problem, tmp_path / "run", overrides=[*quick, "joint.optimiser.steps=20"])
    assert "drift_rel_l2" not in run.metrics
    assert run.sde.f(0.0, torch.zeros(3, 2)).shape == (3, 2)
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Fokker-Planck residual" in page
    x = torch.randn(5, 2)
    assert not torch.equal(run.sde.f(0.0, x), run.sde.f(1.0, x))


def test_a_solver_keeps_its_colour():
    """Whatever else is in a chart, and whoever comes first."""
    rows = [
        {"stage": "a", "step": k, "seconds": float(k), "held out nfe": 1.0 + k,
         "held out nfe: one": 2.0, "held out nfe: two": 3.0, "held out error: two": 1.0,
         "held out error: one": 2.0, "validation": 1.0}
        for k in range(3)
    ]  # fmt: skip
    nfe, error = (
        {line.name: line.role for line in chart.marks}
        for chart in charts_of(rows)
        if chart.title in ("nfe against time", "error against time")
    )
    assert len(set(nfe.values())) == 3 and error == {name: nfe[name] for name in ("two", "one")}
