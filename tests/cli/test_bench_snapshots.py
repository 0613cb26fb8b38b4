"""The benchmark of snapshots: its rivals against the truth, its verdicts, and what it writes."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from typer.testing import CliRunner

import hollowpde as hp
from hollowpde.bench import BENCHES
from hollowpde.bench.sde.cases import Case, Estimate
from hollowpde.bench.sde.cells import Cell, Kept, Outcome, Store, fill
from hollowpde.bench.snapshots import kernels, oracle, verdicts
from hollowpde.bench.snapshots.cases import CASES, TRIED
from hollowpde.bench.snapshots.ours import lean
from hollowpde.bench.snapshots.rivals import RIVALS
from hollowpde.bench.snapshots.run import QUICK, cells, measure, run, tables
from hollowpde.bench.snapshots.verdicts import Budget, Said
from hollowpde.cli import app

TRUE = {
    "ou_process": [-1, 0.49],
    "double_well": [1, -1, 0.49],
    "cir": [1.5, -1.5, 0.36],
    "ou_2d": [-1, 0.8, -0.8, -1.2, 0.25, 1],
    "van_der_pol": [1, 1, -1, -1, 0.09, 0.25],
    "double_well_2d": [1, -1, -0.5, -0.5, -1, 0.49, 0.36],
}


def test_a_task_is_the_problem_seen_in_snapshots():
    task = CASES["cir"].task(3, paths=30)
    data = task.problem.data
    assert not data.paired and len(data) == 15 * 30 and task.seed == 3
    assert data.t.unique().numpy() == pytest.approx(np.linspace(0, 2, 15))
    assert [len(part) for part in task.split] == [360, 45, 45]
    again, other = (CASES["cir"].task(seed, 30).problem.data for seed in (3, 4))
    assert again.fingerprint() == data.fingerprint() != other.fingerprint()
    for name, last in (("double_well_unpaired", 3), ("ou_2d_unpaired", 2), ("double_well_2d", 3)):
        declared = CASES[name].declared()
        assert declared.name == name and declared.data.paths == 5000
        assert float(declared.data.times[-1]) == pytest.approx(last)
    assert CASES["ou_2d_unpaired"].declared().drift == hp.Linear()
    assert isinstance(TRIED["ou_2d"].declared().drift, hp.Hollow)
    few = TRIED["ou_2d, 400 samples"]
    assert few.declared().data.paths == 400
    assert len(few.task(0, 50).problem.data) == 15 * 50


def test_every_case_has_an_oracle_and_the_form_holds_the_truth():
    assert {case.problem for case in CASES.values()} == set(oracle.FORMS) == set(TRUE)
    for case in CASES.values():
        form, true = oracle.FORMS[case.problem], TRUE[case.problem]

        def field(k, x, form=form, true=true):
            return torch.as_tensor(form(true, x.double().numpy())[k])

        estimate = Estimate(lambda t, x, f=field: f(0, x), lambda t, x, f=field: f(1, x))
        assert max(case.task(0, paths=10).errors(estimate)) < 1e-6, case.name


def exact_ou(n, times, generator):
    """Samples of the Ornstein-Uhlenbeck process of the case, from its solution."""
    means = 2 * np.exp(-times)
    variances = 0.16 * np.exp(-2 * times) + 0.245 * (1 - np.exp(-2 * times))
    return [
        m + np.sqrt(v) * generator.normal(size=(n, 1))
        for m, v in zip(means, variances, strict=True)
    ]


def test_the_oracle_recovers_the_truth_from_much_data():
    times = np.linspace(0, 2, 15)
    samples = exact_ou(40_000, times, np.random.default_rng(0))
    found = oracle.coefficients(oracle.FORMS["ou_process"], times, samples, 0)
    assert found == pytest.approx([-1, 0.49], rel=0.01)


def test_the_oracle_takes_the_noise_of_the_equations_into_account():
    times = np.linspace(0, 2, 15)
    generator = np.random.default_rng(1)
    found = [
        oracle.coefficients(oracle.FORMS["ou_process"], times, exact_ou(200, times, generator), k)
        for k in range(40)
    ]
    mean, error = np.mean(found, axis=0), np.std(found, axis=0) / np.sqrt(len(found))
    # With one covariance of all samples D comes out more than a tenth too small.
    assert mean == pytest.approx([-1, 0.49], rel=0.05)
    assert np.all(np.abs(mean - [-1, 0.49]) < 4 * error)


def test_what_terms_make_of_functions_is_their_change_along_a_small_step():
    x = np.random.default_rng(0).normal(size=(200, 2))
    form = oracle.FORMS["double_well_2d"]
    functions = oracle._Functions(x, np.random.default_rng(1))
    values = functions(form, x)
    step, size = 1e-4, len(form.drift)
    at = lambda moved: functions(form, moved)[:, 0]  # noqa: E731
    assert np.cov(values[:, 0].T) == pytest.approx(np.eye(values.shape[2]), abs=1e-6)
    for k, (i, h) in enumerate([*form.drift, *form.diffusion]):
        move = np.zeros_like(x)
        move[:, i] = step * (h(x) if k < size else 1.0)
        if k < size:
            by_hand = (at(x + move) - at(x - move)) / (2 * step)
        else:
            by_hand = (at(x + move) + at(x - move) - 2 * at(x)) / (2 * step**2)
            by_hand *= h(x)[:, None]
        assert np.abs(values[:, 1 + k] - by_hand).max() < 1e-3 * np.abs(by_hand).max()


def test_equations_of_the_oracle_know_their_noise():
    """The covariance and the bias, against many draws of the same equations."""
    times, c = np.linspace(0, 2, 6), np.array([-1.0, 0.49])
    form, generator = oracle.FORMS["ou_process"], np.random.default_rng(0)
    functions = oracle._Functions(
        np.concatenate(exact_ou(200, times, generator)), np.random.default_rng(1)
    )
    drawn = [
        oracle._Equations(form, functions, times, exact_ou(200, times, generator))
        for _ in range(300)
    ]
    left = np.array([one.y - one.A @ c for one in drawn])
    expected = np.mean([one.covariance(c).diagonal() for one in drawn], axis=0)
    assert left.var(0) == pytest.approx(expected, rel=0.5)
    inverse = np.diag(1 / expected)
    bias = np.mean([one.bias(inverse) for one in drawn], axis=0)
    A, y = (np.array([getattr(one, name) for one in drawn]) for name in ("A", "y"))
    noise_of_A, noise_of_y = A - A.mean(0), y - y.mean(0)
    by_hand = np.einsum("nra,r,nr->a", noise_of_A, inverse.diagonal(), noise_of_y) / len(drawn)
    of_both = np.einsum("nra,r,nrb->ab", noise_of_A, inverse.diagonal(), noise_of_A) / len(drawn)
    assert bias[:, 1:].diagonal() == pytest.approx(of_both.diagonal(), rel=0.1)
    scale = np.sqrt(of_both.diagonal() * len(left.T))
    assert np.abs(bias[:, 0] - by_hand).max() < 0.1 * scale.max()


@pytest.mark.parametrize("dim", [1, 2])
def test_kernel_densities_and_their_derivatives(dim):
    generator = np.random.default_rng(0)
    samples, held_out = generator.normal(size=(300, dim)), generator.normal(size=(100, dim))
    density = kernels.Density.chosen(samples, held_out, order=dim)
    assert np.all(density.width > samples.std(0) * 300 ** (-1 / (dim + 4)) * 0.5)
    x = generator.normal(size=(7, dim))
    by_hand = np.mean(stats.norm.pdf((x[:, None] - samples) / density.width).prod(2), 1)
    p, first, second = density.derivatives(x)
    assert density(x) == pytest.approx(p)
    assert p == pytest.approx(by_hand / density.width.prod())
    for i in range(dim):
        step = np.zeros(dim)
        step[i] = 1e-4
        above, below = density(x + step), density(x - step)
        assert first[:, i] == pytest.approx((above - below) / 2e-4, abs=1e-5)
        assert second[:, i] == pytest.approx((above - 2 * p + below) / 1e-8, abs=1e-5)
    if dim == 1:
        slope = (density.below(x + 1e-4) - density.below(x - 1e-4)) / 2e-4
        assert slope == pytest.approx(p, abs=1e-5)


@pytest.mark.parametrize("name", ["ou_process", "double_well_2d"])
def test_kernels_give_fields_of_the_right_shape(name):
    task = CASES[name].task(0, paths=100)
    estimate = kernels.kernels(task, None)
    test = task.split.test
    for field in estimate[:2]:
        assert field(test.t, test.x).shape == test.x.shape
    assert all(np.isfinite(task.errors(estimate)))


def test_kernels_find_a_relaxation():
    task = CASES["ou_process"].task(100)
    drift, diffusion = task.errors(kernels.kernels(task, None))
    assert drift < 0.15 and diffusion < 0.35


def test_rivals_apply_and_have_settings():
    flux = RIVALS["ours, flux form"]
    assert [name for name, case in CASES.items() if flux.applies(case)] == [
        "double_well_unpaired", "ou_process", "cir"
    ]  # fmt: skip
    declared = CASES["cir"].declared()
    assert len({rival.settings(declared) for rival in RIVALS.values()}) == 4  # "" of two
    wanted = list(cells(CASES, Budget(seeds=2)))
    assert len(wanted) == 2 * (6 * 4 + 3) == len(set(wanted))
    tried = list(verdicts.cells(Budget(seeds=5)))
    assert len(tried) == 100 and {cell.seed for cell in tried} == set(range(10))


def test_the_density_is_fitted_where_it_is_needed():
    problem = CASES["cir"].declared()
    assert lean(problem, None).density.components == (1,)
    assert lean(problem, None).matching == problem.matching
    by_flux = hp.override(problem, ["density.refine.steps=7"])
    by_flux = lean(hp.SDEProblem(name="x", data=by_flux.data, matching=hp.FluxForm()), 3)
    assert by_flux.density.components == problem.density.components
    assert (by_flux.density.optimiser.steps, by_flux.density.refine.steps) == (3, 0)
    assert by_flux.matching.optimiser.steps == 3


def test_quick_run_writes_and_goes_on(tmp_path):
    arguments = ["bench", "snapshots", "--quick", "--only", "ou_process", "--out", str(tmp_path)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "5/5 " in done.output and "failed" not in done.output
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        f"snapshots.{kind}" for kind in ("csv", "html", "json", "jsonl", "md")
    ]
    data = json.loads((tmp_path / "snapshots.json").read_text(), parse_constant=pytest.fail)
    (row,) = data["tables"]["drift"]["rows"]
    assert all(0 < row[name]["median"] < 5 for name in RIVALS)
    assert row["ours / oracle"]["median"] == pytest.approx(
        row["ours"]["median"] / row["oracle"]["median"]
    )
    assert set(pd.read_csv(tmp_path / "snapshots.csv")["table"]) == {
        "drift", "diffusion", "seconds"
    }  # fmt: skip
    again = CliRunner().invoke(app, arguments)
    assert "5 of 5 results are in" in again.output


def test_verdicts_are_counted_and_kept(tmp_path, monkeypatch, capsys):
    few = {name: TRIED[name] for name in ("stationary_ou", "ou_process")}
    monkeypatch.setattr(verdicts, "TRIED", few)
    run(["verdicts"], QUICK, tmp_path)
    assert "2/2 ou_process, seed 0, ours: " in capsys.readouterr().out
    assert len((tmp_path / "verdicts.jsonl").read_text().splitlines()) == 2
    data = json.loads((tmp_path / "snapshots.json").read_text())
    assert list(data["tables"]) == ["verdicts"]
    stationary, relaxing = data["tables"]["verdicts"]["rows"]
    assert stationary["refused"] == stationary["fits"] == 1
    assert relaxing["refused"] == relaxing["rotation"] == 0
    run(["verdicts"], QUICK, tmp_path)
    assert "2 of 2 results are in" in capsys.readouterr().out


def test_what_is_said_is_told_apart():
    def cell(seed):
        return Cell("cir", seed, "ours", None, None, "")

    said = {
        cell(0): Said(rotation=True, scale=True),
        cell(1): Said(misfit=True),
        cell(2): Said(),
        cell(3): Said(failure="lost"),
    }
    (row,) = verdicts.table(said).rows
    assert row == {
        "case": "cir", "fits": 3, "refused": 0, "rotation": 1, "scale of D": 1, "misfit": 1,
        "other": 0, "silent": 1,
    }  # fmt: skip
    assert str(said[cell(0)]) == "rotation, scale, 0.0 s" and said[cell(2)].silent


def test_failures_leave_gaps():
    lost = Cell("cir", 0, "kernels", None, None, "")
    drift, *_ = tables({lost: Outcome(failure="lost")})
    assert drift.rows[0]["kernels"] is None
    assert verdicts.measure(Cell("nowhere", 0, "ours", 1, 10, "")).failure.startswith("KeyError")


def test_another_process_gives_the_same():
    cell = Cell("cir", 1, "oracle", None, 60, "")
    kept, said = Kept(None), []
    fill(kept, [cell], measure, 2, said.append)
    alone = measure(cell)
    assert kept.outcomes[cell].drift == pytest.approx(alone.drift, rel=1e-4)
    assert isinstance(Store(None, Said).outcomes, dict)


def test_it_is_registered_and_names_are_checked():
    bench = BENCHES["snapshots"]
    assert set(bench.parts) == {*CASES, "verdicts"}
    error = CliRunner().invoke(app, ["bench", "snapshots", "--only", "cri"]).exception
    assert isinstance(error, hp.InputError)
    assert "unknown case 'cri': did you mean 'cir'" in str(error)
    assert all(isinstance(case, Case) for case in CASES.values())
