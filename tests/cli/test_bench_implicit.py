"""The benchmark of implicit solvers: what it counts, compares and says, and what it writes."""

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from hollowpde.bench import BENCHES
from hollowpde.bench.implicit import QUICK, orders, run, safety, scaling
from hollowpde.bench.implicit.cases import CLASSICS, Case, relaxation
from hollowpde.bench.implicit.compare import cost_at, row, sentence, verdicts
from hollowpde.bench.implicit.figures import Figure, table
from hollowpde.bench.implicit.gradients import _Network, reference
from hollowpde.bench.implicit.lab import Lab, Point
from hollowpde.bench.implicit.limit import Counted, Limit, OverBudget
from hollowpde.bench.implicit.ours import DEFAULT, DENSE, OURS
from hollowpde.bench.implicit.reference import reference as solution
from hollowpde.bench.implicit.scipys import BDF, LSODA, SCIPY, in_numpy
from hollowpde.bench.implicit.solve import DONE, FAILED, OVER, REFUSED, Solve, attempt
from hollowpde.bench.implicit.solvers import all_solvers
from hollowpde.bench.page import _pictures
from hollowpde.cli import app
from hollowpde.errors import InputError

SOLVERS = {solver.name: solver for solver in all_solvers(compiled=False)}


@dataclass(frozen=True)
class System:
    """An initial value problem, with the attributes of a problem file's."""

    f: Any
    diagonal: Any
    y0: torch.Tensor
    t_span: tuple[float, float]
    rtol: float = 1e-6
    atol: float = 1e-9


def decay(batch=None, rate=50.0):
    """Two components that decay to cos t: a solution in closed form."""
    rates = torch.tensor([rate, 1.0], dtype=torch.float64)

    def f(t, y):
        return -rates.to(y) * (y - torch.cos(t)[:, None])

    def diagonal(t, y):
        return -rates.to(y).expand_as(y)

    y0 = torch.zeros(2, dtype=torch.float64)
    declared = System(f, diagonal, y0, (0.0, 1.0))
    return Case("decay", lambda: declared, batch=batch)


def exact(case, rate):
    t = np.array(case.times)[:, None, None]
    k = np.array([rate, 1.0])
    start = case.y0.numpy()[None]
    steady = (k**2 * np.cos(t) + k * np.sin(t)) / (1 + k**2)
    return steady + (start - k**2 / (1 + k**2)) * np.exp(-k * t)


def solved(name, case, level=1e-6, seconds=30.0, evaluations=100_000):
    prepared = SOLVERS[name].prepare(case, torch.float64)
    return attempt(prepared, level, case, seconds, evaluations)


def point(solver, level, error, seconds, evaluations):
    solve = Solve(DONE, seconds=seconds, evaluations=evaluations)
    return Point("rod", solver, level, solve, error, [seconds])


@pytest.mark.parametrize("name", SOLVERS)
def test_every_solver_solves_what_is_known_in_closed_form(name):
    case = decay(batch=3)
    level = 3000.0 if SOLVERS[name].levels else 1e-6
    found = solved(name, case, level)
    assert found.outcome == DONE, found.why
    assert found.values.shape == (3, 3, 2)
    assert case.error(found.values, exact(case, 50.0)) < 1e-3
    assert found.evaluations > 10 and found.seconds > 0


def test_the_reference_is_better_than_what_is_judged_by_it():
    for smooth in (False, True):
        case = decay()
        object.__setattr__(case, "smooth", smooth)
        assert case.error(solution(case), exact(case, 50.0)) < 1e-8


@pytest.mark.parametrize("name", CLASSICS)
def test_diagonals_are_those_of_the_jacobian(name):
    case = CLASSICS[name]
    t, y = torch.rand(2, dtype=torch.float64), torch.rand(2, case.dim, dtype=torch.float64)
    for k in range(2):
        jacobian = torch.func.jacrev(lambda z, k=k: case.f(t[k : k + 1], z[None])[0])(y[k])
        torch.testing.assert_close(case.diagonal(t, y)[k], jacobian.diagonal())
    assert case.times[-1] == case.span[1] and case.floor in (1e-3, 1e-6)


def test_rows_are_counted_and_limited():
    limit = Limit(seconds=60.0, rows=5)
    f = Counted(lambda t, y: -y, limit)
    f(torch.zeros(2), torch.zeros(2, 3))
    f(torch.zeros(3), torch.zeros(3, 3))
    assert limit.taken == 5
    with pytest.raises(OverBudget, match="5 evaluations"):
        f(torch.zeros(1), torch.zeros(1, 3))
    with pytest.raises(OverBudget, match="0 s"):
        Limit(seconds=0.0, rows=math.inf).add(1)


def test_evaluations_are_of_a_sample_and_count_jacobians():
    one, many = (solved(LSODA, decay()), solved("RungeKutta", decay(batch=4)))
    assert one.evaluations == int(one.evaluations)
    alone = solved("RungeKutta", decay(batch=1))
    # All four share the steps of the slowest.
    assert alone.evaluations <= many.evaluations < 3 * alone.evaluations
    # SciPy's own count leaves out its Jacobians.
    from scipy.integrate import solve_ivp

    case = decay()
    own = solve_ivp(
        in_numpy(case.f, 2), case.span, case.y0[0].numpy(), method="BDF", vectorized=True,
        rtol=1e-6, atol=1e-9, t_eval=case.times,
    )  # fmt: skip
    # Two columns for each, of which some are taken again with another difference.
    assert own.nfev + 2 * own.njev <= solved(BDF, case).evaluations <= own.nfev + 6 * own.njev


@pytest.mark.parametrize("name", SOLVERS)
def test_no_solver_goes_on_for_ever(name):
    level = 10_000.0 if SOLVERS[name].levels else 1e-8
    found = solved(name, decay(rate=1e7), level, evaluations=40)
    assert (found.outcome, found.values) == (OVER, None)
    assert found.why == "40 evaluations"


def test_failures_and_refusals_are_outcomes():
    declared = System(lambda t, y: y**2, lambda t, y: 2 * y, torch.ones(1).double(), (0.0, 2.0))
    case = Case("blow-up", lambda: declared)
    for name in (DEFAULT, "RungeKutta", "Auto"):
        assert solved(name, case).outcome in (FAILED, OVER)
    bare = System(declared.f, None, declared.y0, (0.0, 0.5))
    found = solved(DEFAULT, Case("bare", lambda: bare))
    assert found.outcome == REFUSED and "needs the diagonal" in found.why
    assert solved(DENSE, Case("bare", lambda: bare)).outcome == DONE


def test_looping_and_stacking_solve_the_same_batch():
    case = decay(batch=10)
    found = {}
    for solver in scaling.BATCHED:
        prepared = solver.prepare(case, torch.float64)
        found[solver.name] = attempt(prepared, 1e-6, case, 60.0, 10**6)
    looped, stacked, sparse = found.values()
    assert looped.values.shape[1] == 8 and stacked.values.shape[1] == 10
    for solve in (looped, stacked, sparse):
        assert case.error(solve.values, exact(case, 50.0)) < 1e-4
    # Dense differences of twenty columns against two groups of them.
    assert sparse.evaluations < stacked.evaluations


def test_what_an_error_takes():
    line = [(1e-1, 10.0), (1e-3, 1000.0), (1e-2, 5000.0), (1e-5, 1000.0)]
    assert cost_at(line, 1e-2) == pytest.approx(10 * 10 ** (2 * 0.25))
    assert cost_at(line, 1e-6) is None and cost_at(line, 0.5) == pytest.approx(10.0)
    assert cost_at([], 1.0) is None and cost_at([(math.inf, 1.0)], 1.0) is None


def test_wins_and_losses_are_said_side_by_side():
    points = [
        *(point(DEFAULT, 1e-3 * s, 1e-3 * s, 1 / s, 100 / s) for s in (1.0, 1e-2)),
        *(point(DENSE, 1e-3 * s, 1e-3 * s, 0.25 / s, 200 / s) for s in (1.0, 1e-2)),
        *(point(BDF, 1e-3 * s, 1e-3 * s, 0.5 / s, 400 / s) for s in (1.0, 1e-2)),
        *(point(LSODA, 1e-3 * s, 1e-3 * s, 3 / s, 125 / s) for s in (1.0, 1e-2)),
    ]
    middle, loose = verdicts(points, list(SOLVERS.values()))
    assert (middle.error, loose.error) == (1e-4, 1e-2)
    assert middle.evaluations.peer == LSODA and middle.seconds.peer == BDF
    assert middle.evaluations.ratio == pytest.approx(0.8)
    assert middle.seconds.ratio == pytest.approx(2.0)
    said = sentence(points, list(SOLVERS.values()))
    assert "wins in evaluations, 0.8 times" in said and "loses in time, 2 times" in said
    assert said.endswith(f"of the project's own, {DENSE} is faster.")
    cells = row(middle)
    assert cells["best in time"] == BDF and cells["time, compiled"] is None
    assert "reaches none" in sentence(points[2:], list(SOLVERS.values()))


def test_a_wrong_answer_is_seen():
    assert safety.bound(1e-3, 0.01) == 0.1 and safety.bound(1e-5, 0.01) == 0.03
    assert safety.judged(point(DEFAULT, 1e-3, 0.09, 1, 1), 1e-3, 0.0) == safety.RIGHT
    assert safety.judged(point(DEFAULT, 1e-3, 0.2, 1, 1), 1e-3, 0.0) == safety.WRONG
    failed = Point("rod", DEFAULT, 1e-3, Solve(FAILED, "why"), None, [1.0])
    assert safety.judged(failed, 1e-3, 0.0) == FAILED
    case = decay()
    wrong = exact(case, 50.0) + 0.5
    assert case.error(wrong, exact(case, 50.0)) > 0.4
    assert case.error(np.full_like(wrong, np.nan), wrong) == math.inf


def test_figures_are_met_or_not():
    rows = table(
        [Figure("a", 6.0, 5.0), Figure("b", 6.0, 5.0, least=False), Figure("c", 1.0, None)]
    )
    assert [r["met"] for r in rows.rows] == ["yes", "no", "-"]
    assert [r["asked"] for r in rows.rows] == ["at least 5", "at most 5", None]


def test_times_at_the_same_error():
    points = [
        *(point(DEFAULT, r, r, 1.0, 10.0) for r in (1e-3, 1e-4)),
        *(point(BDF, r, 10 * r, 1e-3 / r, 10.0) for r in (1e-3, 1e-4, 1e-5)),
    ]
    # To an error of 1e-4 SciPy needs 1e-5.
    assert scaling.at_equal_error(points, BDF) == pytest.approx(100.0)
    assert scaling.at_equal_error(points[2:], BDF) is None
    assert scaling.at_equal_error(points, BDF, error=1e-2) == pytest.approx(1.0)
    assert scaling.at_equal_error(points[:3], BDF) == pytest.approx(1.0)


def test_what_was_measured_is_not_measured_again():
    seen = []

    class Spy:
        name, ours, torch_field, levels = DEFAULT, True, True, None

        def prepare(self, case, dtype):
            own = next(s for s in OURS if s.name == DEFAULT).prepare(case, dtype)

            def solve(level, limit):
                seen.append(level)
                return own(level, limit)

            return solve

    lab, case = Lab(QUICK, lambda text: None), decay()
    first = lab.compare(case, [(Spy(), 1e-3), (SCIPY[0], 1e-3)])
    again = lab.points(case, [Spy()])
    assert seen == [1e-3, 1e-4] and again[0] is first[0] and len(again) == 2
    assert {p.solver for p in lab.known(case)} == {DEFAULT, BDF}
    assert first[0].error == case.error(first[0].solve.values, lab.reference(case))


def test_the_reference_of_gradients_is_their_difference():
    network = _Network(1.0)
    got = reference(network)
    step = 1e-5
    ends = []
    for sign in (1, -1):
        moved = _Network(1.0)
        with torch.no_grad():
            moved.W[1, 0] += sign * step
        declared = System(moved.f, moved.diagonal, moved.y0.detach(), (0.0, 1.0))
        case = Case("moved", lambda declared=declared: declared, smooth=True)
        object.__setattr__(case, "y0", moved.y0.detach())
        y = torch.from_numpy(solution(case)[-1])
        ends.append(float((moved.weights * y).sum() + y.square().sum()))
    assert float(got[1][1, 0]) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-5)


def test_orders_are_nominal():
    rows = orders.measure(1)
    assert {r["method"] for r in rows} == set(orders.METHODS)
    (figure,) = orders.figures(rows)
    assert figure.met == "yes"


def test_jax_gets_the_same_function():
    pytest.importorskip("jax")
    import jax

    from hollowpde.bench.implicit.diffraxes import _check
    from hollowpde.bench.implicit.translate import to_jax

    jax.config.update("jax_enable_x64", True)
    for case in (CLASSICS["pollution"], CLASSICS["brusselator"], relaxation(10)):
        _check(case, to_jax(case.f, case.dim))
        with pytest.raises(InputError, match="not the same function"):
            _check(case, to_jax(lambda t, y, f=case.f: f(t, y) * 1.001, case.dim))
    with pytest.raises(InputError, match=r"no translation into JAX of aten\.lgamma"):
        to_jax(lambda t, y: torch.lgamma(y), 2)


def test_quick_run_writes_diagrams_and_figures(tmp_path):
    done = CliRunner().invoke(app, ["bench", "implicit", "--quick", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        f"implicit.{kind}" for kind in ("csv", "html", "json", "md")
    ]
    data = json.loads((tmp_path / "implicit.json").read_text(), parse_constant=pytest.fail)
    tables = data["tables"]
    assert list(tables) == [
        "figures", "ratios", "pollution", "networks", "cells", "safety", "tally", "orders",
        "gradients", "flow", "longer",
    ]  # fmt: skip
    assert {r["solver"] for r in tables["pollution"]["rows"]} == set(SOLVERS)
    assert "At an error of" in tables["pollution"]["notes"][0]
    assert [r["verdict"] for r in tables["safety"]["rows"]] == ["right", "right"]
    solvers = [r for r in tables["figures"]["rows"] if not r["figure"].startswith("flow")]
    assert solvers and "no" not in [r["met"] for r in solvers]
    assert set(pd.read_csv(tmp_path / "implicit.csv")["table"]) == set(tables)
    page = (tmp_path / "implicit.html").read_text()
    # Unlike figures are no picture.
    assert "figures-0" not in page and "ratios-0" in page
    assert page.count("error against evaluations") == page.count("error against seconds") == 1


def test_diagrams_have_a_line_for_each_solver():
    from hollowpde.bench.implicit.classics import diagram

    points = [
        point(DEFAULT, 1e-3, 1e-2, 0.5, 10.0),
        point(DEFAULT, 1e-4, 1e-3, 1.0, 20.0),
        Point("rod", BDF, 1e-3, Solve(FAILED, "why"), None, [1.0]),
    ]
    result = diagram(decay(), points, list(SOLVERS.values()))
    pictures = _pictures(result)
    assert list(pictures) == ["error against evaluations", "error against seconds"]
    (line,) = pictures["error against seconds"].data
    assert (line.name, list(line.x), list(line.y)) == (DEFAULT, [0.5, 1.0], [1e-2, 1e-3])
    assert [r["outcome"] for r in result.rows] == ["done", "done", "failed: why"]


def test_parts_are_listed_and_checked():
    assert "  safety: the sweep" in CliRunner().invoke(app, ["bench"]).output
    with pytest.raises(InputError, match="did you mean 'classics'"):
        run(["classic"], QUICK, None)
    assert BENCHES["implicit"].budget.seconds == 3.0
    assert relaxation(10).span == (0.0, 2.0) and relaxation(10, 4, 0.5).y0.shape == (4, 10)
