"""Ready-made residuals: zero on exact solutions, and the equation by brute force on others."""

import math
import pickle
import warnings
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev, vmap

import hollowpde as hp
from hollowpde.nets import ConstantField, LinearField
from hollowpde.operators import Field
from hollowpde.problem.settings import plain
from hollowpde.residuals import (
    AdvectionDiffusion,
    AllenCahn,
    AnisotropicHeat,
    BlackScholes,
    Burgers,
    FokkerPlanck,
    HamiltonJacobiBellman,
    Heat,
    LogFokkerPlanck,
    Poisson,
    ReactionDiffusion,
    Residual,
)
from hollowpde.testing import redrawn
from hollowpde.testing.common import agree

# Known functions: those of x `(..., d)` and t `(...)`, and those in the manner of torchsde.


def lamp(t, x):
    return torch.exp(-t) * torch.cos(x[..., 0])


def sines(x):
    return torch.sin(2 * x).prod(-1)


def logistic(u):
    return 1.3 * u * (1 - u)


def relaxing(t, y):
    return -1.3 * y


def growing(t, y):
    return 0.3 * y


def proportional(t, y):
    return 0.16 * y**2


def rotation(t, y):
    return 0.8 * (1 + t) * torch.stack([-y[:, 1], y[:, 0]], dim=1)


def swirling(t, y):
    return torch.sin(y + t) - y * y.roll(1, 1)


def varying(t, y):
    return 0.5 + 0.3 * torch.cos(y - t) * torch.exp(-(y.roll(1, 1) ** 2))


# Exact solutions.


def gaussian(variances, centre=None):
    """A density of independent normals, of variances `(...)` that are functions of t."""

    def p(t, x):
        z = x - (centre(t) if centre else 0.0)
        factors = [
            torch.exp(-0.5 * z[..., i] ** 2 / v(t)) / torch.sqrt(2 * math.pi * v(t))
            for i, v in enumerate(variances)
        ]
        return torch.stack(factors).prod(0)

    return p


def heated(t, x):
    """Fourier modes, and what the lamp adds: u_t - 0.3 u'' = e^-t cos x has -e^-t cos x / 0.7."""
    modes = torch.exp(-0.3 * 5 * t) * torch.sin(2 * x[..., 0]) * torch.cos(x[..., 1])
    return modes - lamp(t, x) / 0.7


def carried(t, x):
    """A mode that is carried by (0.5, -1) while it decays."""
    phase = 2 * (x[..., 0] - 0.5 * t) - (x[..., 1] + t)
    return torch.exp(-0.2 * 5 * t) * torch.sin(phase)


def carried_around(t, x):
    """A Gaussian whose centre goes around at the angle 0.8 (t + t^2 / 2)."""
    angle = 0.8 * (t + t**2 / 2)
    centre = torch.stack([angle.cos(), angle.sin()], dim=-1)
    v = 0.3 + 2 * 0.2 * t
    return torch.exp(-0.5 * (x - centre).square().sum(-1) / v) / v


def membrane(t, x):
    return sines(x) / (4 * x.shape[-1])


def relaxed(dim):
    """The density of dX = -1.3 X dt + sqrt(D) dW, D = 0.49, 0.2."""
    noises, start = (0.49, 0.2)[:dim], 0.16

    def variance(noise):
        def v(t):
            decay = torch.exp(-2.6 * t)
            return start * decay + noise / 2.6 * (1 - decay)

        return v

    return gaussian([variance(n) for n in noises], lambda t: torch.exp(-1.3 * t).unsqueeze(-1))


def log_of(p):
    return lambda t, x: torch.log(p(t, x))


def lognormal(t, x):
    """The density of dX = 0.3 X dt + 0.4 X dW, for each coordinate."""
    v = (0.04 + 0.16 * t).unsqueeze(-1)
    z = x.log() - (0.3 - 0.08) * t.unsqueeze(-1)
    return (torch.exp(-0.5 * z**2 / v) / (x * torch.sqrt(2 * math.pi * v))).prod(-1)


def call_price(t, x):
    """Calls on one asset, struck at 1.1 and due at t = 2."""
    left, sigma, r = 2 - t, 0.3, 0.05
    d2 = (x[..., 0] - math.log(1.1) + (r - sigma**2 / 2) * left) / (sigma * left.sqrt())
    d1 = d2 + sigma * left.sqrt()
    discounted = 1.1 * torch.exp(-r * left)
    return x[..., 0].exp() * normal(d1) - discounted * normal(d2)


def digital_price(t, x):
    """What pays 1 at t = 2 if both assets are above 1, and a call on the first."""
    left, r = 2 - t, 0.05
    out = torch.exp(-r * left)
    for i, sigma in enumerate((0.3, 0.5)):
        out = out * normal((x[..., i] + (r - sigma**2 / 2) * left) / (sigma * left.sqrt()))
    return out + call_price(t, x)


def normal(z):
    return 0.5 * torch.erfc(-z / math.sqrt(2))


def along(x):
    """The coordinate along a unit vector that is no axis."""
    d = x.shape[-1]
    return x[..., 0] if d == 1 else 0.6 * x[..., 0] - 0.8 * x[..., 1]


def front(t, x):
    """Between u = 1 and the unstable u = 0, at the speed 3 sqrt(kappa r / 2)."""
    kappa, r = 0.4, 1.7
    z = along(x) * math.sqrt(r / kappa) - 3 * r * t / math.sqrt(2)
    return 0.5 * (1 - torch.tanh(z / (2 * math.sqrt(2))))


def interface(t, x):
    """Between the phases, at rest."""
    return torch.tanh(along(x) * math.sqrt(1.7 / (2 * 0.4)))


def shock(t, x):
    return 0.7 - 0.9 * torch.tanh(0.9 * (x[..., 0] - 0.7 * t) / (2 * 0.3))


def fisher_wave(t, x):
    """Ablowitz and Zeppetella (1979), at the speed 5 / sqrt(6) in the units of the equation."""
    kappa, r = 0.4, 1.3
    return (1 + torch.exp(along(x) * math.sqrt(r / (6 * kappa)) - 5 * r * t / 6)) ** -2


def cost_to_go(t, x):
    """Cole-Hopf of the cost 0.35 |x|^2 at t = 2, with lambda = 1.5."""
    widening = 1 + 2 * 1.5 * 0.7 * (2 - t)
    return x.shape[-1] / 3 * widening.log() + 0.35 * x.square().sum(-1) / widening


# What solves what, in how many dimensions, and each coefficient a few percent off.
SOLVED = {
    "Heat, a kernel": (
        Heat(0.4),
        gaussian([lambda t: 0.5 + 0.8 * t] * 3),
        3,
        [Heat(0.44), Heat(0.4, 0.05)],
    ),
    "Heat, modes and a lamp": (
        Heat(0.3, lamp),
        heated,
        2,
        [Heat(0.32, lamp), Heat(0.3), Heat(0.3, lambda t, x: 1.05 * lamp(t, x))],
    ),
    "Heat, a number as the source": (
        Heat(1.0, 0.7),
        lambda t, x: 0.9 * t + 0.1 * x[..., 0] ** 2,
        2,
        [Heat(1.05, 0.7), Heat(1.0, 0.75)],
    ),
    "AnisotropicHeat": (
        AnisotropicHeat((0.4, 0.1)),
        gaussian([lambda t: 0.5 + 0.8 * t, lambda t: 0.3 + 0.2 * t]),
        2,
        [AnisotropicHeat((0.42, 0.1)), AnisotropicHeat((0.4, 0.12)), AnisotropicHeat((0.1, 0.4))],
    ),
    "AdvectionDiffusion, constant": (
        AdvectionDiffusion((0.5, -1.0), 0.2),
        carried,
        2,
        [
            AdvectionDiffusion((0.55, -1.0), 0.2),
            AdvectionDiffusion((0.5, -1.05), 0.2),
            AdvectionDiffusion((0.5, -1.0), 0.21),
        ],
    ),
    "AdvectionDiffusion, a flow": (
        AdvectionDiffusion(rotation, 0.2),
        carried_around,
        2,
        [
            AdvectionDiffusion(lambda t, y: 1.05 * rotation(t, y), 0.2),
            AdvectionDiffusion(lambda t, y: rotation(0.9 * t, y), 0.2),
            AdvectionDiffusion(rotation, 0.21),
        ],
    ),
    "Poisson": (
        Poisson(sines),
        membrane,
        3,
        [Poisson(lambda x: 1.05 * sines(x)), Poisson(0.0)],
    ),
    "Poisson, a number": (
        Poisson(-0.6),
        lambda t, x: 0.1 * x.square().sum(-1) + x.prod(-1),
        3,
        [Poisson(-0.65)],
    ),
    "FokkerPlanck, of a line": (
        FokkerPlanck(relaxing, (0.49,)),
        relaxed(1),
        1,
        [FokkerPlanck(relaxing, (0.52,)), FokkerPlanck(lambda t, y: -1.4 * y, (0.49,))],
    ),
    "FokkerPlanck, of Ornstein-Uhlenbeck": (
        FokkerPlanck(relaxing, (0.49, 0.2)),
        relaxed(2),
        2,
        [
            FokkerPlanck(relaxing, (0.49, 0.22)),
            FokkerPlanck(relaxing, lambda t, y: 0.49 + 0 * y),
            FokkerPlanck(lambda t, y: -1.4 * y, (0.49, 0.2)),
            FokkerPlanck(lambda t, y: -1.3 * y + 0.05, (0.49, 0.2)),
        ],
    ),
    "FokkerPlanck, of geometric Brownian motion": (
        FokkerPlanck(growing, proportional),
        lognormal,
        2,
        [
            FokkerPlanck(growing, lambda t, y: 0.17 * y**2),
            FokkerPlanck(growing, lambda t, y: 0.16 * y),
            FokkerPlanck(lambda t, y: 0.33 * y, proportional),
        ],
    ),
    "FokkerPlanck, of a constant drift": (
        FokkerPlanck((0.5, -1.0), (0.8, 0.8)),
        gaussian([lambda t: 0.5 + 0.8 * t] * 2, lambda t: torch.stack([0.5 * t, -t], dim=-1)),
        2,
        [FokkerPlanck((0.55, -1.0), (0.8, 0.8)), FokkerPlanck((0.5, -1.0), (0.8, 0.9))],
    ),
    "LogFokkerPlanck, of Ornstein-Uhlenbeck": (
        LogFokkerPlanck(relaxing, (0.49, 0.2)),
        log_of(relaxed(2)),
        2,
        [
            LogFokkerPlanck(relaxing, (0.49, 0.22)),
            LogFokkerPlanck(lambda t, y: -1.4 * y, (0.49, 0.2)),
            LogFokkerPlanck(lambda t, y: -1.3 * y + 0.05, (0.49, 0.2)),
        ],
    ),
    "LogFokkerPlanck, of geometric Brownian motion": (
        LogFokkerPlanck(growing, proportional),
        log_of(lognormal),
        2,
        [
            LogFokkerPlanck(growing, lambda t, y: 0.17 * y**2),
            LogFokkerPlanck(growing, lambda t, y: 0.16 * y),
            LogFokkerPlanck(lambda t, y: 0.33 * y, proportional),
        ],
    ),
    "BlackScholes, a call": (
        BlackScholes(0.3, 0.05),
        call_price,
        1,
        [BlackScholes(0.33, 0.05), BlackScholes(0.3, 0.07), BlackScholes(0.3, -0.05)],
    ),
    "BlackScholes, two assets": (
        BlackScholes((0.3, 0.5), 0.05),
        digital_price,
        2,
        [
            BlackScholes((0.3, 0.55), 0.05),
            BlackScholes((0.35, 0.5), 0.05),
            BlackScholes(0.3, 0.05),
            BlackScholes((0.3, 0.5), 0.07),
        ],
    ),
    "BlackScholes, one volatility of two assets": (
        BlackScholes(0.3, 0.05),
        lambda t, x: call_price(t, x) - 2 * call_price(t, x.flip(-1)),
        2,
        [BlackScholes((0.3, 0.35), 0.05), BlackScholes(0.33, 0.05)],
    ),
    "AllenCahn, a front": (AllenCahn(0.4, 1.7), front, 1, [AllenCahn(0.42, 1.7)]),
    "AllenCahn, a plane front": (
        AllenCahn(0.4, 1.7),
        front,
        2,
        [AllenCahn(0.42, 1.7), AllenCahn(0.4, 1.8)],
    ),
    "AllenCahn, an interface": (AllenCahn(0.4, 1.7), interface, 2, [AllenCahn(0.42, 1.7)]),
    "Burgers": (Burgers(0.3), shock, 1, [Burgers(0.32), Burgers(0.0)]),
    "ReactionDiffusion": (
        ReactionDiffusion(0.4, logistic),
        fisher_wave,
        2,
        [
            ReactionDiffusion(0.44, logistic),
            ReactionDiffusion(0.4, lambda u: 1.1 * logistic(u)),
        ],
    ),
    "HamiltonJacobiBellman": (
        HamiltonJacobiBellman(1.5),
        cost_to_go,
        3,
        [HamiltonJacobiBellman(1.6), HamiltonJacobiBellman()],
    ),
}


def samples(dim, n=12):
    """Times in [0.2, 1.2], and positive points of order one, where a lognormal lives too."""
    generator = torch.Generator().manual_seed(dim)
    t = 0.2 + torch.rand(n, generator=generator, dtype=torch.float64)
    x = 0.3 + 1.2 * torch.rand(n, dim, generator=generator, dtype=torch.float64)
    return t, x


@pytest.mark.parametrize("case", SOLVED)
def test_exact_solutions(case):
    expression, solution, dim, wrong = SOLVED[case]
    t, x = samples(dim)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", hp.BruteForceWarning)
        left = Residual(expression)
        for _ in range(2):  # the second evaluation opens the jet with what it needs
            assert left([solution], t, x).shape == t.shape
            assert left([solution], t, x).abs().max() < 1e-10
        for other in wrong:
            assert type(other) is type(expression)
            assert Residual(other)([solution], t, x).abs().max() > 1e-3, other


# Each equation again, written down from nested autograd: u is differentiated as a whole, and the
# Fokker-Planck equation is left in its form of a conservation law.


class Terms:
    """u, u_t, and the first and second derivatives of u by plain autograd."""

    def __init__(self, field, t, x):
        self.t, self.x = t.clone().requires_grad_(), x.clone().requires_grad_()
        self.u = field(self.t, self.x)
        self.dt, self.d1 = derivative(self.u, self.t), derivative(self.u, self.x)
        columns = [derivative(self.d1[:, i], self.x)[:, i] for i in range(x.shape[1])]
        self.d2 = torch.stack(columns, dim=1)

    def known(self, function):
        if isinstance(function, tuple):
            return torch.tensor(function).to(self.x).expand_as(self.x)
        if isinstance(function, Field):
            return function(self.t, self.x)
        return function(self.t.unsqueeze(1), self.x)


def derivative(y, z):
    (out,) = torch.autograd.grad(y.sum(), z, create_graph=True, materialize_grads=True)
    return out


def conservation(e, m, p, dt):
    flux, spread = m.known(e.drift) * p[:, None], m.known(e.squared_diffusion) * p[:, None]
    out = dt
    for i in range(m.x.shape[1]):
        bend = derivative(derivative(spread[:, i], m.x)[:, i], m.x)[:, i]
        out = out + derivative(flux[:, i], m.x)[:, i] - 0.5 * bend
    return out


def by_logarithm(e, m):
    p = m.u.exp()
    return conservation(e, m, p, derivative(p, m.t)) / p


def black_scholes(e, m):
    half = 0.5 * torch.tensor(e.volatility).to(m.x) ** 2
    return m.dt + (half * m.d2 + (e.rate - half) * m.d1).sum(1) - e.rate * m.u


BY_HAND = {
    Heat: lambda e, m: m.dt - e.diffusivity * m.d2.sum(1) - e.source(m.t, m.x),
    AnisotropicHeat: lambda e, m: m.dt - m.d2 @ torch.tensor(e.diffusivities).to(m.d2),
    AdvectionDiffusion: lambda e, m: (
        m.dt - e.diffusivity * m.d2.sum(1) + (m.known(e.velocity) * m.d1).sum(1)
    ),
    Poisson: lambda e, m: -m.d2.sum(1) - e.source(m.x),
    FokkerPlanck: lambda e, m: conservation(e, m, m.u, m.dt),
    LogFokkerPlanck: by_logarithm,
    BlackScholes: black_scholes,
    AllenCahn: lambda e, m: m.dt - e.diffusivity * m.d2.sum(1) - e.rate * m.u * (1 - m.u**2),
    Burgers: lambda e, m: m.dt + m.u * m.d1[:, 0] - e.viscosity * m.d2[:, 0],
    ReactionDiffusion: lambda e, m: m.dt - e.diffusivity * m.d2.sum(1) - e.reaction(m.u),
    HamiltonJacobiBellman: lambda e, m: m.dt + m.d2.sum(1) - e.control * (m.d1**2).sum(1),
}


def linear():
    return redrawn(LinearField(2), 5)


def constant():
    return redrawn(hp.Positive(ConstantField(2)), 6)


EXPRESSIONS = [
    (Heat(0.25, lamp), 2),
    (AnisotropicHeat((0.5, 0.25)), 2),
    (AdvectionDiffusion((0.5, -1.0), 0.25), 2),
    (AdvectionDiffusion(rotation, 0.25), 2),
    (AdvectionDiffusion(linear(), 0.25), 2),
    (Poisson(sines), 2),
    (FokkerPlanck(swirling, varying), 2),
    (FokkerPlanck(linear(), constant()), 2),
    (FokkerPlanck((0.5, 0.25), (0.5, 1.0)), 2),
    (LogFokkerPlanck(swirling, varying), 2),
    (LogFokkerPlanck(linear(), constant()), 2),
    (LogFokkerPlanck(swirling, (0.5, 0.25)), 2),
    (BlackScholes(0.5, 0.05), 1),
    (BlackScholes((0.5, 0.25), 0.05), 2),
    (AllenCahn(0.25, 1.5), 2),
    (Burgers(0.25), 1),
    (ReactionDiffusion(0.25, logistic), 2),
    (HamiltonJacobiBellman(1.5), 2),
]


def over(expressions):
    names = [f"{n} {type(e).__name__}" for n, (e, _) in enumerate(expressions)]
    return pytest.mark.parametrize(("expression", "dim"), expressions, ids=names)


def without_fields(expression):
    return not any(isinstance(v, Field) for v in vars(expression).values())


every_expression = over(EXPRESSIONS)
without_parameters = over([(e, d) for e, d in EXPRESSIONS if without_fields(e)])

NETS = {
    # Fewer directions than dimensions in the second: the Laplacian is that of a collapsed sum.
    "SeparableNet": lambda dim: hp.SeparableNet(dim, 3, inner=(4,), outer=(5, 4)),
    "RidgeNet": lambda dim: hp.RidgeNet(dim, (1 if dim > 1 else 4, 6)),
}
every_net = pytest.mark.parametrize("net", NETS)


@every_net
@every_expression
def test_agreement_with_brute_force(expression, dim, net):
    field = redrawn(NETS[net](dim), 3)
    t, x = samples(dim)
    expected = BY_HAND[type(expression)](expression, Terms(field, t, x))
    residual = Residual(expression)
    for _ in range(2):
        agree(repr(expression), residual([field], t, x), expected, 1e-10)


@without_parameters  # which would be in float64
def test_float32_stays_float32(expression, dim):
    field = redrawn(NETS["SeparableNet"](dim), 3)
    t, x = samples(dim)
    precise = Residual(expression)([field], t, x)
    rough = Residual(expression)([field.float()], t.float(), x.float())
    assert rough.dtype == torch.float32
    agree(repr(expression), rough.double(), precise, 1e-4)


class Counted(Field):
    """A field that counts the passes through it."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.passes = inner, []

    def dimwise(self, t, x, order):
        self.passes.append(f"dimwise {order}")
        return self.inner.dimwise(t, x, order)

    def in_time(self, t, x, order):
        self.passes.append(f"in_time {order}")
        return self.inner.in_time(t, x, order)

    def with_laplacian(self, t, x, weights=None):
        self.passes.append("with_laplacian")
        return self.inner.with_laplacian(t, x, weights)


@every_expression
def test_one_pass_in_space_and_one_in_time(expression, dim):
    field, (t, x) = Counted(NETS["SeparableNet"](dim).double()), samples(dim)
    expected = (
        ["with_laplacian"] if type(expression) is Poisson else ["in_time 0", "with_laplacian"]
    )
    residual = Residual(expression)
    expression(hp.Jet(field, t, x), t, x)
    assert sorted(field.passes) == expected
    residual([field], t, x)
    field.passes.clear()
    residual([field], t, x)
    assert sorted(field.passes) == expected


class Evaluated(nn.Module):
    """The residual as the forward pass of a module: what `functional_call` needs."""

    def __init__(self, expression, field):
        super().__init__()
        self.residual, self.field = Residual(expression), field

    def forward(self, t, x):
        return self.residual([self.field], t, x)


@every_net
@every_expression
def test_jacobians_sample_by_sample(expression, dim, net):
    """As the Gauss-Newton method linearises it: one sample at a time, x `(d,)` and t `()`."""
    module = Evaluated(expression, redrawn(NETS[net](dim), 3))
    t, x = samples(dim, 5)
    parameters = {k: v.detach() for k, v in module.named_parameters()}

    def one(p, t, x):
        out = functional_call(module, p, (t, x))
        return out, out

    for _ in range(2):
        rows, values = vmap(jacrev(one, has_aux=True), (None, 0, 0))(parameters, t, x)
        outside = module(t, x)
        agree("the residual", values, outside, 1e-10)
        for n, value in enumerate(outside):
            slopes = torch.autograd.grad(
                value, list(module.parameters()), retain_graph=True, materialize_grads=True
            )
            for name, slope in zip(parameters, slopes, strict=True):
                agree(name, rows[name][n], slope, 1e-9)


# As settings.


@every_expression
def test_they_are_settings(expression, dim):
    copy = pickle.loads(pickle.dumps(expression))
    # The copy of a field is another one.
    assert copy == expression or not without_fields(expression)
    field, (t, x) = redrawn(NETS["SeparableNet"](dim), 3), samples(dim)
    assert torch.equal(Residual(copy)([field], t, x), Residual(expression)([field], t, x))
    shown = plain(expression)
    assert shown["type"] == type(expression).__name__
    assert shown.keys() - {"type"} == vars(expression).keys()
    assert replace(expression) == expression and hash(replace(expression)) == hash(expression)


def test_they_print_and_are_overridden():
    assert repr(Heat(0.5)) == "Heat(diffusivity=0.5, source=None)"
    assert repr(HamiltonJacobiBellman()) == "HamiltonJacobiBellman(control=1.0)"
    assert hp.override(Heat(source=lamp), ["diffusivity=0.1"]) == Heat(0.1, lamp)
    assert hp.override(Burgers(1.0), ["viscosity=2"]) == Burgers(2.0)
    assert hp.override(AnisotropicHeat((1.0,)), ["diffusivities=(1,2)"]).diffusivities == (1, 2)
    assert hp.override(BlackScholes(0.3, 0.0), ["volatility=0.2,0.4"]).volatility == (0.2, 0.4)
    with pytest.raises(hp.InputError, match="viscosity must be a number of at least 0"):
        hp.override(Burgers(1.0), ["viscosity=-2"])


# Errors.


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Heat(-1.0), r"^diffusivity must be a number of at least 0, but is -1\.0\."),
        (lambda: Heat(float("nan")), "diffusivity must be .* but is nan"),
        (lambda: Heat(float("inf")), "diffusivity must be .* but is inf"),
        (lambda: Heat("1"), "diffusivity must be .* but is '1'"),
        (lambda: Heat(True), "diffusivity must be .* but is True"),
        (lambda: Heat(1.0, "hot"), "source must be a finite number, or a function"),
        (lambda: AnisotropicHeat((1.0, -1.0)), r"diffusivities must .* but is \(1\.0, -1\.0\)"),
        (lambda: AnisotropicHeat([1.0, 1.0]), r"must be a tuple, .* write \(1\.0, 0\.5\)"),
        (lambda: AnisotropicHeat(1.0), "diffusivities must be a tuple"),
        (lambda: AnisotropicHeat(()), "diffusivities must be a tuple"),
        (lambda: AdvectionDiffusion((1.0,), -0.1), "diffusivity must be"),
        (lambda: AdvectionDiffusion(1.0, 0.1), "velocity must be a tuple"),
        (lambda: Poisson("sin"), "source must be a finite number, or a function"),
        (lambda: Poisson(None), "source must be a finite number, or a function"),
        (lambda: FokkerPlanck(-1.0, (1.0,)), "drift must be a tuple.* or a function"),
        (lambda: FokkerPlanck(relaxing, (-1.0,)), "squared_diffusion must be"),
        (lambda: LogFokkerPlanck(relaxing, (-1.0,)), "squared_diffusion must be"),
        (lambda: BlackScholes(-0.2, 0.0), "volatility must be a number of at least 0"),
        (lambda: BlackScholes((0.2, -0.2), 0.0), "volatility must be a tuple"),
        (lambda: BlackScholes(0.2, float("nan")), "rate must be a finite number"),
        (lambda: AllenCahn(-1.0), "diffusivity must be"),
        (lambda: AllenCahn(1.0, -1.0), "rate must be"),
        (lambda: Burgers(-0.1), "viscosity must be a number of at least 0, but is -0.1"),
        (lambda: ReactionDiffusion(-1.0, logistic), "diffusivity must be"),
        (lambda: ReactionDiffusion(1.0, 2.0), r"reaction must be a function, called as R\(u\)"),
        (lambda: HamiltonJacobiBellman(-1.0), "control must be"),
    ],
)
def test_refused_when_declared(make, message):
    with pytest.raises(hp.InputError, match=message):
        make()


@pytest.mark.parametrize(
    ("expression", "dim", "message"),
    [
        (
            AnisotropicHeat((1.0, 2.0)),
            3,
            "diffusivities must hold .* the 3 .*holds 2",
        ),
        (
            AdvectionDiffusion((1.0, 2.0), 0.1),
            3,
            "velocity must hold .* the 3",
        ),
        (AdvectionDiffusion(lambda t, y: y[:, 0], 0.1), 2, "must return the shape"),
        (
            FokkerPlanck(relaxing, (1.0,)),
            2,
            "squared_diffusion must hold .* the 2",
        ),
        (FokkerPlanck(hp.SeparableNet(2).double(), (1.0, 1.0)), 2, "drift must return the shape"),
        (LogFokkerPlanck((1.0,), (1.0, 1.0)), 2, "drift must hold .* the 2"),
        (
            BlackScholes((0.2, 0.3), 0.0),
            1,
            "volatility must hold .* the 1 .*holds 2",
        ),
        (
            Burgers(0.1),
            2,
            r"Burgers is an equation on a line: x must have one column, .*\(12, 2\)",
        ),
        (Heat(1.0, lambda t, x: x), 1, r"source must return .* of shape \(12,\), but .*\(12, 1\)"),
        (Heat(1.0, lambda t, x: 1.0), 1, "source must return .* but returned float"),
        (Poisson(lambda x: x), 2, "source must return one number for each point"),
        (ReactionDiffusion(1.0, lambda u: u[:, None]), 2, "reaction must return one number"),
    ],
)
def test_refused_when_called(expression, dim, message):
    t, x = samples(dim)
    with pytest.raises(hp.InputError, match=message):
        Residual(expression)([hp.SeparableNet(dim).double()], t, x)


def test_a_vector_field_is_refused():
    t, x = samples(2)
    with pytest.raises(hp.UnsupportedError, match="scalar field"):
        Residual(Heat())([hp.HollowNet(2).double()], t, x)
