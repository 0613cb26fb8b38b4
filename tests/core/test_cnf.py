"""Continuous normalising flows against brute force, closed forms and integrals."""

import copy
import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm
from torch import nn
from torch.distributions import MultivariateNormal

import hollowpde as hp
from hollowpde.densities.cnf import Along, Watched, per_sample
from hollowpde.testing import redrawn
from hollowpde.testing.common import agree, points
from tests.core.families import NETWORKS, networks

DOUBLE = torch.float64
FINE = hp.Dopri5(1e-9, 1e-9)
SMALL = {"conditioner": hp.MaskedMLP(hidden=(8,), features=4), "transformer": hp.SharedMLP((8,))}


def small(dim=2, seed=0, **arguments):
    """A flow of a small network that is not near zero anywhere."""
    return hp.CNF(redrawn(hp.HollowNet(dim, **SMALL), seed), solver=FINE, **arguments)


def places(n=4, dim=2, seed=0):
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


@pytest.mark.parametrize(("conditioner", "transformer"), NETWORKS)
@settings(max_examples=2)
@given(data=st.data())
def test_the_exact_trace_is_that_of_brute_force(conditioner, transformer, data):
    """In every family: densities, and gradients by parameters and x, of independent copies."""
    make = data.draw(networks(conditioner, transformer, st.integers(1, 4)))
    net = redrawn(make())
    x = places(3, net.dim)
    results = []
    for trace in (hp.ExactTrace(), hp.BruteForceTrace()):
        own, y = copy.deepcopy(net), x.clone().requires_grad_()
        flow = hp.CNF(own, trace=trace, solver=hp.RK4(3))
        flow = flow.given(torch.linspace(-1, 1, 2, dtype=DOUBLE)) if net.context else flow
        value = flow.log_prob(y)
        wanted = [y, *own.parameters()]
        gradients = torch.autograd.grad(value.sum(), wanted, materialize_grads=True)
        results.append((value, *gradients))
    for got, expected in zip(*results, strict=True):
        agree("exact", got, expected, 1e-9)


class Turning(nn.Module):
    """v = A x + b, in no way hollow."""

    A = torch.tensor([[-0.5, 1.2], [-0.7, 0.3]], dtype=DOUBLE)
    b = torch.tensor([0.4, -1.0], dtype=DOUBLE)

    def forward(self, t, x):
        return x @ self.A.T + self.b


@pytest.mark.parametrize("solver", [FINE, hp.RK4(100)])
@pytest.mark.parametrize("end", [1.0, -0.6])
def test_a_linear_velocity_carries_a_normal_density(solver, end):
    """In closed form, forwards and backwards in time."""
    flow = hp.CNF(
        Turning(), 2, interval=(0.5, end), trace=hp.BruteForceTrace(), solver=solver
    ).double()
    T = end - 0.5
    F = torch.as_tensor(expm(Turning.A.numpy() * T))
    mean = torch.linalg.solve(Turning.A, (F - torch.eye(2)) @ Turning.b)
    exact = MultivariateNormal(mean, F @ F.T)
    x = places(6)
    agree("log_prob", flow.log_prob(x), exact.log_prob(x), 1e-6)
    agree("score", flow.score(x), torch.linalg.solve(F @ F.T, (mean - x).T).T, 1e-6)
    draws = flow.sample(20_000, generator=torch.Generator().manual_seed(0))
    assert (draws.mean(0) - mean).abs().max() < 0.05
    assert (draws.T.cov() - F @ F.T).abs().max() < 0.08
    # Halfway, by the same flow; each point at a time of its own.
    t = torch.linspace(0.5, end, 6, dtype=DOUBLE)
    for k in (0, 3, 5):
        F = torch.as_tensor(expm(Turning.A.numpy() * float(t[k] - 0.5)))
        mean = torch.linalg.solve(Turning.A, (F - torch.eye(2)) @ Turning.b)
        expected = MultivariateNormal(mean, F @ F.T).log_prob(x[k])
        agree("log_prob", flow.log_prob(t, x)[k], expected, 1e-6)


@pytest.mark.parametrize("t", [0.0, 0.4, 1.0])
def test_it_integrates_to_one_at_all_times(t):
    flow = small(seed=1).using(solver=hp.RK4(10))
    axis = torch.linspace(-9, 9, 121, dtype=DOUBLE)
    nodes = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        total = flow.log_prob(t, nodes).exp().sum() * (axis[1] - axis[0]) ** 2
    assert total.item() == pytest.approx(1, abs=1e-3)


def test_samples_and_back_again():
    flow = small(3)
    generator = torch.Generator().manual_seed(0)
    x0 = flow.base.double().sample(0.0, 50, generator)
    x = flow.push_forward(0.8, x0)
    back = flow.pull_back(0.8, x)
    agree("the start", back.x, x0, 1e-7)
    # By the determinant of the whole map, which no trace has touched.
    for k in range(3):
        map_of = torch.autograd.functional.jacobian(lambda y: flow.push_forward(0.8, y), x0[k])
        log_det = torch.linalg.slogdet(map_of)[1]
        agree("the determinant", back.divergence[k], log_det, 1e-6)
    again = flow.sample(0.8, 50, torch.Generator().manual_seed(0))
    agree("samples", again, x, 1e-12)


@pytest.mark.parametrize("t", [1.0, torch.tensor([0.0, 0.3, 0.7, 1.0])])
def test_the_score_is_the_gradient(t):
    flow, x = small(), places().requires_grad_()
    (expected,) = torch.autograd.grad(flow.log_prob(t, x).sum(), x)
    agree("score", flow.score(t, x), expected, 1e-6)
    with torch.no_grad():
        score = flow.score(t, x)
    agree("score, not recorded", score, expected, 1e-6)
    assert not score.requires_grad


def test_losses_of_the_score_train():
    """Derivatives of the score by the parameters and x, against those of twice autograd."""
    flow, x = small(), places(2).requires_grad_()
    (score,) = torch.autograd.grad(flow.log_prob(x).sum(), x, create_graph=True)
    weights = [*flow.velocity.parameters(), x]
    expected = torch.autograd.grad(score.square().sum(), weights, materialize_grads=True)
    got = torch.autograd.grad(flow.score(x).square().sum(), weights, materialize_grads=True)
    for a, b in zip(got, expected, strict=True):
        agree("gradient", a, b, 1e-5)


@pytest.mark.parametrize(
    "trace", [hp.ExactTrace(), hp.BruteForceTrace(), hp.HutchinsonTrace(probes=2)]
)
def test_gradients_are_those_of_finite_differences(trace):
    sizes = {"conditioner": hp.MaskedMLP((3,), 2), "transformer": hp.SharedMLP((3,))}
    flow = hp.CNF(redrawn(hp.HollowNet(2, **sizes)), trace=trace, solver=hp.RK4(2))
    weights = list(flow.velocity.parameters())

    def value(x, *_):
        return flow.log_prob(0.7, x, generator=torch.Generator().manual_seed(0))

    assert torch.autograd.gradcheck(value, (places(2).requires_grad_(), *weights))


def test_continuity_and_second_derivatives():
    flow = small().using(solver=hp.RK4(20))
    t, x = points(2, (3,), 0)
    values, slopes = flow.in_time(t, x, 1)
    h = 1e-4
    for k, part in enumerate(slopes):
        expected = (flow.dimwise(t + h, x, 1)[k] - flow.dimwise(t - h, x, 1)[k]) / (2 * h)
        agree("d/dt", part, expected, 1e-5)
    agree("value", values[0], flow.log_prob(t, x), 1e-9)
    d2 = flow.dimwise(t, x, 2)[2]
    for j in (0, 1):
        step = torch.zeros(2, dtype=DOUBLE)
        step[j] = h
        expected = (flow.score(t, x + step) - flow.score(t, x - step))[:, j] / (2 * h)
        agree("second derivative", d2[:, j], expected, 1e-5)


def test_the_adjoint_gives_the_same_gradients():
    net = redrawn(hp.HollowNet(2, context=2, **SMALL))
    context = torch.randn(2, dtype=DOUBLE)
    results = []
    for adjoint in (False, True):
        c, t = (y.clone().requires_grad_() for y in (context, torch.tensor([0.4, 0.9]).double()))
        x = places(2).requires_grad_()
        flow = hp.CNF(net, solver=hp.Dopri5(1e-9, 1e-9, adjoint=adjoint)).given(c)
        loss = flow.log_prob(t, x).square().sum() + flow.score(t, x).square().sum()
        results.append(torch.autograd.grad(loss, [x, c, t, *net.parameters()]))
    for a, b in zip(*results, strict=True):
        agree("gradient", a, b, 1e-5)


def test_the_adjoint_is_not_differentiated_twice():
    flow = small().using(solver=hp.Dopri5(adjoint=True))
    x = places().requires_grad_()
    value = flow.log_prob(x).sum()
    with pytest.raises(hp.UnsupportedError, match="once only"):
        torch.autograd.grad(value, x, create_graph=True)
    with pytest.raises(hp.UnsupportedError, match="once only"):
        flow.dimwise(torch.tensor(1.0), x, 2)


def test_hutchinson_is_unbiased_and_fixed_within_a_solve():
    flow, x = small(), places(1).expand(4000, 2)
    exact = flow.pull_back(1.0, x[:1]).divergence
    for distribution in (hp.hutchinson.rademacher, hp.hutchinson.gaussian):
        other = flow.using(hp.HutchinsonTrace(distribution=distribution), hp.RK4(8))
        with torch.no_grad():
            drawn = other.pull_back(1.0, x, generator=torch.Generator().manual_seed(0)).divergence
        assert (drawn.mean() - exact).abs() < 5 * drawn.std() / math.sqrt(4000)
        # Probes drawn anew at each of 32 evaluations would average out.
        assert drawn.std() > 0.05
    few, many = (
        flow.using(hp.HutchinsonTrace(probes=p), hp.RK4(8)).log_prob(x[:500]).std() for p in (1, 9)
    )
    assert 2 < few / many < 4.5
    a, b = (other.log_prob(x[:3], generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(a, b)


def test_weights_are_evaluated_with_any_trace():
    trained = small(trace=hp.HutchinsonTrace())
    other = small(seed=3)
    other.load_state_dict(trained.state_dict())
    agree("log_prob", other.log_prob(places()), trained.using(hp.ExactTrace()).log_prob(places()))


class Counted:
    """A velocity whose samples decay at rates of their own."""

    def __init__(self, rates):
        self.rates = torch.as_tensor(rates, dtype=DOUBLE)

    def __call__(self, t, x):
        return self.rates[:, None] * torch.sin(9 * t[..., None] + x)


def test_a_tolerance_holds_for_each_sample():
    """One hard sample among many easy ones is solved as well as it is alone, no worse."""
    hard = hp.CNF(Counted([8.0]), 2, trace=hp.BruteForceTrace(), solver=hp.Dopri5(1e-4, 1e-4))
    x = places(400)
    alone, exact = hard.log_prob(x[:1]), hard.using(solver=FINE).log_prob(x[:1])
    steps = hard.nfe
    easy = hp.CNF(Counted([8.0] + [0.0] * 399), 2, trace=hard.trace, solver=hard.solver)
    among = easy.log_prob(x)[:1]
    assert easy.nfe == steps
    agree("among others", among, alone, 1e-6)  # the first step is guessed from all
    assert (alone - exact).abs() < 1e-2  # of a log-density of -26


def test_the_norm_of_errors_is_not_diluted():
    x, scalar = torch.zeros(1000, 4), torch.zeros(1000)
    x[7] = 2.0
    assert per_sample((x, scalar)) == 2
    scalar[3] = 3.0
    assert per_sample((x, scalar)) == 3
    score = torch.zeros_like(x)
    score[5, 0] = 8.0
    assert per_sample((x, score)) == 4  # a root mean square, over 4 dimensions
    assert per_sample((torch.ones(4), torch.tensor(2.0))) == 2


def test_evaluations_are_counted():
    calls = []

    def velocity(t, x):
        calls.append(1)
        return -x

    flow = hp.CNF(velocity, 2, trace=hp.HutchinsonTrace())
    for use in (flow.log_prob, flow.score):
        calls.clear()
        use(places().float())
        assert flow.nfe == len(calls) > 0
    flow.using(solver=hp.RK4(5)).sample(3)
    rk4 = flow.using(solver=hp.RK4(5))
    rk4.log_prob(places())
    assert rk4.nfe == 20


@pytest.mark.parametrize("solver", [hp.Dopri5(max_steps=60), hp.RK4(8)])
def test_failures_name_the_sample_and_the_time(solver):
    x = torch.tensor([[0.1, 0.0], [0.2, 0.0], [2.0, 0.0]])
    holes = hp.CNF(
        lambda t, x: torch.where((x > 1) & (t[..., None] < 0.7), torch.nan, x - x),
        2, trace=hp.BruteForceTrace(), solver=solver,
    )  # fmt: skip
    with pytest.raises(hp.SolverError, match=r"sample 2, at t = 0\.\d+ and x = \(2, 0\)"):
        holes.log_prob(x)
    assert torch.isfinite(holes.log_prob(x[:2])).all()
    steep = holes.using(solver=solver)
    steep.velocity = lambda t, x: -30 * x**5
    with pytest.raises(hp.SolverError, match=r"sample 2, at t = .*: .*(raise|loosen)"):
        steep.log_prob(x)


def test_the_adjoint_stops_too():
    """A backward equation that is far harder than the forward one."""

    class Hard(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.view_as(x)

        @staticmethod
        def backward(ctx, g):
            return 1e5 * g

    flow = hp.CNF(lambda t, x: Hard.apply(x), 1, solver=hp.Dopri5(adjoint=True, max_steps=20))
    x = torch.ones(1, 1, requires_grad=True)
    with pytest.raises(hp.SolverError, match="the adjoint of the flow needs more than 20 steps"):
        flow.push_forward(1.0, x).sum().backward()


@pytest.mark.parametrize("end", [1.0, -2.0])
def test_penalties(end):
    """Of x' = A x + b, by quadrature."""
    flow = hp.CNF(
        Turning(), 2, interval=(0.0, end), trace=hp.BruteForceTrace(), solver=hp.RK4(20)
    ).double()
    x0 = places(3)
    penalties = (hp.KineticEnergy(0.1), hp.JacobianNorm(0.1))
    x = flow.push_forward(end, x0)
    generator = torch.Generator().manual_seed(0)
    value, (kinetic, norm) = flow.with_penalties(end, x, penalties, generator)
    agree("log_prob", value, flow.log_prob(x), 1e-7)
    times = torch.linspace(0, end, 81, dtype=DOUBLE)
    speed = torch.stack([Turning()(t, flow.push_forward(t, x0)) for t in times])
    energy = torch.trapezoid(speed.square().mean(-1) / 2, dx=abs(end) / 80, dim=0)
    agree("kinetic energy", kinetic, energy, 1e-3)
    # One probe e of signs: |A^T e|^2 / d, without bias.
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=DOUBLE)
    possible = abs(end) * (signs @ Turning.A).square().mean(-1)
    assert (norm.unsqueeze(-1) - possible).abs().amin(-1).max() < 1e-6
    agree("their mean", possible.mean(), abs(end) * Turning.A.square().sum() / 2)


def test_contexts():
    net = redrawn(hp.HollowNet(2, context=3, **SMALL))
    flow = hp.CNF(net, solver=hp.RK4(6))
    contexts = torch.randn(5, 3, dtype=DOUBLE)
    rows = flow.given(contexts)
    x = rows.sample(7, generator=torch.Generator().manual_seed(0))
    assert x.shape == (7, 5, 2) == (7, *rows.batch_shape, 2)
    each = torch.stack([flow.given(c).log_prob(x[:, k]) for k, c in enumerate(contexts)], 1)
    agree("log_prob", rows.log_prob(x), each)
    with pytest.raises(hp.InputError, match=r"net.given\(context\)"):
        flow.log_prob(places())
    with pytest.raises(hp.InputError, match="given needs a velocity with a context"):
        small().given(contexts)


def test_samples_have_gradients_and_shapes():
    flow = small().using(solver=hp.RK4(4))
    draws = flow.rsample((3, 4), generator=torch.Generator().manual_seed(0))
    assert draws.shape == (3, 4, 2) and draws.requires_grad
    weights = list(flow.velocity.parameters())
    got = torch.autograd.grad(draws.square().sum(), weights, materialize_grads=True)
    h = 1e-6
    with torch.no_grad():
        direction = [torch.randn_like(w) for w in weights]
        ends = []
        for sign in (1, -1):
            moved = copy.deepcopy(flow)
            for w, v in zip(moved.velocity.parameters(), direction, strict=True):
                w += sign * h * v
            x = moved.sample((3, 4), generator=torch.Generator().manual_seed(0))
            ends.append(x.square().sum())
    expected = sum((g * v).sum() for g, v in zip(got, direction, strict=True))
    agree("gradient", expected, (ends[0] - ends[1]) / (2 * h), 1e-5)
    t = torch.tensor([0.2, 0.9], dtype=DOUBLE)
    assert flow.sample().shape == (2,) and flow.sample(3).shape == (3, 2)
    assert flow.sample(t, 3).shape == (3, 2, 2) and flow.sample(0.2, 3).shape == (3, 2)
    assert not flow.sample(3).requires_grad


def test_a_learned_base_and_marginals():
    base = hp.GaussianMixture(2, 2)
    flow = hp.CNF(hp.HollowNet(2, **SMALL), base=base, interval=(-1.0, 1.0)).double()
    data = places(500).numpy() * 0.1 + 3
    flow.start_from(data, 0)
    x = flow.sample(-1.0, 2000, torch.Generator().manual_seed(0))
    assert (x.mean(0) - 3).abs().max() < 0.1
    agree("at the start", flow.log_prob(-1.0, x[:5]), base.log_prob(-1.0, x[:5]))
    t = torch.tensor([-1.0, -1.0, 0.5]).double()
    marginal = flow.marginal_log_prob(t, x[:3])
    expected = base.marginal_log_prob(-1.0, x[:2])
    assert (marginal[:2] - expected).abs().max() < 0.4
    with pytest.raises(hp.UnsupportedError, match="64 times at most"):
        flow.marginal_log_prob(torch.rand(100).double(), x[:100])
    line = small(1)
    agree("in one dimension", line.marginal_log_prob(0.5, places(4, 1))[:, 0],
          line.log_prob(0.5, places(4, 1)))  # fmt: skip


def test_single_precision_and_single_points():
    flow = small().float()
    assert flow.log_prob(torch.zeros(2)).shape == ()
    assert flow.score(torch.zeros(2)).dtype == torch.float32
    assert flow.log_prob(torch.zeros(3, 4, 2)).shape == (3, 4)


BAD = {
    "dim must be given": lambda: hp.CNF(lambda t, x: x),
    "dim is 3, but": lambda: hp.CNF(hp.HollowNet(2), 3),
    "trace must have a method begin": lambda: hp.CNF(hp.HollowNet(2), trace="exact"),
    "solver must have a method": lambda: hp.CNF(hp.HollowNet(2), solver="dopri5"),
    "interval must be two different": lambda: hp.CNF(hp.HollowNet(2), interval=(1.0, 1.0)),
    "rtol and atol must be positive": lambda: hp.Dopri5(rtol=0.0),
    "max_steps must be": lambda: hp.Dopri5(max_steps=0),
    "steps must be at least 1": lambda: hp.RK4(0),
    "probes must be at least 1": lambda: hp.HutchinsonTrace(0),
    "weight must not be negative": lambda: hp.KineticEnergy(-1.0),
    "x must be a tensor": lambda: hp.CNF(hp.HollowNet(2)).log_prob(3.0),
    "x must have 2 columns": lambda: hp.CNF(hp.HollowNet(2)).log_prob(torch.zeros(4, 3)),
    "t must be a scalar or": lambda: hp.CNF(hp.HollowNet(2)).log_prob(
        torch.zeros(3), torch.zeros(4, 2)
    ),
    "sample takes a shape": lambda: hp.CNF(hp.HollowNet(2)).sample(0.5),
    "dim must be at least 1": lambda: hp.StandardNormal(0),
}


@pytest.mark.parametrize("message", BAD)
def test_errors(message):
    with pytest.raises(hp.InputError, match=re.escape(message)):
        BAD[message]()


def test_a_watch_counts_both_ways():
    """The steps of a backward solve are counted from zero."""
    flow = Along(lambda t, x: -x, 0.0, torch.tensor(1.0))
    watched = Watched(flow, 3, "the advice")
    state = (torch.ones(1, 1),)
    for _ in range(3):
        watched.callback_step(torch.tensor(0.0), state, torch.tensor(0.1))
    watched.finished()
    watched.callback_step_adjoint(torch.tensor(0.0), state, torch.tensor(0.1))
    with pytest.raises(
        hp.SolverError, match=r"more than 3 steps, the last of size 0\.1: the advice"
    ):
        for _ in range(3):
            watched.callback_step_adjoint(torch.tensor(0.0), state, torch.tensor(0.1))


IMPLICIT = {
    "BDF": hp.JacobiNewtonBDF(),
    "ESDIRK": hp.ESDIRK43(),
    "functional": hp.AdamsMoulton(inner=hp.FunctionalIteration()),
    "explicit": hp.RungeKutta(),
}


@pytest.mark.parametrize("method", IMPLICIT.values(), ids=IMPLICIT)
@pytest.mark.parametrize("dim", [1, 3])
def test_methods_of_initial_value_problems_carry_flows(method, dim):
    flow, x = small(dim=dim, seed=2), places(6, dim)
    other = flow.using(solver=hp.SolveIVP(method, rtol=1e-8, atol=1e-8))
    torch.testing.assert_close(other.log_prob(x), flow.log_prob(x), atol=1e-5, rtol=1e-5)
    assert other.nfe > 10
    torch.testing.assert_close(
        other.sample(4, generator=torch.Generator().manual_seed(0)),
        flow.sample(4, generator=torch.Generator().manual_seed(0)),
        atol=1e-5, rtol=1e-5,
    )  # fmt: skip


def test_gradients_of_an_implicit_flow_are_those_of_the_explicit_one():
    flow, x = small(dim=2, seed=2), places(5, 2)
    other = flow.using(solver=hp.SolveIVP(hp.ESDIRK43(), rtol=1e-9, atol=1e-9))
    wanted, found = (
        torch.autograd.grad(
            f.with_penalties(1.0, x, [hp.KineticEnergy()])[0].sum(),
            list(flow.velocity.parameters()), allow_unused=True, materialize_grads=True,
        )
        for f in (flow, other)
    )  # fmt: skip
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_a_stiff_flow_takes_fewer_evaluations_by_an_implicit_method():
    """A velocity that pulls the second coordinate to the first, at the rate of 1000."""

    class Stiff(hp.Field):
        def dimwise(self, t, x, order):
            pull = x.flip(-1) * torch.tensor([0.0, 1000.0]).to(x)
            rate = torch.tensor([-0.5, -1000.0]).to(x)
            return (rate * x + pull, rate.expand_as(x))[: order + 1]

    flow = hp.CNF(Stiff(), 2, base=hp.StandardNormal(2).double())
    flow.solver, x = hp.Dopri5(1e-5, 1e-5, max_steps=5000), places(3, 2)
    with torch.no_grad():
        wanted, slow = flow.push_forward(1.0, x), flow.nfe
        implicit = flow.using(solver=hp.JacobiNewtonBDF())
        torch.testing.assert_close(implicit.push_forward(1.0, x), wanted, atol=1e-3, rtol=1e-3)
    assert implicit.nfe < slow / 5


def test_an_implicit_flow_refuses_what_it_cannot_do():
    flow, x = small(dim=2).using(solver=hp.JacobiNewtonBDF()), places(4, 2)
    assert flow.log_prob(x[:0]).shape == (0,)
    with pytest.raises(hp.UnsupportedError, match="no score"):
        flow.score(x)
    for other, t in ((flow, torch.rand(4).double()), (flow.using(hp.HutchinsonTrace()), 1.0)):
        with pytest.raises(hp.UnsupportedError, match="samples that are alike"):
            other.log_prob(t, x)
    with pytest.raises(hp.SolverError, match="share of its way"):
        flow.using(solver=hp.SolveIVP(max_steps=1)).log_prob(x)
    with pytest.raises(hp.InputError, match="must be positive"):
        hp.SolveIVP(rtol=0.0)
