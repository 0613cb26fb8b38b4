"""Where PDE problems live: domains, samplers, conditions, and what may have which name."""

import math

import pytest
import torch

import hollowpde as hp
from hollowpde.optim import linearise
from hollowpde.problem import Compute

DOUBLE = Compute(dtype=torch.float64)
NET = hp.Ridge(hidden=(12, 12))
QUICK = hp.Solve(interior=150, boundary=60, checks=5, gauss_newton=hp.GaussNewton(steps=25))


def heat(u, t, x):
    return u.dt - 0.1 * u.laplacian


def sine(x):
    return torch.sin(math.pi * x[..., 0])


def exact(t, x):
    return torch.exp(-0.1 * math.pi**2 * t) * sine(x)


def rod(**changes):
    given = {
        "name": "rod", "residual": heat, "domain": hp.Box((0.0,), (1.0,)), "time": (0.0, 1.0),
        "conditions": {"start": hp.Initial(sine), "ends": hp.Dirichlet(0.0)}, "field": NET,
        "solve": QUICK,
    }  # fmt: skip
    return hp.PDEProblem(**given | changes)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_terminal_condition_and_a_wall_of_another_level_are_built_in():
    wall = hp.Dirichlet(2.0, side=hp.Side(0, upper=True))
    conditions = {"end": hp.Terminal(lambda x: 2 * x[..., 0]), "right": wall}
    fit = rod(conditions=conditions).begin(DOUBLE)
    field, x = fit.model.solution.fields["u"], torch.rand(9, 1, dtype=torch.float64)
    assert fit.terms == ["residual"]
    torch.testing.assert_close(field(1.0, x), 2 * x[:, 0])
    torch.testing.assert_close(field(x[:, 0], torch.ones_like(x)), torch.full_like(x[:, 0], 2.0))


def test_values_that_vary_along_a_wall_are_a_term():
    fit = rod(conditions={"ends": hp.Dirichlet(lambda t, x: t)}).begin(DOUBLE)
    assert fit.terms == ["residual", "ends"]


def test_a_ring_is_a_term_of_a_network_without_a_period(tmp_path):
    def turning(t, x):
        return torch.exp(-0.1 * t) * torch.sin(x[..., 0])

    problem = rod(
        domain=hp.Box((0.0,), (2 * math.pi,)), exact=turning,
        conditions={"start": hp.Initial(lambda x: torch.sin(x[..., 0])), "ring": hp.Periodic()},
    )  # fmt: skip
    metrics = hp.fit(problem, tmp_path / "run").metrics
    assert metrics["ring_rms"] < 0.05 and metrics["rel_l2"] < 0.05


@pytest.mark.parametrize("hard", [True, False])
def test_the_ring_residual_vanishes_only_for_a_period(hard):
    ring = hp.Periodic(hard=hard)
    problem = rod(conditions={"ring": ring}, field=hp.Separable(2, (4,), (6,)))
    fit = problem.begin(DOUBLE)
    t, x, *others = ring.draw(problem.place, 20, seeded())
    jet = hp.Jet(fit.model.solution.fields["u"], t, x)
    size = ring.residual(jet, t, x, *others).abs().max()
    assert size < 1e-9 if hard else size > 1e-3
    assert ("ring" in fit.terms) is not hard


def test_a_steady_problem_in_a_ball(tmp_path):
    problem = hp.PDEProblem(
        name="ball", domain=hp.Ball((1.0, 0.0), 2.0), field=NET, solve=QUICK,
        residual=lambda u, t, x: u.laplacian + 4, conditions={"wall": hp.Dirichlet(0.0)},
        exact=lambda t, x: 4 - (x[..., 0] - 1) ** 2 - x[..., 1] ** 2,
    )  # fmt: skip
    run = hp.fit(problem, tmp_path / "run")
    assert run.metrics["rel_l2"] < 1e-3


@pytest.mark.parametrize("steps", [{"adam": hp.Adam(steps=8)}, {"lbfgs": hp.LBFGS(steps=3)}])
def test_each_optimiser_alone_makes_the_loss_no_larger(tmp_path, steps):
    solve = hp.Solve(interior=60, boundary=20, gauss_newton=hp.GaussNewton(steps=0), **steps)
    problem = rod(solve=solve)
    start = problem.begin(DOUBLE).metrics()["residual_rms"]
    run = hp.fit(problem, tmp_path / "run")
    assert run.metrics["residual_rms"] < 1.1 * start
    assert run.metrics["steps"] == next(iter(steps.values())).steps


def test_the_losses_of_a_system_have_the_names_of_its_equations():
    problem = hp.PDEProblem(
        name="mixed", domain=hp.Box((0.0, 0.0), (1.0, 1.0)), field={"u": NET, "q": hp.Hollow()},
        residual={
            "flux": lambda u, q, t, x: q.value - u.gradient,
            "balance": lambda u, q, t, x: q.divergence + 1,
        },
        conditions={"walls": hp.Dirichlet(0.0)}, solve=QUICK,
    )  # fmt: skip
    fit = problem.begin(DOUBLE)
    fit._balance(1)
    losses = fit.losses(fit.apart)
    assert list(losses) == ["flux", "balance"]
    assert all(loss.isfinite() and loss > 0 for loss in losses.values())


def test_points_of_a_boundary_lie_on_a_face_as_often_as_it_is_large():
    box = hp.Box((0.0, -1.0, 2.0), (2.0, 1.0, 3.0))
    unit = torch.rand(4000, 3, generator=seeded(), dtype=torch.float64)
    x, normal = box.boundary(unit, None)
    low, high = box.corners
    pinned = normal != 0
    assert (pinned.sum(-1) == 1).all() and box.contains(x).all()
    assert torch.equal(x[pinned], torch.where(normal > 0, high, low)[pinned])
    # Faces of areas 2, 2 and 4.
    shares = pinned.double().mean(0)
    expected = torch.tensor([0.25, 0.25, 0.5], dtype=torch.float64)
    torch.testing.assert_close(shares, expected, atol=1e-3, rtol=0)
    x, normal = box.boundary(unit, hp.Side(1, upper=False))
    assert (x[:, 1] == -1).all() and (normal[:, 1] == -1).all()


def test_normals_of_a_sphere_point_outward():
    ball = hp.Ball((1.0, -2.0, 0.0), 0.5)
    x, normal = ball.boundary(torch.rand(500, 4, generator=seeded(), dtype=torch.float64), None)
    torch.testing.assert_close((x - ball.centre) / 0.5, normal)
    torch.testing.assert_close(normal.norm(dim=-1), torch.ones_like(x[:, 0]))
    inside = ball.points(torch.rand(20_000, 4, generator=seeded(), dtype=torch.float64))
    # Evenly in volume: half of them beyond radius (1/2)^(1/3).
    beyond = ((inside - ball.centre).norm(dim=-1) > 0.5 * 0.5 ** (1 / 3)).double().mean()
    assert abs(float(beyond) - 0.5) < 4.5 * math.sqrt(0.25 / len(inside))


@pytest.mark.parametrize(
    "sampler", [hp.Uniform(), hp.Sobol(), hp.BrownianLaw(), hp.ResidualAdaptive()]
)
def test_a_seed_is_a_set_of_points(sampler):
    t, x = sampler.draw(hp.Space(3), (1.0, 3.0), 37, seeded(1))
    assert t.shape == (37,) and x.shape == (37, 3) and x.dtype == torch.float64
    assert ((t >= 1) & (t <= 3)).all() and x.isfinite().all()
    again, other = (sampler.draw(hp.Space(3), (1.0, 3.0), 37, seeded(s))[1] for s in (1, 2))
    assert torch.equal(x, again) and not torch.equal(x, other)
    assert sampler.at(hp.Space(3), (1.0, 3.0), t, seeded()).shape == (37, 3)


@pytest.mark.parametrize("backward", [False, True])
def test_the_variance_of_a_brownian_motion_grows_with_elapsed_time(backward):
    law, n = hp.BrownianLaw(diffusivity=0.3, backward=backward), 5000
    for at in (0.5, 2.0, 3.0):
        t = torch.full((n,), at, dtype=torch.float64)
        x = law.at(hp.Space(4), (0.5, 3.0), t, seeded())
        variance = 2 * 0.3 * (3.0 - at if backward else at - 0.5)
        error = abs(float(x.square().mean()) - variance)
        assert error <= 4.5 * variance * math.sqrt(2 / x.numel())


def test_a_law_of_time_needs_one():
    with pytest.raises(hp.InputError, match="needs a time interval"):
        hp.BrownianLaw().draw(hp.Space(2), None, 3, seeded())


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"c": hp.Observed(torch.ones(1) * 2, torch.ones(1) * 0.5, torch.ones(1))}, "lie outside"),
        ({"c": hp.Observed(torch.ones(1), torch.ones(1, 2), torch.ones(1))}, "2 columns"),
        ({"c": hp.Dirichlet(side=hp.Side(-1, upper=True))}, "no axis -1"),
        ({"c": hp.Periodic(axis=1)}, "no axis 1"),
    ],
)
def test_conditions_elsewhere_are_refused(conditions, message):
    with pytest.raises(hp.InputError, match=message):
        rod(conditions=conditions)


@pytest.mark.parametrize("name", ["interior", "values", "type", "a.b"])
def test_a_condition_may_have_any_name(name):
    fit = rod(conditions={name: hp.Initial(sine, hard=False)}).begin(DOUBLE)
    assert fit.terms == ["residual", name]
    assert [len(points[0]) for points in fit.apart] == [QUICK.interior, QUICK.boundary]


def test_a_field_may_have_any_name():
    assert rod(field={"type": NET}).begin(DOUBLE).learned.fields.keys() == {"type"}


@pytest.mark.parametrize("t", [torch.tensor(0.5), 0.5])
def test_one_time_for_all_observations_is_refused_in_words(t):
    with pytest.raises(hp.InputError, match="one row for each"):
        hp.Observed(t, torch.rand(3, 1), torch.ones(3))


def test_the_balance_sees_every_side_alike(monkeypatch):
    seen = []

    def spied(module, rows, points):
        seen.append(points)
        return linearise(module, rows, points)

    monkeypatch.setattr("hollowpde.problem.pde.fit.linearise", spied)
    solve = hp.Solve(interior=150, boundary=250)
    fit = rod(conditions={"ends": hp.Dirichlet(0.0, hard=False)}, solve=solve).begin(DOUBLE)
    fit._balance(1)
    upper = seen[1][1][:, 0] == 1
    assert abs(float(upper.double().mean()) - 0.5) < 4.5 * 0.5 / math.sqrt(len(upper))
