"""The benchmark of flows: what is compared is alike, its tables, and what it writes."""

import json
import math

import pytest
import torch
from typer.testing import CliRunner

from hollowpde.bench import BENCHES
from hollowpde.bench.cnf import times
from hollowpde.bench.cnf.budget import QUICK
from hollowpde.bench.cnf.cases import CASES, Task
from hollowpde.bench.cnf.contest import SHARES, Curve, cells, evaluate, measure, train
from hollowpde.bench.cnf.rivals import EXACT, MATCHED, PROBE, RIVALS, ZUKO, ZUKO_PROBE, Runner
from hollowpde.bench.cnf.run import tables
from hollowpde.bench.sde.cells import Cell
from hollowpde.cli import app


def cell(rival, seed=0, case="moons"):
    return Cell(case, seed, rival, None, None, "")


def test_a_task_is_the_problem_in_standardised_units():
    task = CASES["eight_gaussians"].task(3)
    assert task.train.shape == (40_000, 2) and task.test.shape == (5000, 2)
    assert task.train.mean(0).abs().max() < 1e-5
    assert task.train.std(0) == pytest.approx(torch.ones(2))
    again, other = (CASES["eight_gaussians"].task(seed) for seed in (3, 4))
    assert torch.equal(again.test, task.test) and not torch.equal(other.test, task.test)
    # Of either coordinate: that of a circle of radius 2.8, and the width.
    variance = 2.8**2 / 2 + 0.35**2
    assert task.log_scale == pytest.approx(math.log(variance), abs=0.02)


def test_traces_begin_at_the_same_weights_and_are_evaluated_alike():
    torch.manual_seed(0)
    task = Task(torch.randn(100, 2), torch.randn(50, 2), 0.5)
    found = {}
    for name in (EXACT, PROBE):
        torch.manual_seed(1)
        found[name] = evaluate(RIVALS[name].make(task, CASES["moons"]), task)
    assert found[EXACT] == found[PROBE]
    nll, nfe = found[EXACT]
    assert nfe > 10 and 1 < nll < 6


def test_zuko_is_evaluated_exactly():
    pytest.importorskip("zuko")
    task = Task(torch.randn(100, 2), torch.randn(50, 2), 0.0)
    runner = RIVALS[ZUKO_PROBE].make(task, CASES["moons"])
    first, again = evaluate(runner, task), evaluate(runner, task)
    assert first == again and first[1] > 10
    assert not runner.transform.exact
    # In training it is one probe, which is not the same twice.
    a, b = (runner.loss(task.test, 0.0).item() for _ in range(2))
    assert a != b
    exact = RIVALS[ZUKO].make(task, CASES["moons"])
    assert exact.loss(task.test, 0.0).item() == exact.loss(task.test, 0.0).item()


def test_matching_comes_first():
    task = Task(torch.randn(100, 2), torch.randn(50, 2), 0.0)
    runner = RIVALS[MATCHED].make(task, CASES["moons"])
    runner.training.nfe = 0
    runner.loss(task.train, 0.4)
    assert runner.training.nfe == 0
    runner.loss(task.train, 0.6)
    assert runner.training.nfe == 24


class Slope(Runner):
    """log p = a x, which a wants to be large in."""

    def __init__(self):
        self.module = torch.nn.Linear(1, 1, bias=False)

    def loss(self, x, progress):
        return -self.module(x).mean()

    def log_prob(self, x):
        return self.module(x)[:, 0], 7.0


def test_training_looks_on_the_way():
    task = Task(torch.ones(100, 1), torch.ones(6000, 1), 2.0)
    curve = train(Slope(), task, 0.3)
    assert len(curve.nll) == len(curve.seconds) == len(SHARES)
    assert list(curve.seconds) == sorted(curve.seconds)
    assert all(s >= share * 0.3 for s, share in zip(curve.seconds, SHARES, strict=True))
    assert curve.nll[-1] < curve.nll[0] and curve.nfe[-1] == 7
    # Steps that are longer than the time between looks.
    assert len(train(Slope(), task, 1e-9).nll) == 1


def test_a_failure_does_not_end_the_benchmark(monkeypatch):
    monkeypatch.setattr(Runner, "log_prob", lambda self, x: 1 / 0)
    monkeypatch.setitem(RIVALS, EXACT, type(RIVALS[EXACT])(EXACT, lambda task, case: 1 / 0))
    (wanted,) = [c for c in cells([CASES["moons"]], QUICK) if c.rival == EXACT]
    assert "ZeroDivisionError" in measure(wanted).failure


def test_tables():
    looks = len(SHARES)

    def curve(nll, nfe, steps):
        return Curve([0.0] * looks, [steps] * looks, [9.0] * (looks - 1) + [nll], [nfe] * looks)

    outcomes = {
        cell(EXACT, 0): curve(1.2, 30, 100),
        cell(EXACT, 1): curve(1.4, 40, 100),
        cell(PROBE, 0): curve(1.3, 50, 60),
        cell(PROBE, 1): curve(1.8, 60, 60),
        cell(ZUKO, 0): Curve(failure="no"),
        cell(EXACT, case="digits"): Curve([0.0], [5], [150.0], [30.0]),
    }
    results = {result.table.name: result for result in tables(outcomes, 40.0)}
    moons, digits = results["nll"].rows
    assert moons[EXACT].median == pytest.approx(1.3 - 1.0076)
    assert moons["gain"].median == pytest.approx(0.25)  # of 0.1 and 0.4
    assert moons[ZUKO] is None and digits[EXACT].median == 150 and digits["gain"] is None
    assert results["nfe"].rows[0][PROBE].median == 55
    assert results["steps"].rows[0][PROBE].median == 60
    assert [row["seconds"] for row in results["curves"].rows[:2]] == [4.0, 8.0]
    assert results["curves"].rows[0][EXACT].median == pytest.approx(9 - 1.0076)
    assert {row["steps"] for row in results["by_step"].rows if row["density"] == "moons"} == {
        100, 60
    }  # fmt: skip


def test_times():
    (training, forward) = times.traces(QUICK)
    assert training["pass"] == "training step" and forward["pass"] == "log_prob"
    assert all(row["one probe"].median > 0 for row in (training, forward))
    pytest.importorskip("zuko")
    rows = list(times.zuko(QUICK))
    assert [row["d"] for row in rows] == [2] * 6 and rows[0]["our evaluations"] > 10
    assert [row["memory"] for row in rows[::2]] == ["fresh", "kept", "ample"]


def test_the_command(tmp_path):
    arguments = ["bench", "cnf", "--quick", "--seconds", "0.1", "--only", "moons"]
    result = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    saved = json.loads((tmp_path / "cnf.json").read_text())
    assert set(saved["tables"]) == {"nll", "nfe", "steps", "curves", "by_step"}
    page = (tmp_path / "cnf.html").read_text()
    assert "Held-out NLL against time" in page and (tmp_path / "cnf.md").exists()
    again = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path)])
    assert "results are in" in again.output
    assert "traces" in BENCHES["cnf"].parts and "checkerboard" in BENCHES["cnf"].parts
    result = CliRunner().invoke(app, ["bench", "cnf", "--only", "moon"])
    assert "did you mean 'moons'" in str(result.exception or result.output)
