"""PDE problems: solved, conditions built in or weighed, and contradictions refused."""

import dataclasses
import math
import os
import signal

import pytest
import torch

import hollowpde as hp
from hollowpde.operators import reference
from hollowpde.problem import Compute
from hollowpde.problem.pde.domain import Side
from hollowpde.problem.pde.mass import masses

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
        "exact": exact, "solve": QUICK,
    }  # fmt: skip
    return hp.PDEProblem(**given | changes)


def test_a_rod_is_solved_and_loaded(tmp_path):
    problem = rod(point=hp.Point((0.5,), 1.0), mass=lambda u: u)
    run = hp.fit(problem, tmp_path / "run")
    assert run.metrics["rel_l2"] < 5e-3
    assert run.metrics["point_rel_error"] < 5e-3
    # Heat leaves through the ends: what is left of it is known.
    assert run.metrics["mass_error"] == pytest.approx(1 - math.exp(-0.1 * math.pi**2), abs=5e-3)
    page = (run.path / "report.html").read_text()
    assert "Equations and conditions" in page and "rel_l2 against time" in page
    t, x = torch.rand(5, dtype=torch.float64), torch.rand(5, 1, dtype=torch.float64)
    again = hp.load(run.path, problem=problem)
    assert torch.equal(again.field(t, x), run.field(t, x))


@pytest.mark.parametrize("hard", [True, False])
def test_what_is_built_in_holds_for_any_weights(hard):
    conditions = {"start": hp.Initial(sine, hard=hard), "ends": hp.Dirichlet(0.0, hard=hard)}
    fit = rod(conditions=conditions).begin(DOUBLE)
    field = fit.model.solution.fields["u"]
    x = torch.rand(9, 1, dtype=torch.float64)
    at_start = (field(0.0, x) - sine(x)).abs().max()
    on_walls = field(x[:, 0], (x > 0.5).double()).abs().max()
    if hard:
        assert at_start < 1e-12 and on_walls < 1e-12
        assert fit.terms == ["residual"]
    else:
        assert at_start > 1e-3 and on_walls > 1e-3
        assert fit.terms == ["residual", "start", "ends"]


def bell(x):
    return torch.exp(-x.square().sum(-1))


class Bell(hp.Field):
    def dimwise(self, t, x, order):
        return (-x.square().sum(-1), -2 * x, torch.full_like(x, -2.0))[: order + 1]


@pytest.mark.parametrize("start", [bell, hp.nets.ExponentialField(Bell())])
def test_an_exponential_field_meets_what_is_positive(start):
    conditions = {"start": hp.Initial(start)}
    made = rod(conditions=conditions, field=hp.Exponential(NET), exact=None).begin(DOUBLE)
    field, x = made.model.solution.fields["u"], torch.randn(9, 1, dtype=torch.float64)
    assert made.terms == ["residual"]
    torch.testing.assert_close(field(0.0, x), bell(x))
    assert (field(1.0, x) > 0).all() and not torch.allclose(field(1.0, x), bell(x))
    torch.testing.assert_close(
        hp.laplacian(field, 0.7, x), hp.reference.laplacian(lambda t, x: field(t, x), 0.7, x)
    )


@pytest.mark.parametrize("condition", [hp.Initial(lambda x: sine(2 * x)), hp.Dirichlet(0.0)])
def test_an_exponential_field_refuses_what_is_not_positive(condition):
    problem = rod(conditions={"it": condition}, field=hp.Exponential(NET), exact=None)
    with pytest.raises(hp.InputError, match="'it': the field is an exponential"):
        problem.begin(DOUBLE)


def test_a_field_of_another_shape_is_no_initial_value():
    with pytest.raises(hp.InputError, match="the field of a condition must return"):
        rod(conditions={"start": hp.Initial(hp.HollowNet(1).double())}).begin(DOUBLE)


def test_walls_that_contradict_the_start_are_not_built_in():
    conditions = {"start": hp.Initial(lambda x: 1 + sine(x)), "ends": hp.Dirichlet(0.0)}
    assert rod(conditions=conditions).begin(DOUBLE).terms == ["residual", "ends"]


def test_soft_conditions_are_balanced_and_met(tmp_path):
    conditions = {
        "end": hp.Terminal(lambda x: exact(torch.ones(()), x), hard=False),
        "left": hp.Dirichlet(0.0, side=Side(0, upper=False), hard=False),
        "slope": hp.Neumann(
            lambda t, x: -math.pi * torch.exp(-0.1 * math.pi**2 * t), side=Side(0, upper=True)
        ),
    }
    # Backward in time, at a diffusivity so small that this is harmless.
    run = hp.fit(rod(conditions=conditions), tmp_path / "run")
    assert run.metrics["rel_l2"] < 0.02
    for name in conditions:
        assert run.metrics[f"{name}_rms"] < 0.02 and run.metrics[f"weight_{name}"] > 0


def test_a_ring_is_exact_with_a_network_of_its_period():
    ring = {"ring": hp.Periodic()}
    domain, x = hp.Box((1.0, 0.0), (4.0, 1.0)), torch.rand(7, 2, dtype=torch.float64)
    ours = rod(
        conditions=ring, domain=domain, exact=None, field=hp.Separable(2, (4,), (6,))
    ).begin(DOUBLE)
    field = ours.model.solution.fields["u"]
    shift = torch.tensor([3.0, -2.0], dtype=torch.float64)
    torch.testing.assert_close(field(0.3, x + shift), field(0.3, x))
    assert ours.terms == ["residual"]
    soft = rod(conditions=ring, domain=domain, exact=None).begin(DOUBLE)
    assert soft.terms == ["residual", "ring"]


def test_losses_are_the_squares_that_gauss_newton_linearises():
    fit = rod(conditions={"start": hp.Initial(sine, hard=False)}).begin(DOUBLE)
    fit._balance(1)
    residuals, _ = fit.linearised(fit.apart)
    total = sum(fit.losses(fit.apart).values())
    torch.testing.assert_close(residuals.square().sum(), total.detach())
    assert fit.model.weights[1] != 1


def test_other_optimisers_and_the_same_result_again(tmp_path):
    solve = dataclasses.replace(
        QUICK, adam=hp.Adam(steps=20), lbfgs=hp.LBFGS(steps=3),
        gauss_newton=hp.GaussNewton(steps=2),
    )  # fmt: skip
    runs = [hp.fit(rod(solve=solve), tmp_path / str(k)) for k in range(2)]
    assert runs[0].metrics["steps"] == 25
    assert runs[0].metrics["rel_l2"] == runs[1].metrics["rel_l2"]


def test_an_interrupted_fit_goes_on_to_the_same_end(tmp_path):
    problem = rod(
        sampler=hp.ResidualAdaptive(), solve=dataclasses.replace(QUICK, refresh=4),
        conditions={"start": hp.Initial(sine, hard=False), "ends": hp.Dirichlet(0.0)},
    )  # fmt: skip
    whole = hp.fit(problem, tmp_path / "whole")
    calls = 0

    def stops(u, t, x):
        nonlocal calls
        calls += 1
        if calls == 40:
            os.kill(os.getpid(), signal.SIGINT)
        return heat(u, t, x)

    with pytest.raises(KeyboardInterrupt):
        hp.fit(dataclasses.replace(problem, residual=stops), tmp_path / "part")
    state = torch.load(tmp_path / "part" / "checkpoint.pt", weights_only=True)["current"]
    assert 0 < state["step"] < 25
    stops.__qualname__ = heat.__qualname__
    settings = tmp_path / "part" / "settings.json"
    text = settings.read_text()
    name = "test_an_interrupted_fit_goes_on_to_the_same_end.<locals>.stops"
    settings.write_text(text.replace(name, heat.__qualname__))
    again = hp.fit(problem, tmp_path / "part", resume=True)
    t, x = torch.rand(5, dtype=torch.float64), torch.rand(5, 1, dtype=torch.float64)
    assert torch.equal(again.field(t, x), whole.field(t, x))


def test_an_unknown_number_and_its_interval(tmp_path):
    grid = torch.linspace(0.1, 0.9, 8, dtype=torch.float64)
    t, x = grid.repeat_interleave(8), grid.repeat(8)
    noise = 0.01 * torch.randn(64, generator=torch.Generator().manual_seed(0))
    problem = rod(
        residual=lambda u, t, x, kappa: u.dt - kappa * u.laplacian,
        unknowns={"kappa": hp.Unknown(0.4, truth=0.1)},
        conditions={
            "start": hp.Initial(sine), "ends": hp.Dirichlet(0.0),
            "seen": hp.Observed(t, x, exact(t, x.unsqueeze(-1)) + noise),
        },
    )  # fmt: skip
    metrics = hp.fit(problem, tmp_path / "run").metrics
    assert metrics["kappa_rel_error"] < 0.1
    assert metrics["kappa_low"] < metrics["kappa"] < metrics["kappa_high"]
    assert metrics["kappa_high"] / metrics["kappa_low"] < 1.2


def test_a_system_in_mixed_form():
    problem = hp.PDEProblem(
        name="mixed", domain=hp.Box((0.0, 0.0), (1.0, 1.0)),
        field={"u": NET, "q": hp.Hollow()},
        residual={
            "flux": lambda u, q, t, x: q.value - u.gradient,
            "balance": lambda u, q, t, x: q.divergence + 1,
        },
        conditions={"walls": hp.Dirichlet(0.0)}, solve=QUICK,
    )  # fmt: skip
    fit = problem.begin(DOUBLE)
    assert fit.terms == ["flux", "balance"]
    r, J = fit.linearised(fit.apart)
    assert len(r) == 3 * QUICK.interior and J.isfinite().all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"domain": hp.Space(1)}, "'ends': a Dirichlet condition lies outside of the domain"),
        ({"time": None}, "an Initial condition needs a time interval"),
        ({"time": (1.0, 0.0)}, "t0 < t1"),
        ({"time": (0.0, math.inf)}, "both finite"),
        ({"conditions": {"w": hp.Dirichlet(0.0, side=Side(1, upper=True))}}, "no axis 1"),
        ({"conditions": {"c": hp.Periodic()}, "domain": hp.Ball((0.0,), 1.0)}, "opposite sides"),
        ({"conditions": {"c": hp.Initial(sine, field="v")}}, "unknown field 'v'"),
        ({"conditions": {"residual": hp.Initial(sine)}}, "given twice"),
        ({"conditions": {"c": 3}}, "hp.Initial"),
        ({"domain": 3}, "domain must be"),
        (
            {
                "conditions": {
                    "c": hp.Observed(torch.zeros(1), torch.ones(1, 1) * 3, torch.ones(1))
                }
            },
            "lie outside of the domain",
        ),
    ],
)
def test_contradictions_are_refused(changes, message):
    with pytest.raises(hp.InputError, match=message):
        rod(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"time": None, "conditions": {}}, "has a time derivative, but the problem is steady"),
        ({"residual": lambda u, t, x: u.dt.sum()}, "must return one number for each"),
        ({"conditions": {"c": hp.Initial(lambda x: x)}}, "must return the shape"),
        ({"exact": lambda t, x: x}, "exact of field 'u'"),
        ({"field": 3}, "field 'u' must be"),
    ],
)
def test_wrong_shapes_are_refused_before_anything_is_trained(changes, message):
    with pytest.raises(hp.InputError, match=message):
        rod(**changes).begin(DOUBLE)


def test_wrong_parts_are_refused():
    for make, message in (
        (lambda: hp.Box((0.0, 1.0), (1.0, 1.0)), "low must lie below high"),
        (lambda: hp.Box((0.0,), (1.0, 1.0)), "of one length"),
        (lambda: hp.Ball((0.0,), -1.0), "radius must be positive"),
        (lambda: hp.Solve(gauss_newton=hp.GaussNewton(steps=0)), "give one of them"),
        (lambda: hp.Observed(torch.ones(2), torch.ones(3, 1), torch.ones(3)), "one row for each"),
        (lambda: hp.Unknown(-1.0), "must be positive"),
        (lambda: hp.BrownianLaw(diffusivity=0.0), "diffusivity must be positive"),
    ):
        with pytest.raises(hp.InputError, match=message):
            make()


@pytest.mark.parametrize("domain", [hp.Box((0.0, -1.0), (2.0, 1.0)), hp.Ball((1.0, 0.0), 2.0)])
@pytest.mark.parametrize("sampler", [hp.Uniform(), hp.Sobol()])
def test_points_fill_the_domain(domain, sampler):
    t, x = sampler.draw(domain, (1.0, 3.0), 2000, torch.Generator().manual_seed(0))
    assert domain.contains(x).all() and (t >= 1).all() and (t <= 3).all()
    assert (x.mean(0) - domain.centre).abs().max() < 0.1
    again = sampler.draw(domain, (1.0, 3.0), 2000, torch.Generator().manual_seed(0))
    assert torch.equal(x, again[1])
    on, normal = domain.boundary(torch.rand(500, domain.numbers, dtype=torch.float64), None)
    torch.testing.assert_close(normal.norm(dim=-1), torch.ones(500, dtype=torch.float64))
    assert domain.distance(on, [None], 0)[0].abs().max() < 1e-9
    assert (
        domain.contains(on - 1e-3 * normal).all() and not domain.contains(on + 0.01 * normal).any()
    )


DISTANCES = {
    "whole box": (hp.Box((0.0, -1.0, 2.0), (2.0, 1.0, 2.5)), [None]),
    "line": (hp.Box((0.0,), (3.0,)), [None]),
    "three sides": (
        hp.Box((0.0, -1.0, 2.0), (2.0, 1.0, 2.5)),
        [Side(0, upper=False), Side(2, upper=True), Side(2, upper=False)],
    ),
    "one side, named twice": (
        hp.Box((0.0, -1.0), (2.0, 1.0)),
        [Side(1, upper=True), Side(1, upper=True)],
    ),
    "ball": (hp.Ball((1.0, 0.0, -2.0), 2.0), [None]),
}


@pytest.mark.parametrize("name", DISTANCES)
def test_derivatives_of_distances_are_those_of_autograd(name):
    domain, sides = DISTANCES[name]
    generator = torch.Generator().manual_seed(0)
    unit = torch.rand(20, domain.numbers, dtype=torch.float64, generator=generator)
    # Corners too, where all of a box's factors vanish.
    x = torch.cat([domain.points(unit), domain.points(unit.round())])
    found = domain.distance(x, sides, 4)
    assert len(found) == 5 and (found[0][:20] > 0).all()
    expected = reference.dimwise(lambda t, y: domain.distance(y, sides, 0)[0], x[:, 0], x, order=4)
    for part, true in zip(found, expected, strict=True):
        torch.testing.assert_close(part, true)
    for side in sides:
        on, _ = domain.boundary(unit, side)
        assert domain.distance(on, sides, 0)[0].abs().max() < 1e-12
    # Derivatives of derivatives: those of the slope along the first coordinate.
    y = x.clone().requires_grad_()
    _, slopes, curvatures = domain.distance(y, sides, 2)
    (further,) = torch.autograd.grad(slopes[:, 0].sum(), y)
    torch.testing.assert_close(further[:, 0], curvatures[:, 0])


def test_the_law_of_a_brownian_motion():
    law = hp.BrownianLaw(start=1.0, diffusivity=0.5, backward=True)
    t, x = law.draw(hp.Space(20), (0.0, 2.0), 4000, torch.Generator().manual_seed(0))
    z = (x - 1) / (2 - t).sqrt().unsqueeze(-1)
    assert abs(float(z.square().mean()) - 1) < 4.5 * math.sqrt(2 / z.numel())


def test_more_points_where_the_residual_is_large():
    residual = torch.cat([torch.full((500,), 10.0), torch.full((500,), 0.1)])
    chosen = hp.ResidualAdaptive(floor=0.1).choose(residual, 200, torch.Generator().manual_seed(0))
    assert len(chosen.unique()) == 200 and (chosen < 500).double().mean() > 0.85


def test_terms_are_weighed_by_the_traces_of_their_kernels():
    solve = dataclasses.replace(QUICK, interior=40, boundary=30)
    conditions = {"start": hp.Initial(sine, hard=False, weight=3.0)}
    fit = rod(conditions=conditions, solve=solve).begin(DOUBLE)
    fit._balance(1)

    def trace(group, points):
        parameters = [*fit.model.solution.parameters()]
        total = 0.0
        for value in group.rows(fit.model.solution, *points).flatten():
            grads = torch.autograd.grad(
                value, parameters, retain_graph=True, materialize_grads=True
            )
            total += sum(float(g.square().sum()) for g in grads)
        return total / len(points[0])

    inside, start = (trace(g, p) for g, p in zip(fit.groups, fit.apart, strict=True))
    assert float(fit.model.weights[1]) == pytest.approx(3 * inside / start, rel=1e-9)


def test_the_interval_is_that_of_the_closed_form(tmp_path):
    """The solution is known as a function of kappa: its slope gives the standard error."""
    grid = torch.linspace(0.1, 0.9, 10, dtype=torch.float64)
    t, x = grid.repeat_interleave(10), grid.repeat(10)
    noise = 0.02 * torch.randn(100, generator=torch.Generator().manual_seed(1)).double()
    problem = rod(
        residual=lambda u, t, x, kappa: u.dt - kappa * u.laplacian,
        unknowns={"kappa": hp.Unknown(0.2)},
        conditions={
            "start": hp.Initial(sine), "ends": hp.Dirichlet(0.0),
            "seen": hp.Observed(t, x, exact(t, x.unsqueeze(-1)) + noise),
        },
        solve=dataclasses.replace(QUICK, gauss_newton=hp.GaussNewton(steps=40)),
    )  # fmt: skip
    metrics = hp.fit(problem, tmp_path / "run").metrics
    slope = -(math.pi**2) * t * exact(t, x.unsqueeze(-1))
    sd = 0.02 / float(slope.norm())
    width = metrics["kappa_high"] - metrics["kappa_low"]
    # Sigma is estimated from 100 readings, to about 7 %; 2.5 of that.
    assert width == pytest.approx(2 * 1.984 * sd, rel=0.18)


def test_an_unknown_field_is_found(tmp_path):
    """Of -(kappa u')' = f with u = x (1 - x) seen everywhere, kappa = 1 + x / 2."""

    def flow(u, t, x, kappa):
        source = 2 * (1 + 0.5 * x[..., 0]) - 0.5 * (1 - 2 * x[..., 0])
        slopes = (kappa.gradient * u.gradient).sum(-1)
        return kappa.value * u.laplacian + slopes + source

    x = torch.linspace(0, 1, 60, dtype=torch.float64)
    problem = hp.PDEProblem(
        name="flow", residual=flow, domain=hp.Box((0.0,), (1.0,)), field=NET,
        conditions={"ends": hp.Dirichlet(0.0), "seen": hp.Observed(None, x, x * (1 - x))},
        unknowns={"kappa": hp.UnknownField(NET, truth=lambda t, x: 1 + 0.5 * x[..., 0])},
        solve=dataclasses.replace(QUICK, gauss_newton=hp.GaussNewton(steps=40)),
    )  # fmt: skip
    run = hp.fit(problem, tmp_path / "run")
    assert run.metrics["kappa_rel_l2"] < 0.02
    assert "Coefficient kappa" in (run.path / "report.html").read_text()


def test_a_system_in_mixed_form_is_solved(tmp_path):
    """The flux q = grad u of -Lap u = 2 pi^2 u as a hollow field, with its exact divergence."""

    def bump(t, x):
        return torch.sin(math.pi * x).prod(-1)

    problem = hp.PDEProblem(
        name="mixed", domain=hp.Box((0.0, 0.0), (1.0, 1.0)), exact=bump,
        field={
            "u": NET,
            "q": hp.Hollow(hp.MaskedMLP((12,), features=6), hp.SharedMLP((8,))),
        },
        residual={
            "flux": lambda u, q, t, x: q.value - u.gradient,
            "balance": lambda u, q, t, x: q.divergence + 2 * math.pi**2 * bump(t, x),
        },
        conditions={"walls": hp.Dirichlet(0.0)},
        solve=dataclasses.replace(QUICK, interior=400, gauss_newton=hp.GaussNewton(steps=50)),
    )  # fmt: skip
    assert hp.fit(problem, tmp_path / "run").metrics["rel_l2"] < 0.03


class OwnNet(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(2, 12), torch.nn.Tanh(), torch.nn.Linear(12, 1)
        )

    def forward(self, t, x):
        return self.layers(torch.cat([t.unsqueeze(-1), x], -1)).squeeze(-1)


def test_a_network_of_the_user(tmp_path):
    own = OwnNet()
    before = [p.clone() for p in own.parameters()]
    with pytest.warns(hp.BruteForceWarning, match="OwnNet"):
        run = hp.fit(rod(field=own), tmp_path / "run")
    assert run.metrics["rel_l2"] < 0.02
    # The declaration keeps the weights that it was given.
    assert all(torch.equal(a, b) for a, b in zip(own.parameters(), before, strict=True))


class Given(hp.Field):
    """A field without weights, from a formula."""

    def __init__(self, function):
        super().__init__()
        self.inner = hp.nets.KnownFunction(function)

    def dimwise(self, t, x, order):
        return self.inner.dimwise(t, x, order)


@pytest.mark.parametrize(
    ("domain", "function", "conserved", "expected"),
    [
        (hp.Box((0.0, -1.0), (2.0, 1.0)), lambda t, x: x[..., 0], lambda u: u, 4.0),
        (hp.Ball((0.0, 0.0, 0.0), 2.0), lambda t, x: 1 + 0 * t, lambda u: u, 32 / 3 * math.pi),
        (
            hp.Space(4),
            lambda t, x: -0.5 * (x - 0.3).square().sum(-1) / 0.5 - 2 * math.log(math.pi),
            torch.exp,
            1.0,
        ),
    ],
)
def test_integrals_over_each_domain(domain, function, conserved, expected):
    problem = hp.PDEProblem(
        name="given", domain=domain, time=(0.0, 1.0), field=Given(function),
        residual=lambda u, t, x: u.dt, mass=conserved,
    )  # fmt: skip
    network = problem.networks["u"]
    # In the coordinates of the domain, which a network is given scaled.
    centre, scale = domain.centre, domain.scale
    scaled = dataclasses.replace(
        problem, field=Given(lambda t, x: network((t + 1) / 2, centre + scale * x))
    )
    fit = scaled.begin(DOUBLE)
    _, mass = masses(fit, conserved)
    torch.testing.assert_close(mass, torch.full_like(mass, expected), rtol=2e-3, atol=0)


def test_more_freedom_than_points_is_said(tmp_path):
    solve = hp.Solve(interior=12, refresh=1000, checks=5, gauss_newton=hp.GaussNewton(steps=30))
    run = hp.fit(rod(solve=solve), tmp_path / "run")
    assert "more freedom than solve.interior" in run.verdict[0]
    assert not hp.fit(rod(), tmp_path / "enough").verdict


def test_conditions_are_on_scalar_fields():
    fields = {"u": NET, "q": hp.Hollow()}
    problem = rod(
        field=fields, residual=lambda u, q, t, x: u.dt - q.divergence,
        conditions={"c": hp.Dirichlet(0.0, field="q")}, domain=hp.Box((0.0,) * 2, (1.0,) * 2),
        exact=None,
    )  # fmt: skip
    with pytest.raises(hp.InputError, match="'q' is a vector field"):
        problem.begin(DOUBLE)


@pytest.mark.parametrize("name", ["mass", "not a name", "a.b"])
def test_names_of_unknowns_are_keywords(name):
    with pytest.raises(hp.InputError, match="keyword argument"):
        rod(unknowns={name: hp.Unknown()})


def test_a_wall_given_twice_vanishes_once():
    left = hp.Dirichlet(0.0, side=Side(0, upper=False))
    conditions = {"start": hp.Initial(sine), "a": left, "b": left}
    fit = rod(conditions=conditions).begin(DOUBLE)
    _, slope = hp.dimwise(fit.model.solution.fields["u"], 0.7, torch.zeros(1, 1).double())
    assert abs(float(slope.detach()) - math.pi) > 1e-3
