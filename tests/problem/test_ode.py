"""Equations that are solved by several methods, and equations that are learned from paths."""

import dataclasses
import math
import os
import re
import signal

import numpy as np
import pytest
import torch

import hollowpde as hp
from hollowpde.operators.field import Field
from hollowpde.problem import Adam, Compute, EarlyStop, find_problem
from hollowpde.problem.ode.contest import Outcome, distance
from hollowpde.problem.ode.solve_panels import lost
from hollowpde.problem.ode.stretch import Solver, Stretch
from hollowpde.runs import make_report
from hollowpde.solvers.invariants import conserves
from hollowpde.solvers.system import System
from hollowpde.training import running
from tests.quick import PROBLEMS

DOUBLE = torch.float64
K = torch.tensor([1.0, 1000.0], dtype=DOUBLE)


def f(t, y):
    return -K * (y - torch.cos(t)[:, None])


def diagonal(t, y):
    return -K.expand_as(y)


def exact(t, y0=2.0):
    """Of f, in closed form: `(T, 1, d)`."""
    forced = (K**2 * torch.cos(t)[:, None] + K * torch.sin(t)[:, None]) / (K**2 + 1)
    return (forced + (y0 - K**2 / (K**2 + 1)) * torch.exp(-K * t[:, None]))[:, None]


def declared(**changes):
    settings = {
        "name": "decay", "f": f, "diagonal": diagonal, "y0": torch.full((2,), 2.0, dtype=DOUBLE),
        "t_span": (0.0, 3.0), "reference": exact, "max_steps": 300,
        "solvers": {
            "ours": hp.JacobiNewtonBDF(), "explicit": hp.RungeKutta(), "peer": hp.SciPy("LSODA"),
        },
    }  # fmt: skip
    return hp.ODEProblem(**settings | changes)


@pytest.fixture(scope="module")
def solved(tmp_path_factory, own_state_folder):
    return hp.fit(declared(), tmp_path_factory.mktemp("runs") / "decay")


def test_each_solver_is_measured(solved):
    metrics = solved.metrics
    assert metrics["rel_error"] == metrics["ours_error"] < 30e-5
    assert metrics["peer_error"] < 30e-5
    for name in ("ours", "explicit", "peer"):
        assert metrics[f"{name}_n_f"] > 0 and metrics[f"{name}_seconds"] > 0
    assert metrics["ours_n_diag"] > 0 == metrics["peer_n_diag"]
    outcome = solved.learned.outcomes["ours"]
    times = torch.linspace(0, 3, 9, dtype=DOUBLE)[1:]
    assert torch.equal(solved.learned.t, times)
    gap = ((outcome.y - exact(times)) / (exact(times).abs() + 1e-3)).square().mean((0, 2)).sqrt()
    assert outcome.error == pytest.approx(float(gap))


def test_a_solver_that_fails_is_a_row_of_the_table(solved):
    assert "explicit_error" not in solved.metrics
    assert solved.metrics["explicit_n_steps"] <= 300
    page = (solved.path / "report.html").read_text()
    assert "300 steps did not suffice" in page
    refused = declared(diagonal=None).begin(Compute(dtype=DOUBLE))
    refused.stages()
    why = refused.model.outcomes["ours"].why
    assert "needs the diagonal" in why
    assert "rel_error" not in refused.metrics() or refused.metrics()["rel_error"] < 1e-3
    assert any("needs the diagonal" in sentence for sentence in refused.sentences())
    assert refused.panels()


def test_what_was_solved_is_kept(solved):
    again = hp.load(solved.path, problem=declared())
    first, second = solved.learned.outcomes["ours"], again.learned.outcomes["ours"]
    assert torch.equal(first.y, second.y) and first.n_f == second.n_f
    assert np.array_equal(first.trace.h, second.trace.h)
    never = declared(f=lambda t, y: 1 / 0 * y if t[0] > 0 else f(t, y))
    assert make_report(solved.path, problem=never).is_file()  # without solving anything
    with pytest.raises(hp.InputError, match="has no field"):
        _ = again.field


def test_where_ours_loses_is_said():
    def outcome(name, error, n_f, seconds, why=""):
        return Outcome(name, torch.zeros(1), n_f, 0, 0, 1, 0, seconds, error, why, None)

    ours = outcome("ours", 1e-5, 100, 1.0)
    quick, rough = outcome("quick", 2e-5, 200, 0.5), outcome("rough", 1e-3, 10, 0.1)
    assert lost([ours, quick, rough]) == "ours loses in time to quick (2 x)."
    assert lost([ours, rough]) == "Nothing as accurate takes less than ours."
    assert "failed" in lost([outcome("ours", math.nan, 1, 1.0, "why"), quick])


def test_distances():
    y = torch.tensor([[[1.1, 2.0]], [[1.0, 2.0]]], dtype=DOUBLE)
    truth = torch.tensor([[[1.0, 2.0]], [[1.0, 2.0]]], dtype=DOUBLE)
    assert distance(y, truth, 0.0) == pytest.approx(0.1 / 2)
    assert distance(y, truth, 1.0) == pytest.approx(0.05 / 2)


@pytest.mark.parametrize(
    "method",
    [hp.JacobiNewtonBDF(), hp.ESDIRK43(), hp.AdamsMoulton(), hp.RungeKutta(), hp.SciPy("BDF")],
    ids=lambda m: type(m).__name__,
)
def test_a_trace_holds_every_step(method):
    y0 = torch.tensor([[2.0, 2.0], [0.0, 1.0]], dtype=DOUBLE)
    with torch.no_grad():
        found = hp.solve_ivp(
            f, (0.0, 0.1), y0, method=method, diagonal=diagonal, record=True, rtol=1e-4
        )
        plain = hp.solve_ivp(f, (0.0, 0.1), y0, method=method, diagonal=diagonal, rtol=1e-4)
    assert plain.trace is None and torch.equal(plain.y, found.y)
    for k in (0, 1):
        steps = found.trace.of(k)
        done = steps.accepted
        assert done.sum() == found.stats.steps[k]
        assert steps.h[done].sum() == pytest.approx(0.1)
        assert np.allclose(steps.t[done][1:], (steps.t + steps.h)[done][:-1])
        assert np.array_equal(steps.y[0], y0[k].numpy())
    jacobi = isinstance(method, hp.JacobiNewtonBDF | hp.ESDIRK43 | hp.AdamsMoulton)
    assert np.isfinite(found.trace.rate).any() == jacobi
    if jacobi:
        assert found.trace.iterations.sum() == found.stats.evaluations.sum()


def test_scipys_codes_are_refused_where_they_cannot_serve():
    y0 = torch.ones(1, 2, dtype=DOUBLE)
    with pytest.raises(hp.InputError, match="gives no gradients"):
        hp.solve_ivp(f, (0.0, 1.0), y0.clone().requires_grad_(), method=hp.SciPy())
    with pytest.raises(hp.InputError, match=r"unknown code 'Radu'.*Radau"):
        hp.SciPy("Radu")
    with pytest.raises(hp.SolverError, match="3 steps did not suffice"):
        hp.solve_ivp(f, (0.0, 1.0), y0, method=hp.SciPy(), max_steps=3)


NAMES = [
    (file, name)
    for file in ("stiff_classics", "stiff_relaxation")
    for name in hp.load_problems(PROBLEMS / f"{file}.py")
    if name != "d1000"
]


@pytest.mark.parametrize(("file", "name"), NAMES, ids=[name for _, name in NAMES])
def test_the_diagonals_of_shipped_systems(file, name):
    problem = find_problem(f"{PROBLEMS / file}.py:{name}")[0]
    generator = torch.Generator().manual_seed(0)
    y = problem.y0 + 0.1 * torch.rand(3, problem.y0.shape[1], generator=generator, dtype=DOUBLE)
    t = torch.rand(3, generator=generator, dtype=DOUBLE)
    expected = hp.reference.dimwise(problem.f, t, y, order=1)[1]
    torch.testing.assert_close(problem.diagonal(t, y), expected)


def test_the_files_of_stiff_problems():
    assert list(hp.load_problems(PROBLEMS / "stiff_classics.py")) == [
        "van_der_pol_1000", "rober", "hires", "orego", "pollution", "fitzhugh_nagumo",
        "brusselator",
    ]  # fmt: skip
    assert list(hp.load_problems(PROBLEMS / "stiff_relaxation.py")) == ["d10", "d100", "d1000"]
    problem = find_problem(str(PROBLEMS / "learn_stiff.py"))[0]
    data = dataclasses.replace(problem.data, paths=5).load()
    exact = dataclasses.replace(problem.data, paths=5, noise=0.0).load()
    assert data.dim == 6 and data.paths == 5
    # Each path has times of its own.
    assert len(data.t.unique()) > 20
    first = data.t[data.path == 0]
    assert len(first) == 7 and bool((first.diff() > 0).all()) and float(first[0]) == 0.0
    # What is observed is a solution, with noise.
    assert (data.x - exact.x).std().item() == pytest.approx(0.01, rel=0.2)
    one, clean = data.select(data.path == 2), exact.select(exact.path == 2)
    found = hp.solve_ivp(
        problem.truth, (0.0, float(one.t[-1])), clean.x[:1], method=hp.SciPy(),
        t_eval=one.t.tolist(), rtol=1e-8,
    )  # fmt: skip
    assert (found.y[:, 0] - clean.x).abs().max() < 1e-4


class Decay(Field):
    """-k x + t, with a parameter."""

    def __init__(self):
        super().__init__()
        self.log_k = torch.nn.Parameter(torch.tensor([0.0, 6.0], dtype=DOUBLE))

    def dimwise(self, t, x, order):
        k = self.log_k.exp()
        return (t.unsqueeze(-1) - k * x, -k.expand_as(x))[: order + 1]


@pytest.mark.parametrize("method", [hp.ESDIRK43(), hp.JacobiNewtonBDF(), hp.RungeKutta()])
def test_stretches_have_times_of_their_own(method):
    field, solver = Decay(), Solver(method, 1e-7, 1e-9, 10_000)
    t = torch.tensor([0.0, 0.5, 2.0], dtype=DOUBLE)
    length = torch.tensor([1e-3, 0.1, 0.5], dtype=DOUBLE)
    x = torch.tensor([[1.0, 2.0], [0.3, -1.0], [0.0, 1.0]], dtype=DOUBLE)
    (found,), solution = solver.solve(field, t, x, length)

    def closed(log_k):
        k = log_k.exp()
        u, v, h = t.unsqueeze(-1), (t + length).unsqueeze(-1), length.unsqueeze(-1)
        return (v / k - 1 / k**2) + (x - u / k + 1 / k**2) * torch.exp(-k * h)

    torch.testing.assert_close(found, closed(field.log_k), rtol=1e-5, atol=1e-7)
    assert solution.stats.n_handed_over == 0  # what is carried along is no conserved sum
    (gradient,) = torch.autograd.grad(found.square().sum(), field.log_k)
    (expected,) = torch.autograd.grad(closed(field.log_k).square().sum(), field.log_k)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)


def test_a_sum_is_conserved_beside_what_is_carried_along():
    def exchange(t, y):
        a, b, c = y.unbind(-1)
        return torch.stack([b * c - a, a - b * c, 0 * c], -1)

    y = torch.ones(1, 3, dtype=DOUBLE)
    assert conserves(System(exchange, dtype=DOUBLE), torch.zeros(1, dtype=DOUBLE), y)
    carried = torch.ones(1, 4, dtype=DOUBLE)
    assert not conserves(
        System(Stretch(Decay()), dtype=DOUBLE), torch.zeros(1, dtype=DOUBLE), carried
    )
    assert not conserves(System(lambda t, y: 0 * y, dtype=DOUBLE), torch.zeros(1, dtype=DOUBLE), y)


def paths(n=30, noise=0.01, seed=0):
    """Of f, each at times of its own."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for number in range(n):
        t = torch.cat([torch.zeros(1), 10 ** (-4 * torch.rand(15, generator=generator))])
        t = t.sort().values.double()
        y0 = 2 * torch.randn(2, generator=generator, dtype=DOUBLE)
        y = exact(t, y0)[:, 0] + noise * torch.randn(16, 2, generator=generator)
        rows.append((t, y, torch.full((16,), number)))
    return hp.Trajectories(*(torch.cat(column) for column in zip(*rows, strict=True)))


SMALL = hp.Hollow(hp.MaskedMLP(hidden=(8,), features=4), hp.SharedMLP(hidden=(8,)))
QUICK = {
    "name": "learned", "data": paths(), "truth": f, "field": SMALL, "rtol": 1e-4, "atol": 1e-4,
    "matching": hp.Matching(
        batch=128, optimiser=Adam(steps=300, lr=2e-2), stop=EarlyStop(every=150)
    ),
    "shooting": hp.Shooting(
        lengths=(1, 2), batch=32, optimiser=Adam(steps=4, lr=1e-3, averaging=0.5),
        stop=EarlyStop(every=2),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def learned(tmp_path_factory, own_state_folder):
    return hp.fit(hp.ODEProblem(**QUICK), tmp_path_factory.mktemp("runs") / "learned")


def test_a_stiff_field_is_learned(learned):
    assert learned.metrics["rel_error"] < 0.06
    assert learned.metrics["rel_error_data"] < 0.07
    # The error is that of the field itself, solved by another code.
    split = QUICK["data"].split((0.8, 0.1, 0.1), 0).test
    gaps, sizes = [], []
    for number in split.path.unique():
        one = split.select(split.path == number)
        span = (0.0, float(one.t[-1]))
        with torch.no_grad():
            found = hp.solve_ivp(
                learned.field, span, one.x[:1], method=hp.SciPy("BDF"), t_eval=one.t, rtol=1e-6
            )
        truth = exact(one.t, one.x[0])[:, 0]
        gaps.append(found.y[:, 0] - truth)
        sizes.append(truth)
    error = torch.cat(gaps).square().mean(0) / torch.cat(sizes).square().mean(0)
    assert learned.metrics["rel_error"] == pytest.approx(float(error.mean().sqrt()), rel=0.05)
    # Its diagonal knows the fast rate.
    slope = hp.dimwise(learned.field, split.t, split.x, order=1)[1].median(0).values
    assert slope[1].item() == pytest.approx(-1000, rel=0.3)
    page = (learned.path / "report.html").read_text()
    for title in ("x1 on held-out paths", "Error over time", "Rates", "evaluations against time"):
        assert title in page


def test_the_rates_to_start_from():
    model = hp.ODEProblem(**QUICK).begin(Compute(dtype=DOUBLE)).model
    rate = model.relaxing.log_rate.exp() / model.standardisation.t_scale
    assert 0.3 < rate[0] < 5 and 300 < rate[1] < 3000


def test_matching_is_exact_for_what_relaxes_to_lines(tmp_path):
    k = torch.tensor([0.5, 300.0], dtype=DOUBLE)

    def line(t, y):
        return -k * (y - 1 - t[:, None])

    t = torch.tensor([0.0, 0.01, 0.1, 0.9], dtype=DOUBLE)
    x0 = torch.randn(12, 1, 2, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    forced = (1 + t[:, None]) - 1 / k
    x = forced + (x0 - forced[0]) * torch.exp(-k * t[:, None])
    problem = hp.ODEProblem(
        name="line", data=hp.Trajectories.from_dense(t, x), known=line, field=SMALL
    )
    fit = problem.begin(Compute(dtype=DOUBLE))
    with torch.no_grad():
        fit.model.relaxing.log_rate.fill_(-math.inf)  # only what is known is left
    rows = fit._batches(1, 64)(torch.Generator().manual_seed(0), 0.0)
    assert fit.matching_losses(rows, 0.0)["squared error"] < 1e-20
    with torch.no_grad():
        assert fit.metrics()["rel_error"] < 1e-2
        shot = fit.losses(3, fit._batches(3, 8)(torch.Generator(), 0.0), 0.0)
    assert shot["squared error"] < 1e-4
    # Curves between observations, by both fields.
    both = dataclasses.replace(problem, truth=line, name="both").begin(Compute(dtype=DOUBLE))
    with torch.no_grad():
        both.model.relaxing.log_rate.fill_(-math.inf)
        since, fitted, true = both.curves([1e-3, 0.3, 1.0], 2)
    first = both.split.test.x.reshape(-1, 4, 2)[: since.shape[1], 0]
    s = since.unsqueeze(-1)
    closed = 1 + s - 1 / k + (first - forced[0]) * torch.exp(-k * s)
    assert (fitted - closed).abs().max() < 2e-2 and (true - closed).abs().max() < 1e-5
    # A field is given as it is.
    given = dataclasses.replace(problem, known=Decay(), name="field").begin(Compute(dtype=DOUBLE))
    y = torch.randn(3, 2, dtype=DOUBLE)
    with torch.no_grad():
        given.model.relaxing.log_rate.fill_(-math.inf)
        torch.testing.assert_close(given.learned.field(0.3, y), Decay()(0.3, y))


def test_resumed_equals_uninterrupted(learned, tmp_path, monkeypatch):
    problem = hp.ODEProblem(**QUICK)
    advance = running.Running.advance

    def stop(self):
        if self.stage.name == "shooting, 1 interval" and self.step == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return advance(self)

    monkeypatch.setattr(running.Running, "advance", stop)
    with pytest.raises(KeyboardInterrupt):
        hp.fit(problem, tmp_path / "run")
    monkeypatch.undo()
    run = hp.fit(problem, tmp_path / "run", resume=True)
    for key, value in learned.metrics.items():
        if key != "seconds":
            assert run.metrics[key] == value, key
    loaded = hp.load(tmp_path / "run", problem=problem)
    t, x = QUICK["data"].t, QUICK["data"].x
    assert torch.equal(loaded.field(t, x), learned.field(t, x))


def test_a_method_that_cannot_go_on_says_so():
    problem = hp.ODEProblem(**QUICK)
    shooting = dataclasses.replace(problem.shooting, method=hp.RungeKutta(), max_steps=3)
    fit = dataclasses.replace(problem, shooting=shooting).begin(Compute(dtype=DOUBLE))
    rows = fit._batches(1, 64)(torch.Generator().manual_seed(0), 0.0)
    with pytest.raises(hp.TrainingError, match=r"no stretch .* RungeKutta\(\).*3 steps"):
        fit.losses(1, rows, 0.0)


BAD = {
    "give either f with y0 and t_span": {"f": None},
    "y0 must be a tensor (d,) or (B, d), but is (1, 1, 2)": {"y0": torch.zeros(1, 1, 2)},
    "y0 must be finite": {"y0": torch.full((2,), math.nan)},
    "t_span must be two different times": {"t_span": (1.0, 1.0)},
    "rtol must lie in (0, 1)": {"rtol": 0.0},
    "solvers must hold at least one": {"solvers": {}},
    "solvers: 'a' must be hp.JacobiNewtonBDF() or the like": {"solvers": {"a": 3}},
    "diagonal must be called as diagonal(t, y)": {"diagonal": 3},
}
BAD_DATA = {
    "data must be hp.Table(...)": {"data": 3},
    "field must be hp.Hollow(...)": {"field": 3},
    "truth must be called": {"truth": 3},
}


@pytest.mark.parametrize("message", [*BAD, *BAD_DATA])
def test_errors_at_the_door(message):
    with pytest.raises(hp.InputError, match=re.escape(message)):
        if message in BAD:
            declared(**BAD[message])
        else:
            hp.ODEProblem(**QUICK | BAD_DATA[message])


def test_errors_of_references_data_and_settings():
    with pytest.raises(hp.InputError, match=r"reference must give values \(8, 1, 2\)"):
        declared(reference=torch.zeros(3)).begin(Compute(dtype=DOUBLE)).stages()
    with pytest.raises(hp.InputError, match="must return"):
        declared(f=lambda t, y: y[:, :1]).begin(Compute(dtype=DOUBLE))
    single = hp.Trajectories(torch.arange(3.0), torch.randn(3, 1), torch.arange(3))
    with pytest.raises(hp.InputError, match="no path has two observations"):
        hp.ODEProblem(name="x", data=single).begin(Compute(dtype=DOUBLE))
    for changes in ({"lengths": ()}, {"batch": 0}, {"rtol": 2.0}):
        with pytest.raises(hp.InputError, match=next(iter(changes))):
            hp.Shooting(**changes)
    with pytest.raises(hp.InputError, match="batch"):
        hp.Matching(batch=0)
