"""The benchmark of PDE problems: its errors, its rivals against brute force, and what it says."""

import contextlib
import json
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

import hollowpde as hp
from hollowpde.bench import BENCHES
from hollowpde.bench.pde import QUICK, deepxde, ours, race, residuals, run
from hollowpde.bench.pde.cases import CASES
from hollowpde.bench.pde.curve import Curve, Stopwatch
from hollowpde.bench.pde.nested import NestedJet
from hollowpde.bench.pde.recipes import RECIPES
from hollowpde.bench.subjects import mlp, points
from hollowpde.cli import app
from hollowpde.errors import InputError
from hollowpde.operators import reference
from hollowpde.problem.base import Compute

TINY = replace(QUICK, repeats=1, seconds=0.0)
needs_deepxde = pytest.mark.skipif(not deepxde.INSTALLED, reason="DeepXDE is not installed")


def test_what_is_measured_takes_no_time(monkeypatch):
    now = {"wall": 100.0, "core": 10.0}
    monkeypatch.setattr("time.perf_counter", lambda: now["wall"])
    monkeypatch.setattr("time.process_time", lambda: now["core"])
    watch = Stopwatch()
    for inside in (False, True, False):
        with watch.paused() if inside else contextlib.nullcontext():
            now["wall"] += 4.0
            now["core"] += 4.0 if inside else 3.0
    assert (watch.seconds, watch.share) == (8.0, 0.75)


def test_errors_are_those_of_a_fit():
    case = CASES["poisson_5d"]
    fit = case.fit()
    field = fit.model.solution.fields["u"]
    error = case.error(lambda t, x: fit.values(field, t, x))
    assert error == pytest.approx(fit.metrics()["rel_l2"])
    assert case.error(case.problem.exact) == 0
    assert case.error(lambda t, x: 0.9 * case.true) == pytest.approx(0.1)


def test_ours_is_the_shipped_problem():
    case = CASES["poisson_5d"]
    assert case.fit().problem.solve == case.problem.solve
    assert case.fit(7).problem.solve.gauss_newton.steps == 7
    curve = ours.solve(case, steps=3)
    assert len(curve.errors) == 4  # before the first step, and after each
    assert curve.seconds == sorted(curve.seconds) and curve.seconds[0] > 0
    # Step by step the same as a fit of its own.
    problem = hp.override(case.problem, ["solve.gauss_newton.steps=3"])
    begun = problem.begin(Compute(dtype=torch.float64))
    assert begun.metrics()["rel_l2"] == pytest.approx(curve.errors[0])


@pytest.mark.parametrize("dim", [1, 3])
def test_nested_autograd_is_brute_force(dim):
    net = mlp(dim + 1, 8, 8, 1).double()
    x, t = points(dim, 5).double(), torch.rand(5, dtype=torch.float64)

    def field(t, x):
        return net(torch.cat([x, t.unsqueeze(-1)], -1)).squeeze(-1)

    jet = NestedJet(net, t, x, keep_graph=False)
    value, slopes, bends = reference.dimwise(field, t, x, order=2)
    weights = torch.rand(5, dim, dtype=torch.float64)
    torch.testing.assert_close(jet.value, value)
    torch.testing.assert_close(jet.gradient, slopes)
    slope = (field(t + 1e-5, x) - field(t - 1e-5, x)) / 2e-5
    torch.testing.assert_close(jet.dt, slope, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(jet.laplacian, bends.sum(-1))
    torch.testing.assert_close(jet.weighted_laplacian(weights), (weights * bends).sum(-1))
    assert NestedJet(net, t, x, keep_graph=True).laplacian.requires_grad


@pytest.mark.parametrize("name", residuals.EQUATIONS)
def test_all_residuals_are_the_same_either_way(name):
    equation = residuals.EQUATIONS[name](3)
    net = mlp(4, 8, 8, 1).double()
    x, t = points(3, 5).double(), torch.rand(5, dtype=torch.float64)
    (nested,) = residuals._nested(equation, net, t, x, True)
    field = hp.nets.KnownFunction(
        lambda t, x: net(torch.cat([x, t.unsqueeze(-1)], -1)).squeeze(-1)
    )
    torch.testing.assert_close(nested, hp.Residual(equation)([field], t, x))
    nested.square().mean().backward()
    # The last bias drops out where the value itself plays no part.
    assert all(p.grad is not None for p in [*net.parameters()][:-1])


def test_tables_of_residuals_by_hand():
    measured = residuals.Measured()
    seconds = {
        "Ridge 2x32": (1, 2, 3), "Ridge 2x64": (2, 2, 2), "Separable": (2, 2, 2),
        "MLP 2x32": (4, 20, 44), "MLP 2x64": (1, 4, 5),
    }  # fmt: skip
    for name in residuals.EQUATIONS:
        for kind in residuals.PASSES:
            for net, times in seconds.items():
                for d, taken in zip(residuals.DIMENSIONS, times, strict=True):
                    measured.times[name, kind, net, d] = [taken, taken]
    found = {r.table.name: r for r in residuals.tables(measured, replace(QUICK, largest=100))}
    assert list(found) == ["residuals", "slopes", "growth", "microseconds"]
    assert [row["Heat"].median for row in found["residuals"].rows[:3]] == [4, 10, 44 / 3]
    assert [row["Heat"].median for row in found["slopes"].rows] == [0.05, 0.05, 0, 0, 0, 0]
    assert [row["Heat"].median for row in found["growth"].rows[::2]] == [1.5, 1, 1, 2.2, 1.25]
    assert found["microseconds"].rows[0]["Heat"] == pytest.approx(1e6 / 1000)


def test_seconds_and_errors_by_hand():
    mine, theirs = Curve([1.0, 3.0], [0.09, 0.0009]), Curve([2.0, 20.0], [0.5, 0.05])
    time, errors, whole = race.tables([race.Race("rod", mine, theirs)])
    assert [list(row.values())[:-1] for row in time.rows] == [
        ["rod", "1e-01", 1.0, 20.0, 20.0],
        ["rod", "1e-02", 3.0, "> 20", "> 6.67"],
        ["rod", "1e-03", 3.0, "> 20", "> 6.67"],
        ["rod", "5.0e-02, best of DeepXDE", 3.0, 20.0, 20 / 3],
        ["rod", "9.0e-04, best of hollowpde", 3.0, "> 20", "> 6.67"],
    ]
    assert [(row["seconds"], row["hollowpde"], row["DeepXDE"]) for row in errors.rows] == [
        ("1", 0.09, None),
        ("2", 0.09, 0.5),
        ("5", 0.0009, 0.5),
        ("10", 0.0009, 0.5),
        ("20", 0.0009, 0.05),
    ]
    assert [list(row.values()) for row in whole.rows] == [
        ["rod", "hollowpde", 0.0009, 3.0, 1.0],
        ["rod", "DeepXDE", 0.05, 20.0, 1.0],
    ]
    documented = race.tables([race.Race("rod", mine, theirs, Curve([5.0], [0.1]))])[0].rows
    assert [row["as documented"] for row in documented[:2]] == [5.0, "> 5"]
    alone, *_ = race.tables([race.Race("rod", Curve([1.0], [0.5]))])
    assert [row["hollowpde"] for row in alone.rows] == ["> 1", "> 1", "> 1", 1.0]
    assert all(row["DeepXDE"] is None for row in alone.rows)


@pytest.mark.parametrize("name", CASES)
def test_the_exact_solution_meets_what_deepxde_is_asked(name):
    """Its equation, by derivatives of the kind that DeepXDE's are, and the form of its output."""
    problem = CASES[name].problem
    t, x = (part[:64].clone() for part in CASES[name].points)
    if name == "burgers":
        keep = (t > 0.05) & (x[:, 0].abs() > 0.2)
        t, x = t[keep], x[keep]
    inputs = deepxde._inputs(problem, t, x).requires_grad_()
    dim = x.shape[-1]
    time = inputs[:, dim] if problem.time else torch.zeros(len(x), dtype=torch.float64)
    value = problem.exact(time, inputs[:, :dim]).unsqueeze(-1)

    def jacobian(y, z, i, j=None):
        (row,) = torch.autograd.grad(y[:, i].sum(), z, create_graph=True)
        return row if j is None else row[:, j : j + 1]

    def hessian(y, z, i, j):
        return jacobian(jacobian(y, z, 0), z, i, j)

    dde = SimpleNamespace(grad=SimpleNamespace(jacobian=jacobian, hessian=hessian))
    jet = deepxde.DeepXDEJet(dde, inputs, value, dim)
    left = problem.residual(jet, t, x)
    assert left.abs().max() < 1e-6 * jet.laplacian.abs().max()
    if RECIPES[name].hard:
        form = deepxde._form(problem, deepxde._box(problem))
        start = inputs.detach().clone()
        if problem.time:
            start[:, dim] = problem.time[0]
            wanted = problem.exact(start[:, dim], start[:, :dim])
        else:
            start[:, 0] = problem.domain.high[0]
            wanted = torch.zeros(len(x), dtype=torch.float64)
        torch.testing.assert_close(form(start, torch.ones(len(x), 1)).squeeze(-1), wanted)


def test_waves_are_periodic():
    problem = CASES["heat_10d"].problem
    waves = deepxde._waves(deepxde._box(problem))
    t, x = (part[:8] for part in CASES["heat_10d"].points)
    moved = x + torch.tensor(problem.domain.high, dtype=torch.float64)
    found, again = (waves(deepxde._inputs(problem, t, y)) for y in (x, moved))
    torch.testing.assert_close(found, again)
    assert found.shape == (8, 21) and found[:, :20].std() > 0.5


def test_quick_run_writes_without_deepxde(tmp_path, monkeypatch):
    monkeypatch.setattr(deepxde, "INSTALLED", False)
    monkeypatch.setattr(race.ours, "solve", lambda case, steps: Curve([0.5], [0.2]))
    done = CliRunner().invoke(
        app, ["bench", "pde", "--quick", "--repeats", "1", "--out", str(tmp_path)]
    )
    assert done.exit_code == 0, done.output
    assert "heat_10d, DeepXDE: not installed" in done.output
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        f"pde.{kind}" for kind in ("csv", "html", "json", "md")
    ]
    data = json.loads((tmp_path / "pde.json").read_text(), parse_constant=pytest.fail)
    assert list(data["tables"]) == [
        "time",
        "errors",
        "whole",
        "residuals",
        "slopes",
        "microseconds",
    ]
    assert {row["problem"] for row in data["tables"]["time"]["rows"]} == set(CASES)
    assert set(pd.read_csv(tmp_path / "pde.csv")["table"]) == set(data["tables"])


def test_parts_are_listed_and_checked(capsys):
    assert "  residuals: what a residual costs" in CliRunner().invoke(app, ["bench"]).output
    with pytest.raises(InputError, match="unknown case 'times': did you mean 'time'"):
        run(["times"], TINY, None)
    assert BENCHES["pde"].budget.steps is None


@needs_deepxde
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES)
def test_deepxde_runs_and_leaves_the_process_as_it_was(name):
    state, dtype = torch.get_rng_state(), torch.get_default_dtype()
    recipe = replace(RECIPES[name], domain=50, boundary=8, initial=8, resample=1)
    curve = deepxde.solve(CASES[name], recipe, cap=60.0, steps=2)
    assert len(curve.errors) >= 2 and all(0 < e < 100 for e in curve.errors)
    assert torch.get_default_dtype() == dtype
    assert torch.equal(torch.get_rng_state(), state)
