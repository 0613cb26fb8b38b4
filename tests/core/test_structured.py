"""Fields with a structure that the user knows, against brute force, closed forms and Ito."""

import math

import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

import hollowpde as hp
import hollowpde.testing as checks
from hollowpde.data import Standardisation
from hollowpde.densities import FromLogDensity
from hollowpde.errors import InputError
from hollowpde.nets import (
    ConstantField,
    FromFunction,
    FromLogDiffusion,
    FromLogDrift,
    GradientField,
    LinearField,
    Masked,
    Sum,
    SymmetricField,
    ToLogDiffusion,
    ToLogDrift,
    as_field,
)
from hollowpde.problem.sde.units import InUnits, PhysicalField
from hollowpde.testing.common import agree, points, redrawn

from .families import Explicit

SEEDS = st.integers(0, 10_000)
DOUBLE = torch.float64


class Oscillator(nn.Module):
    """A parametric drift as a user writes it: each component of all of y, and of t."""

    def __init__(self):
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(1.3))
        self.level = nn.Parameter(torch.tensor(0.4))

    def forward(self, t, y):
        shared = y.sum(-1, keepdim=True).tanh()
        return self.rate * (torch.sin(t) - y**3 / 10) + self.level * shared * y


class SDE(nn.Module):
    """The torchsde protocol, with a method for the drift."""

    def __init__(self):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(0.7))

    def f(self, t, y):
        return -self.theta * y


def alternating(dim):
    return [i % 2 == 0 for i in range(dim)]


def units(dim):
    made = Standardisation(dim)
    made.shift.copy_(torch.linspace(-1.0, 2.0, dim))
    made.scale.copy_(torch.linspace(0.5, 1.5, dim))
    made.t_shift.fill_(0.3)
    made.t_scale.fill_(1.7)
    return made


def small(dim):
    return hp.HollowNet(
        dim,
        conditioner=hp.MaskedMLP(hidden=(5,), features=3),
        transformer=hp.SharedMLP(hidden=(4,)),
    )


def potential(dim):
    return hp.SeparableNet(dim, features=2, inner=(3,), outer=(4,))


FIELDS = {
    "linear": LinearField,
    "constant": ConstantField,
    "constant diffusion": lambda d: hp.Positive(ConstantField(d)),
    "symmetric": SymmetricField,
    "gradient": lambda d: GradientField(potential(d)),
    "gradient of products": lambda d: GradientField(hp.ProductNet(d, rank=2, inner=(3,))),
    "sum": lambda d: Sum(LinearField(d), small(d), FromFunction(Oscillator())),
    "sum of scalars": lambda d: Sum(potential(d), hp.GaussianMixture(d, 2, hidden=3)),
    "masked": lambda d: Masked(small(d), alternating(d)),
    "function": lambda d: FromFunction(Oscillator()),
    "units": lambda d: InUnits(small(d), units(d), power=1),
    "units of a function": lambda d: InUnits(Oscillator(), units(d), power=2),
    "from log drift": lambda d: FromLogDrift(small(d), ConstantField(d), alternating(d)),
    "from log diffusion": lambda d: FromLogDiffusion(small(d), alternating(d)),
    "to log drift": lambda d: ToLogDrift(small(d), Oscillator(), alternating(d)),
    "to log diffusion": lambda d: ToLogDiffusion(small(d), alternating(d)),
}
# What only passes on, or negates, what other fields are tested to give.
SIMPLE = {"constant", "constant diffusion", "gradient of products", "sum of scalars", "masked"}
kinds = pytest.mark.parametrize("kind", FIELDS)


def against_brute_force(field, t, x, order=3):
    got = hp.dimwise(field, t, x, order=order)
    expected = hp.reference.dimwise(field, t, x, order=order)
    for k, (a, b) in enumerate(zip(got, expected, strict=True)):
        agree(f"order {k}", a, b, 1e-9)


@kinds
@settings(max_examples=3)
@given(dim=st.integers(1, 5), seed=SEEDS)
def test_derivatives(kind, dim, seed):
    checks.check_derivatives(FIELDS[kind](dim), dim=dim, seed=seed)


@kinds
def test_gradients(kind):
    checks.check_gradients(FIELDS[kind](3), dim=3, seed=1)


@pytest.mark.parametrize("kind", [kind for kind in FIELDS if kind not in SIMPLE])
def test_derivatives_of_derivatives(kind):
    checks.check_gradgrad(FIELDS[kind](2), dim=2, seed=2)


@kinds
def test_weights_in_a_file(kind):
    checks.check_roundtrip(FIELDS[kind](3), make=lambda: FIELDS[kind](3), dim=3)


@kinds
@pytest.mark.parametrize("order", [0, 2])
def test_in_time(kind, order):
    field = redrawn(FIELDS[kind](3), 3)
    got = hp.dimwise_in_time(_deferred(field, kind), *points(3, (4,), 3), order=order)
    expected = hp.reference.dimwise_in_time(field, *points(3, (4,), 3), order=order)
    for a, b in zip(got, expected, strict=True):
        for k, (p, q) in enumerate(zip(a, b, strict=True)):
            agree(f"order {k}", p, q, 1e-9)


def _deferred(field, kind):
    """As a part of a model is: the last of a sum."""
    return field if kind == "sum of scalars" else Sum(ConstantField(3).double(), field)


@kinds
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_the_dtype_of_points_is_kept(kind, dtype):
    parts = hp.dimwise(FIELDS[kind](2).to(dtype), 0.1, torch.ones(3, 2, dtype=dtype), order=2)
    assert {y.dtype for y in parts} == {dtype}


@kinds
def test_stacked_ensemble(kind):
    """Many copies at once, as bootstrap members are trained: values alone for a function."""
    copies = [redrawn(FIELDS[kind](2), seed) for seed in range(3)]
    stacked, buffers = stack_module_state(copies)
    t, x = points(2, (4,), 0)
    got = vmap(lambda p, b: functional_call(copies[0], (p, b), (t, x)))(stacked, buffers)
    for one, member in zip(got, copies, strict=True):
        agree("a member", one, member(t, x), 1e-12)


def test_linear_and_constant_start_at_zero_and_are_what_they_say():
    x = torch.randn(4, 3)
    assert not LinearField(3)(0.0, x).any() and not ConstantField(3)(0.0, x).any()
    field = redrawn(LinearField(3))
    value, d1, d2 = hp.dimwise(field, 0.0, x.double(), order=2)
    agree("A x + b", value, (field.A @ x.double().T).T + field.b)
    assert torch.equal(d1[1], field.A.diagonal()) and not d2.any()
    agree("the Jacobian", hp.reference.jacobian(field, 0.0, x[0].double()), field.A)


def test_gradient_of_a_known_potential():
    """U = (|x|^2 - 1)^2 / 4 has the force x (1 - |x|^2)."""
    well = Explicit(lambda t, x: (x.square().sum(-1) - 1) ** 2 / 4)
    x = torch.randn(5, 3, dtype=DOUBLE)
    r2 = x.square().sum(-1, keepdim=True)
    force, d1, d2 = hp.dimwise(GradientField(well), 0.0, x, order=2)
    agree("the force", force, x * (1 - r2))
    agree("its slope", d1, 1 - r2 - 2 * x**2)
    agree("its bend", d2, -6 * x)
    jacobian = hp.reference.jacobian(redrawn(GradientField(potential(3))), 0.2, x)
    agree("what a force has by symmetry", jacobian, jacobian.mT)


def test_sum_of_scalars_keeps_the_cheap_laplacian():
    parts = [redrawn(potential(4), s) for s in (1, 2)]
    t, x = points(4, (3,), 0)
    a = torch.tensor([1.0, 0.5, 0.0, 2.0], dtype=DOUBLE)
    expected = sum(hp.reference.laplacian(p, t, x, a) for p in parts)
    agree("the laplacian", hp.laplacian(Sum(*parts), t, x, a), expected)


def test_masked_parts_are_exactly_zero_even_where_the_field_is_infinite():
    field = Masked(Explicit(lambda t, x: 1 / (x * x.prod(-1, keepdim=True))), [False, True])
    for y in hp.dimwise(field, 0.0, torch.tensor([[0.0, 1.0], [2.0, 3.0]]), order=2):
        assert (y[:, 0] == 0).all() and y[1, 1] != 0


def test_underdamped_langevin():
    """x' = v exactly, and noise in v alone."""
    velocity = FromFunction(lambda t, y: y.flip(-1))
    drift = Sum(Masked(velocity, [True, False]), Masked(small(2), [False, True]))
    noise = Masked(hp.Positive(small(2)), [False, True])
    x = torch.randn(6, 2)
    assert torch.equal(drift(0.0, x)[:, 0], x[:, 1])
    assert (noise(0.0, x)[:, 0] == 0).all() and (noise(0.0, x)[:, 1] > 0).all()


def test_a_function_sees_two_axes_and_one_time_for_each_row():
    seen = []

    def f(t, y):
        seen.append((tuple(t.shape), tuple(y.shape)))
        return t * y

    field = FromFunction(f)
    for batch in ((), (4,), (2, 3)):
        t, x = points(3, batch, 0)
        agree("the value", field(t, x), t[..., None] * x)
        agree("one time", field(2.0, x), 2 * x)
    assert set(seen) == {((n, 1), (n, 3)) for n in (1, 4, 6)}


def test_a_method_brings_the_parameters_of_its_module():
    sde = SDE()
    field = InUnits(sde.f, units(2), power=1)
    assert [p is sde.theta for p in field.parameters()] == [True]
    hp.dimwise(field, 0.0, torch.ones(2), order=1)[1].sum().backward()
    assert sde.theta.grad is not None and sde.theta.grad != 0
    copy = redrawn(field)
    assert copy.field.function.__self__ is copy.field.owner is not sde


def test_brute_force_given_on_purpose_is_silent_and_works_within_a_transform():
    """Every warning is an error here; within a transform it is forward mode."""
    field = FromFunction(Oscillator())
    x = torch.randn(3, 2, dtype=torch.float64)
    t = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    hp.jvp(field, 0.0, x, x, time=1.0)
    for order in (1, 2):
        plain = hp.dimwise(field, t, x, order=order)
        within = vmap(lambda s, y, k=order: field.dimwise(s, y, k))(t, x)
        torch.testing.assert_close(within, plain)
    plain = hp.dimwise_in_time(field, t, x, order=1)
    torch.testing.assert_close(vmap(lambda s, y: field.in_time(s, y, 1))(t, x), plain)


@pytest.mark.parametrize("power", [1, 2])
@settings(max_examples=6)
@given(dim=st.integers(1, 4), seed=SEEDS)
def test_units_there_and_back(power, dim, seed):
    """The user's field, standardised and taken back, is the user's field."""
    field, change = redrawn(small(dim), seed), units(dim)
    back = PhysicalField(InUnits(field, change, power), change, power)
    t, x = points(dim, (5,), seed)
    for k, (a, b) in enumerate(
        zip(hp.dimwise(back, t, x, order=3), hp.dimwise(field, t, x, order=3), strict=True)
    ):
        agree(f"order {k}", a, b, 1e-10)


def test_units_by_the_chain_rule():
    """Z = (X - m) / s at tau of dX = a (b - X) dt + c X dW."""
    change = units(2)
    m, s, T = change.shift, change.scale, change.t_scale
    z = torch.randn(4, 2, dtype=DOUBLE)
    drift = InUnits(lambda t, y: 0.6 * (1.5 - y) + t, change, power=1)
    noise = InUnits(lambda t, y: (0.2 * y) ** 2, change, power=2)
    x, tau = m + s * z, torch.tensor(0.25, dtype=DOUBLE)
    agree("drift", drift(tau, z), T * (0.6 * (1.5 - x) + 0.3 + 1.7 * 0.25) / s)
    agree("its slope", hp.dimwise(drift, tau, z, order=1)[1], -0.6 * T + 0 * z)
    agree("noise", noise(tau, z), T * 0.04 * x**2 / s**2)
    agree("its bend", hp.dimwise(noise, tau, z, order=2)[2], 0.08 * T + 0 * z)


def test_units_measured_later_are_seen():
    change = Standardisation(1)
    field = InUnits(lambda t, y: y, change, power=1)
    before = field(0.0, torch.zeros(1))
    change.shift.fill_(4.0)
    assert before == 0 and field(0.0, torch.zeros(1)) == 4


class Season(nn.Module):
    """A daily rhythm of a clock in seconds."""

    def __init__(self):
        super().__init__()
        self.height = nn.Parameter(torch.tensor(2.0))

    def forward(self, t, y):
        return self.height * torch.sin(2 * math.pi * t / 86_400) * y


@pytest.mark.parametrize("kind", ["formula", "module"])
def test_large_time_stamps(kind):
    """In float32 the stamps of one day are 128 s apart at 1.7e9 s: the formula sees none of it."""
    change = Standardisation(1)
    change.t_shift.fill_(1.7e9)
    change.t_scale.fill_(43_200.0)
    season = Season().double()
    field = InUnits(season if kind == "module" else lambda t, y: season(t, y), change, power=1)
    tau = torch.linspace(-1, 1, 41)
    z = torch.ones(41, 1)
    exact = 1.7e9 + 43_200.0 * tau.double().numpy()
    angle = torch.as_tensor(2 * math.pi * (exact / 86_400 % 1.0))
    expected = 2.0 * angle.sin()[:, None] * 43_200.0
    got, slope = hp.dimwise(field, tau, z, order=1)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=0.1)
    torch.testing.assert_close(slope.double(), expected, rtol=1e-5, atol=0.1)
    rate = hp.dimwise_in_time(field, tau, z, order=1)[1][0].double()
    torch.testing.assert_close(
        rate, 2 * math.pi * angle.cos()[:, None] * 43_200.0, rtol=1e-5, atol=0.3
    )


def test_geometric_brownian_motion():
    """f = .3 x and D = (.4 x)^2 are constants of the logarithm, and so are their derivatives 0."""
    f, D = (lambda t, x: 0.3 * x), (lambda t, x: (0.4 * x) ** 2)
    y = torch.tensor([[-2.0], [0.1], [3.0]], dtype=DOUBLE)
    drift = hp.dimwise(ToLogDrift(f, D, [True]), 0.0, y, order=2)
    noise = hp.dimwise(ToLogDiffusion(D, [True]), 0.0, y, order=2)
    agree("drift", drift[0], torch.full_like(y, 0.3 - 0.08))
    agree("noise", noise[0], torch.full_like(y, 0.16))
    for d in (*drift[1:], *noise[1:]):
        agree("a derivative", d, torch.zeros_like(y))


def test_ito_correction_on_simulated_paths():
    """The mean of X under the recovered drift: E dX = E f dt, for log X of constant drift."""
    drift = FromLogDrift(lambda t, y: 0.22 + 0 * y, lambda t, y: 0.16 + 0 * y, [True])
    noise = FromLogDiffusion(lambda t, y: 0.16 + 0 * y, [True])
    dt = 1e-3
    law = scipy.stats.lognorm(s=math.sqrt(0.16 * dt), scale=2.0 * math.exp(0.22 * dt))
    x = torch.tensor([2.0], dtype=DOUBLE)
    assert drift(0.0, x).item() * dt == pytest.approx(law.mean() - 2.0, rel=1e-3)
    assert noise(0.0, x).item() * dt == pytest.approx(law.var(), rel=2e-3)


@settings(max_examples=8)
@given(dim=st.integers(1, 4), seed=SEEDS)
def test_logarithm_there_and_back(dim, seed):
    f, D, mask = redrawn(small(dim), seed), redrawn(small(dim), seed + 1), alternating(dim)
    back = FromLogDrift(f, D, mask), FromLogDiffusion(D, mask)
    t, y = points(dim, (5,), seed)
    x = torch.where(torch.tensor(mask), y.exp(), y)
    against_brute_force(back[0], t, x)
    against_brute_force(back[1], t, x)
    for again, inner in ((ToLogDrift(*back, mask), f), (ToLogDiffusion(back[1], mask), D)):
        for k, (a, b) in enumerate(
            zip(hp.dimwise(again, t, y, order=3), hp.dimwise(inner, t, y, order=3), strict=True)
        ):
            agree(f"order {k}", a, b, 1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_at_and_below_zero_all_is_finite(dtype):
    mask = [True, False]
    field = redrawn(small(2)).to(dtype)
    x = torch.tensor([[0.0, -1.0], [-3.0, 2.0], [1e-12, 0.0], [2.0, -1.0]], dtype=dtype)
    for made in (FromLogDrift(field, field, mask), FromLogDiffusion(field, mask)):
        leaf = x.clone().requires_grad_()
        parts = hp.dimwise(made, 0.0, leaf, order=3)
        assert all(y[[0, 1, 3]].isfinite().all() and y[:, 1].isfinite().all() for y in parts)
        assert (parts[0][:2, 0].abs() < 1e-8).all()
        assert all((y[:2, 0] == 0).all() for y in parts[1:])
        (slope,) = torch.autograd.grad(sum(y[[0, 1, 3]].sum() for y in parts), leaf)
        assert slope.isfinite().all()
        assert made(0.0, torch.tensor([torch.nan, 1.0], dtype=dtype)).isnan().any()


def lognormal():
    """One component, so that the law of the first coordinate is known."""
    return redrawn(hp.GaussianMixture(2, 1, hidden=3), 5)


@torch.no_grad()
def test_density_of_a_lognormal():
    inner = lognormal()
    density = FromLogDensity(inner, [True, False])
    t, y = points(2, (), 1)
    x = torch.stack([y[0].exp(), y[1]])
    _, mean, log_scale = inner._at(t)
    (m0, m1), (s0, s1) = mean[0].tolist(), log_scale[0].exp().tolist()
    laws = scipy.stats.lognorm(s0, scale=math.exp(m0)), scipy.stats.norm(m1, s1)
    expected = sum(law.logpdf(v) for law, v in zip(laws, x.tolist(), strict=True))
    assert density(t, x).item() == pytest.approx(expected, rel=1e-10)
    draws = density.sample(t, 2000, torch.Generator().manual_seed(0))
    for law, column in zip(laws, draws.T.numpy(), strict=True):
        assert scipy.stats.kstest(column, law.cdf).pvalue > 1e-3


@settings(max_examples=6)
@given(dim=st.integers(1, 4), seed=SEEDS)
def test_derivatives_of_the_density(dim, seed):
    mask = alternating(dim)
    density = FromLogDensity(redrawn(hp.GaussianMixture(dim, 3, hidden=4), seed), mask)
    t, y = points(dim, (3,), seed)
    x = torch.where(torch.tensor(mask), y.exp(), y)
    against_brute_force(density, t, x)
    against_brute_force(density, 0.2, x[0])
    got = hp.dimwise_in_time(density, t, x, order=2)
    expected = hp.reference.dimwise_in_time(density, t, x, order=2)
    for a, b in zip(got[1], expected[1], strict=True):
        agree("a slope in time", a, b, 1e-9)


def test_gradients_of_the_density():
    module = _Parts(FromLogDensity(lognormal(), [True, False]))
    names = [name for name, _ in module.named_parameters()]

    def losses(x, *parameters):
        weights = dict(zip(names, parameters, strict=True))
        return tuple(y.sum() for y in functional_call(module, weights, (x,)))

    x = torch.tensor([[0.7, -0.3]], dtype=DOUBLE, requires_grad=True)
    inputs = (x, *(p.detach().clone().requires_grad_() for p in module.parameters()))
    assert torch.autograd.gradcheck(losses, inputs)
    assert torch.autograd.gradgradcheck(losses, inputs)


class _Parts(nn.Module):
    def __init__(self, field):
        super().__init__()
        self.field = field

    def forward(self, x):
        return hp.dimwise(self.field, 0.4, x, order=2)


def test_the_density_is_nothing_where_x_is_not_positive():
    density = FromLogDensity(lognormal().float(), [True, False])
    x = torch.tensor([[0.0, 1.0], [-1.0, 1.0], [1.0, -1.0]], requires_grad=True)
    value, *rest = hp.dimwise(density, 0.0, x, order=2)
    assert value[:2].tolist() == [-math.inf, -math.inf] and value[2].isfinite()
    assert all(y.isfinite().all() for y in rest)
    (slope,) = torch.autograd.grad(sum(y.sum() for y in rest) + value[2], x)
    assert slope.isfinite().all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LinearField(0), "dim must be at least 1"),
        (lambda: ConstantField(0), "dim must be at least 1"),
        (lambda: Sum(), "at least one field"),
        (lambda: Masked(small(2), torch.ones(2)), "keep must hold one boolean"),
        (lambda: FromLogDiffusion(small(2), torch.tensor(True)), "positive must hold one boolean"),
        (lambda: as_field(3.0), r"function must be called as f\(t, y\), but is a float"),
        (lambda: LinearField(2)(0.0, torch.ones(3)), "x must have 2 columns"),
        (lambda: LinearField(2)(0.0, torch.ones(2).double()), "x is torch.float64"),
        (lambda: ConstantField(2)(0.0, torch.ones(3)), "x must have 2 columns"),
        (lambda: ConstantField(2)(0.0, torch.ones(2).double()), "x is torch.float64"),
        (
            lambda: InUnits(lambda t, y: y, units(1), power=1)(0.0, torch.ones(2)),
            "dimension of this Standardisation",
        ),
        (lambda: GradientField(small(2))(0.0, torch.ones(2)), "potential must be a scalar field"),
        (lambda: Sum(small(2), potential(2))(0.0, torch.ones(2, 2)), "all be vector fields"),
        (lambda: Masked(potential(2), [True, True])(0.0, torch.ones(2, 2)), "takes vector fields"),
        (lambda: Masked(small(2), [True])(0.0, torch.ones(2)), "x must have 1 columns"),
        (
            lambda: ToLogDiffusion(small(2), [True])(0.0, torch.ones(2)),
            "dimension of this ToLogDiffusion",
        ),
        (
            lambda: InUnits(potential(2), units(2), power=1)(0.0, torch.ones(2, 2)),
            "InUnits takes vector fields",
        ),
        (
            lambda: FromFunction(lambda t, y: y.new_ones(2))(0.0, torch.ones(2, 2)),
            r"must return the shape \(2, 2\) of y for t of shape \(2, 1\), but returned \(2,\)",
        ),
        (lambda: FromFunction(lambda t, y: 1.0)(0.0, torch.ones(2)), "but returned float"),
    ],
)
def test_errors(make, message):
    with pytest.raises(InputError, match=message):
        make()
