"""The benchmark of estimates: its rivals against closed forms, and how results are kept."""

import json
import math
import re

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

import hollowpde as hp
from hollowpde.bench.sde import cells as cells_module
from hollowpde.bench.sde import (
    coverage,
    dimensions,
    exact,
    kramers_moyal,
    nadaraya_watson,
    oracle,
    ours,
    plain_mlp,
)
from hollowpde.bench.sde.cases import CASES, Case, Estimate
from hollowpde.bench.sde.cells import Budget, Cell, Kept, Outcome, fill, measure
from hollowpde.bench.sde.exact import Equation, Steps
from hollowpde.bench.sde.rivals import RIVALS, Rival
from hollowpde.bench.sde.run import run, tables
from hollowpde.bench.timing import Spread
from hollowpde.problem.sde.metrics import errors_against_truth

TINY = Budget(seeds=1, steps=10, paths=40)
COARSE = "ou_process_1"


@pytest.fixture
def coarse(monkeypatch):
    """A case of three observations a path, beside the others."""
    monkeypatch.setitem(CASES, COARSE, Case("ou_process", 1.0))
    return CASES[COARSE]


def pairs(*, dim=1, dt, n=200, low=-1.5, high=1.5):
    x = torch.empty(n, dim, dtype=torch.float64).uniform_(low, high)
    return Steps(x, x + 0.4 * math.sqrt(dt) * torch.randn(n, dim, dtype=torch.float64), dt)


OU = Equation(lambda x: -1.3 * x, lambda x: torch.full_like(x, 0.49))
CIR = Equation(lambda x: 1.5 * (1.2 - x), lambda x: 0.36 * x)
WELL = Equation(lambda x: x - x**3, lambda x: torch.full_like(x, 0.49))


def test_linear_and_lognormal_densities():
    steps = pairs(dt=0.5)
    decay = math.exp(-1.3 * 0.5)
    spread = math.sqrt(0.49 * (1 - decay**2) / 2.6)
    expected = stats.norm.logpdf(steps.x_next, decay * steps.x, spread).squeeze()
    torch.testing.assert_close(exact.linear(OU, steps), torch.tensor(expected))

    steps = pairs(dt=0.5, low=1.0, high=2.0)
    steps = steps._replace(x_next=steps.x_next.abs())
    gbm = Equation(lambda x: 0.3 * x, lambda x: 0.16 * x**2)
    scale = steps.x * math.exp((0.3 - 0.08) * 0.5)
    expected = stats.lognorm.logpdf(steps.x_next, 0.4 * math.sqrt(0.5), scale=scale).squeeze()
    torch.testing.assert_close(exact.lognormal(gbm, steps), torch.tensor(expected))


@pytest.mark.parametrize("dt", [0.05, 0.5])
def test_the_grid_agrees_with_closed_forms(dt):
    steps = pairs(dt=dt)
    apart = (exact.on_grid(OU, steps) - exact.linear(OU, steps)).abs()
    assert apart.mean() < 0.005 and apart.max() < 0.1
    steps = pairs(dt=dt, low=0.8, high=2.0)
    steps = steps._replace(x_next=steps.x_next.clamp(min=0.3))
    apart = (exact.on_grid(CIR, steps) - exact.square_root(CIR, steps)).abs()
    assert apart.mean() < 0.005 and apart.max() < 0.1


def test_moments_are_exact_if_the_equation_is_linear_and_close_to_the_grid_if_the_step_is_short():
    A = torch.tensor([[-1.0, 0.8], [-0.8, -1.2]], dtype=torch.float64)
    D = torch.tensor([0.25, 1.0], dtype=torch.float64)
    turning = Equation(lambda x: x @ A.T, lambda x: D.expand_as(x))
    steps = pairs(dim=2, dt=0.5)
    torch.testing.assert_close(
        exact.moments(turning, steps), exact.linear(turning, steps), rtol=1e-4, atol=1e-4
    )
    steps = pairs(dt=0.05)
    torch.testing.assert_close(
        exact.moments(WELL, steps), exact.on_grid(WELL, steps), rtol=0, atol=0.05
    )
    apart = (exact.euler(WELL, steps) - exact.on_grid(WELL, steps)).abs().max()
    assert apart > 0.1


@pytest.mark.parametrize("dim", [1, 2, 4, 10])
def test_cubature_has_the_moments_of_normals(dim):
    nodes, weights = exact._cubature(dim)
    for power, moment in ((0, 1.0), (1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0)):
        expected = torch.full((dim,), moment, dtype=torch.float64)
        torch.testing.assert_close(weights @ nodes**power, expected, atol=1e-12, rtol=1e-12)
    if 1 < dim <= 4:
        assert float(weights @ (nodes[:, 0] * nodes[:, 1]).square()) == pytest.approx(1.0)


def test_the_oracle_finds_the_maximum():
    task = CASES["ou_process_0.1"].task(0, paths=100)
    rows = task.split.train.double().pairs()
    decay = float((rows.x * rows.x_next).sum() / rows.x.square().sum())
    variance = float((rows.x_next - decay * rows.x).square().mean())
    rate = -math.log(decay) / 0.1
    found = oracle.oracle(task, None)
    x = torch.tensor([[2.0]], dtype=torch.float64)
    assert float(found.drift(None, x)) == pytest.approx(-2 * rate, rel=1e-3)
    squared = variance * 2 * rate / (1 - decay**2)
    assert float(found.diffusion(None, x)) == pytest.approx(squared, rel=1e-3)


@pytest.mark.parametrize("name", ["double_well_0.5", "gbm_0.2", "cir_0.5", "van_der_pol_0.5"])
def test_the_oracle_comes_close_to_the_truth(name):
    task = CASES[name].task(0, paths=200)
    drift, diffusion = task.errors(oracle.oracle(task, None))
    assert drift < 0.25 and diffusion < 0.15
    start = oracle.FORMS[task.case.problem]
    begun = start.equation(torch.tensor(start.start, dtype=torch.float64))
    from_start = Estimate(lambda t, x: begun.drift(x), lambda t, x: begun.diffusion(x))
    assert min(task.errors(from_start)) > 0.25  # it had a way to go


def test_every_case_has_an_oracle_and_the_form_holds_the_truth():
    assert {case.problem for case in CASES.values()} == set(oracle.FORMS)
    true = {
        "ou_process": [1, 0.7],
        "double_well": [1, 1, 0.7],
        "gbm": [0.3, 0.4],
        "cir": [math.log(1.5), 0.0, math.log(0.36)],
        "ou_2d": [-1, 0.8, -0.8, -1.2, 0.5, 1],
        "van_der_pol": [1, 1, 1, 0.3, 0.5],
        "chain_10d": [1, 1, 0.5, math.sqrt(0.2), math.sqrt(0.3)],
    }
    for case in {case.problem: case for case in CASES.values()}.values():
        task = case.task(0, paths=10)
        equation = oracle.FORMS[case.problem].equation(
            torch.tensor(true[case.problem], dtype=torch.float64)
        )
        estimate = Estimate(
            lambda t, x, e=equation: e.drift(x), lambda t, x, e=equation: e.diffusion(x)
        )
        assert max(task.errors(estimate)) < 1e-6, case.name


def test_kernel_means_by_hand():
    points, values = torch.randn(30, 2), torch.randn(30, 2).double()
    at = torch.randn(5, 2)
    kernel = nadaraya_watson._Kernel(points)
    choice = torch.tensor([4, 7])
    found = kernel.chosen(at, values, choice)
    own = kernel.own_means(values, choice)
    for j, k in enumerate(choice.tolist()):
        width = nadaraya_watson._BANDWIDTHS[k]
        weights = stats.norm.pdf(np.linalg.norm(at[:, None] - points[None], axis=2) / width)
        by_hand = weights @ values[:, j].numpy() / weights.sum(1)
        np.testing.assert_allclose(found[:, j], by_hand, rtol=1e-3, atol=1e-4)
        others = torch.arange(30) != 3
        weights = stats.norm.pdf((points[others] - points[3]).norm(dim=1) / width)
        by_hand = weights @ values[others, j].numpy() / weights.sum()
        assert float(own[3, j]) == pytest.approx(by_hand, rel=1e-3, abs=1e-4)


def test_nadaraya_watson_takes_the_drift_out_of_the_diffusion():
    # So few and so fast that the square of the drift is half of the second moment.
    task = CASES["van_der_pol_0.05"].task(0, paths=100)
    drift, diffusion = task.errors(nadaraya_watson.nadaraya_watson(task, None))
    assert drift < 0.5 and diffusion < 0.25


def test_kramers_moyal_on_a_long_path():
    pytest.importorskip("kramersmoyal")
    task = CASES["double_well_0.05"].task(0, paths=100)
    path = kramers_moyal.long_path(task)
    assert path.shape == (4100,)
    assert np.square(path).mean() == pytest.approx(0.76, abs=0.25)  # of exp(-2 V / 0.49)
    estimate = kramers_moyal.kramers_moyal(task, None)
    assert len(estimate.points) == 410
    drift, diffusion = task.errors(estimate)
    assert drift < 0.8 and diffusion < 0.25
    assert not kramers_moyal.applies(CASES["gbm_0.2"])


def test_the_plain_network_begins_at_the_quadratic_variation_and_learns(coarse):
    task = coarse.task(0, paths=100)
    rows = task.split.train.pairs()
    level = float((rows.x_next - rows.x).square().mean())
    none = plain_mlp.plain_mlp(task, 0)
    x = task.split.test.x
    assert not none.drift(None, x).any()
    assert float(none.diffusion(None, x)[0]) == pytest.approx(level, rel=1e-3)
    assert task.errors(plain_mlp.plain_mlp(task, 200))[0] < 0.6


def test_errors_are_those_of_the_metrics(coarse):
    task = coarse.task(3, paths=40)
    fit = ours.fitted(ours.lean(task.problem, 10), task.seed)
    metrics = errors_against_truth(fit.learned, task.truth, fit.split.test)
    expected = (metrics["drift_rel_l2"], metrics["diffusion_rel_l2"])
    assert task.errors(ours._estimate(fit)) == pytest.approx(expected, rel=1e-5)
    assert fit.split.test.fingerprint() == task.split.test.fingerprint()


def test_a_task_is_the_problem_observed_otherwise():
    task = CASES["double_well_0.5"].task(1, paths=30)
    data = task.problem.data
    assert (data.paths, len(data), task.seed) == (30, 150, 1)
    assert torch.equal(data.t[:5], torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0]).double())
    assert [part.paths for part in task.split] == [24, 3, 3]
    again, other = (CASES["double_well_0.5"].task(seed, 30).problem.data for seed in (1, 2))
    assert again.fingerprint() == data.fingerprint() != other.fingerprint()
    assert CASES["ou_process_0.1"].declared().data.paths == 4000


def test_run_writes_keeps_and_goes_on(coarse, tmp_path, capsys):
    run([COARSE], TINY, tmp_path)
    first = capsys.readouterr().out
    rivals = [rival for rival in RIVALS.values() if rival.applies(coarse)]
    assert f"{len(rivals)}/{len(rivals)} " in first and "failed" not in first
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "sde.csv", "sde.html", "sde.json", "sde.jsonl", "sde.md"
    ]  # fmt: skip
    before = (tmp_path / "sde.md").read_text()
    data = json.loads((tmp_path / "sde.json").read_text(), parse_constant=pytest.fail)
    (row,) = data["tables"]["drift"]["rows"]
    for rival in rivals:
        assert 0 < row[rival.name]["median"] < 50, rival.name
    assert row["ours / oracle"]["median"] == pytest.approx(
        row["ours"]["median"] / row["oracle"]["median"]
    )
    assert set(pd.read_csv(tmp_path / "sde.csv")["table"]) == {"drift", "diffusion", "seconds"}
    page = (tmp_path / "sde.html").read_text()
    assert all(f'id="plot-{name}-0"' in page for name in ("drift", "diffusion", "seconds"))

    # As if the last line had been cut short by a power cut.
    file = tmp_path / "sde.jsonl"
    file.write_text(file.read_text()[:-20])
    run([COARSE], TINY, tmp_path)
    second = capsys.readouterr().out
    assert f"{len(rivals) - 1} of {len(rivals)} results are in" in second
    assert "1/1 " in second and len(file.read_text().splitlines()) == len(rivals)
    strip = lambda text: re.sub(r"## Seconds.*", "", text, flags=re.DOTALL)  # noqa: E731
    assert strip((tmp_path / "sde.md").read_text()) == strip(before)


def test_a_damaged_file_is_refused(tmp_path):
    file = tmp_path / "sde.jsonl"
    file.write_text("nonsense\n{}\n")
    with pytest.raises(hp.InputError, match=r"line 1 of .* is no result"):
        Kept(file)


def test_a_rival_that_fails_is_told_and_tried_again(coarse, monkeypatch, tmp_path, capsys):
    def fail(task, steps):
        raise hp.TrainingError("lost")

    def nowhere(task, steps):
        return Estimate(lambda t, x: x / 0, lambda t, x: x)

    monkeypatch.setattr(cells_module, "RIVALS", {"a": Rival("a", fail), "b": Rival("b", nowhere)})
    run([COARSE], TINY, tmp_path)
    shown = capsys.readouterr().out
    assert f"failed: {COARSE}, seed 0, a: TrainingError: lost" in shown
    assert f"failed: {COARSE}, seed 0, b: the estimate is not finite" in shown
    assert not (tmp_path / "sde.jsonl").read_text()
    assert "TrainingError: lost" in (tmp_path / "sde.md").read_text()


def test_tables_hold_medians_and_quartiles_over_seeds():
    def cell(rival, seed):
        return Cell("cir_0.5", seed, rival, None, None, "")

    outcomes = {
        **{cell("ours", k): Outcome(0.1 * (k + 1), 0.3, 5.0) for k in range(5)},
        **{cell("oracle", k): Outcome(0.1, 0.1, 1.0) for k in range(4)},
        cell("oracle", 4): Outcome(failure="lost"),
    }
    drift, diffusion, seconds = tables(outcomes)
    (row,) = drift.rows
    assert row["ours"] == Spread(*(pytest.approx(v) for v in (0.3, 0.2, 0.4)), 5)
    assert row["oracle"].repeats == 4
    assert row["ours / oracle"] == Spread(*(pytest.approx(v) for v in (2.5, 1.75, 3.25)), 4)
    assert row["plain MLP"] is None
    assert diffusion.rows[0]["ours / oracle"].median == pytest.approx(3)
    assert seconds.rows[0]["ours"].median == 5


def test_another_process_gives_the_same():
    cell = Cell("cir_0.5", 1, "Nadaraya-Watson", None, 30, "")
    kept, said = Kept(None), []
    fill(kept, [cell], measure, 2, said.append)
    alone, other = measure(cell), kept.outcomes[cell]
    assert said[0].startswith("1/1 cir_0.5, seed 1, Nadaraya-Watson: drift")
    assert other.drift == pytest.approx(alone.drift, rel=1e-5)
    assert other.diffusion == pytest.approx(alone.diffusion, rel=1e-5)


def test_coverage_is_kept_and_averaged(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(coverage, "TRIED", ("cir_0.5",))
    few = coverage.Budget(seeds=1, steps=2, paths=40, coverage=2)
    run(["coverage"], few, tmp_path)
    assert "2/2 cir_0.5, seed 201, ours: drift" in capsys.readouterr().out
    kept = [json.loads(line) for line in (tmp_path / "coverage.jsonl").read_text().splitlines()]
    data = json.loads((tmp_path / "sde.json").read_text())
    assert list(data["tables"]) == ["coverage"]
    (row,) = data["tables"]["coverage"]["rows"]
    assert row["data sets"] == 2
    for name in ("drift", "diffusion"):
        shares = [line["outcome"][name] for line in kept]
        assert row[f"{name}, mean"] == pytest.approx(sum(shares) / 2)
        assert all(0 <= share <= 1 for share in shares)
    run(["coverage"], few, tmp_path)
    assert "2 of 2 results are in" in capsys.readouterr().out


def test_bands_that_fail_are_not_counted():
    def cell(seed):
        return Cell("cir_0.5", seed, "ours", None, None, "")

    held = {cell(0): coverage.Held(0.8, 0.5, 1.0), cell(1): coverage.Held(failure="lost")}
    (row,) = coverage.table(held).rows
    assert (row["data sets"], row["drift, mean"], row["diffusion, mean"]) == (1, 0.8, 0.5)
    (row,) = coverage.table({cell(1): held[cell(1)]}).rows
    assert row["data sets"] == 0 and row["drift"] is None
    assert coverage.measure(Cell("nowhere", 0, "ours", 1, 10, "")).failure.startswith("KeyError")
    wanted = list(coverage.wanted(coverage.Budget()))
    assert len(wanted) == 40 and {cell.seed for cell in wanted} == set(range(200, 220))


def test_a_step_in_many_dimensions_is_timed(tmp_path, monkeypatch):
    monkeypatch.setattr(dimensions, "_LIKELIHOODS", dimensions._LIKELIHOODS[:1])
    run(["dimensions"], coverage.Budget(paths=50), tmp_path)
    rows = json.loads((tmp_path / "sde.json").read_text())["tables"]["dimensions"]["rows"]
    assert [(row["networks"], row["batch"]) for row in rows] == [("light", 256), ("default", 256)]
    assert all(row["d = 50 / d = 5"]["median"] > 0 for row in rows)
    few, many = (dimensions._begun(CASES["chain_10d_0.05"].declared(), d) for d in (2, 6))
    assert few.coefficients.train.x.shape[1] == 2 and many.coefficients.train.x.shape[1] == 6
