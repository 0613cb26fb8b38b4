"""The Fokker-Planck residual against the equation for p itself."""

import math
import warnings

import pytest
import torch

import hollowpde as hp
from hollowpde.testing import redrawn
from hollowpde.testing.common import agree, points

from .families import Explicit


def derivative(y, z):
    (out,) = torch.autograd.grad(y.sum(), z, create_graph=True, materialize_grads=True)
    return out


def brute_force(density, drift, diffusion, t, x):
    """(d_t p + sum_i d_i (f_i p) - 1/2 sum_i d_ii (D_i p)) / p, from the values alone."""
    t, x = t.clone().requires_grad_(), x.clone().requires_grad_()
    p = density(t, x).exp()
    residual = derivative(p, t)
    for i in range(x.shape[-1]):
        flux = drift(t, x)[..., i] * p
        spread = diffusion(t, x)[..., i] * p
        residual = residual + derivative(flux, x)[..., i]
        residual = residual - 0.5 * derivative(derivative(spread, x)[..., i], x)[..., i]
    return (residual / p).detach()


@pytest.mark.parametrize("dim", [1, 3])
@pytest.mark.parametrize("wrap", [lambda f: f, hp.Autonomous], ids=["of time", "autonomous"])
@pytest.mark.parametrize("seed", range(3))
def test_fokker_planck_is_the_equation_divided_by_p(dim, wrap, seed):
    density = redrawn(hp.GaussianMixture(dim, 3), seed)
    drift = redrawn(wrap(hp.HollowNet(dim)), seed + 1)
    diffusion = redrawn(hp.Positive(wrap(hp.HollowNet(dim))), seed + 2)
    t, x = points(dim, (8,), seed)
    expected = brute_force(density, drift, diffusion, t, x)
    residual = hp.fokker_planck()
    for _ in range(2):  # the second evaluation opens the jets at the orders that it needs
        agree("the residual", residual([density, drift, diffusion], t, x), expected, 1e-9)


def ornstein_uhlenbeck(dim, rate=1.3, noise=0.49, start=2.0, spread=0.16):
    """log p, f and D of dX = -rate X dt + sqrt(noise) dW from N(start, spread), independent."""

    def log_p(t, x):
        mean = start * torch.exp(-rate * t)
        decay = torch.exp(-2 * rate * t)
        variance = spread * decay + noise / (2 * rate) * (1 - decay)
        z2 = (x - mean.unsqueeze(-1)) ** 2 / variance.unsqueeze(-1)
        return -0.5 * (z2.sum(-1) + dim * (variance.log() + math.log(2 * math.pi)))

    return (
        Explicit(log_p),
        Explicit(lambda t, x: -rate * x),
        Explicit(lambda t, x: torch.full_like(x, noise)),
    )


@pytest.mark.parametrize("dim", [1, 3])
def test_the_exact_density_leaves_no_residual(dim):
    fields = ornstein_uhlenbeck(dim)
    t, x = points(dim, (20,), 0)
    residual = hp.fokker_planck()(fields, t, x)
    assert residual.abs().max() < 1e-12 * hp.Jet(fields[0], t, x).dt.abs().max()
    # A drift that is off by a percent does leave one.
    wrong = Explicit(lambda t, x: -1.313 * x)
    assert hp.fokker_planck()([fields[0], wrong, fields[2]], t, x).abs().max() > 1e-3


def test_the_residual_trains_every_field():
    density, drift = hp.GaussianMixture(2, 2), hp.HollowNet(2)
    fields = [density, drift, hp.Positive(hp.HollowNet(2))]
    fields = [redrawn(field, n) for n, field in enumerate(fields)]
    t, x = points(2, (8,), 0)
    hp.fokker_planck()(fields, t, x).square().mean().backward()
    for field in fields:
        for name, parameter in field.named_parameters():
            assert parameter.grad is not None and parameter.grad.any(), name


def test_a_declared_residual_is_its_expression():
    heat = hp.Residual(lambda u, t, x: u.dt - 0.5 * u.laplacian)

    def kernel(t, x):  # the heat kernel, from a Gaussian at t = -1
        return torch.exp(-0.5 * x.square().sum(-1) / (1 + t)) / (1 + t) ** (x.shape[-1] / 2)

    t, x = points(3, (10,), 0)
    assert heat([Explicit(kernel)], t, x).abs().max() < 1e-14


# Exact densities of three equations, and every term of the Fokker-Planck equation by hand.


def _ou_density(t, x):
    decay = torch.exp(-t)
    variance = 0.1 * decay**2 + 0.5 * (1 - decay**2)
    z = x[..., 0] - decay
    return -0.5 * (z**2 / variance + torch.log(2 * math.pi * variance))


def _gbm_density(t, x):
    log_x, variance = x[..., 0].log(), 0.04 + 0.16 * t
    z = log_x - (0.3 - 0.08) * t
    return -0.5 * (z**2 / variance + torch.log(2 * math.pi * variance)) - log_x


def _cir_density(t, x):
    # dX = (1/2 - X) dt + sqrt(X) dW from X = 1: a non-central chi-square of two degrees.
    c = 2 / (1 - torch.exp(-t))
    u, v = c * torch.exp(-t), c * x[..., 0]
    root = 2 * (u * v).sqrt()
    return c.log() - u - v + torch.special.i0e(root).log() + root


@pytest.mark.parametrize(
    ("density", "f", "D"),
    [
        (_ou_density, lambda t, x: -x, lambda t, x: torch.ones_like(x)),
        (_gbm_density, lambda t, x: 0.3 * x, lambda t, x: 0.16 * x**2),
        (_cir_density, lambda t, x: 0.5 - x, lambda t, x: x),
    ],
)
def test_exact_densities_solve_the_equation(density, f, D):
    t = torch.linspace(0.2, 1.5, 12, dtype=torch.float64)
    x = torch.linspace(0.3, 2.2, 12, dtype=torch.float64).unsqueeze(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", hp.BruteForceWarning)
        left = hp.fokker_planck()([density, f, D], t, x)
        moved = hp.fokker_planck()([density, lambda t, x: f(t, x) + 0.1, D], t, x)
    assert left.abs().max() < 1e-8
    assert moved.abs().max() > 1e-3


@pytest.mark.parametrize("case", ["ou", "gbm", "cir"])
def test_terms_one_by_one(case):
    t = torch.linspace(0.2, 1.5, 12, dtype=torch.float64)
    x = torch.linspace(0.3, 2.2, 12, dtype=torch.float64).unsqueeze(1)
    y, one = x[:, 0], torch.ones(12, dtype=torch.float64)
    if case == "ou":
        decay = torch.exp(-t)
        P, dP = 0.1 * decay**2 + 0.5 * (1 - decay**2), 0.8 * decay**2
        z = y - decay
        score, curvature = -z / P, -1 / P
        rate = -z * decay / P + 0.5 * dP * (z**2 / P**2 - 1 / P)
        density, drift, squared = _ou_density, (-y, -one), (one, 0 * y, 0 * y)
        fields = (lambda t, x: -x, lambda t, x: torch.ones_like(x))
    elif case == "gbm":
        P, z = 0.04 + 0.16 * t, y.log() - 0.22 * t
        score, curvature = -(z / P + 1) / y, (z / P + 1 - 1 / P) / y**2
        rate = 0.22 * z / P + 0.08 * (z**2 / P**2 - 1 / P)
        density, drift = _gbm_density, (0.3 * y, 0.3 * one)
        squared = (0.16 * y**2, 0.32 * y, 0.32 * one)
        fields = (lambda t, x: 0.3 * x, lambda t, x: 0.16 * x**2)
    else:
        c, dc = 2 / (1 - torch.exp(-t)), -2 * torch.exp(-t) / (1 - torch.exp(-t)) ** 2
        u, v = c * torch.exp(-t), c * y
        root = 2 * (u * v).sqrt()
        # I0' = I1, I1' = I0 - I1 / z
        a = torch.special.i1e(root) / torch.special.i0e(root)
        slope = root / (2 * y)
        score = -c + a * slope
        curvature = (1 - a / root - a**2) * slope**2 - a * slope / (2 * y)
        du = dc * torch.exp(-t) - u
        rate = dc / c - du - dc * y + a * root / 2 * (du / u + dc / c)
        density, drift, squared = _cir_density, (0.5 - y, -one), (y, one, 0 * y)
        fields = (lambda t, x: 0.5 - x, lambda t, x: x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", hp.BruteForceWarning)
        jets = [hp.Jet(field, t, x) for field in (density, *fields)]
        p, f, D = jets
        pairs = [
            (p.dt, rate), (p.d(1)[:, 0], score), (p.d(2)[:, 0], curvature),
            (f.value[:, 0], drift[0]), (f.d(1)[:, 0], drift[1]),
            *((D.d(k)[:, 0], squared[k]) for k in range(3)),
        ]  # fmt: skip
        for got, expected in pairs:
            assert (got - expected).abs().max() < 1e-8
        total = (
            rate
            + drift[1]
            + drift[0] * score
            - 0.5 * (squared[2] + 2 * squared[1] * score + squared[0] * (curvature + score**2))
        )
        assert (hp.fokker_planck()([density, *fields], t, x) - total).abs().max() < 1e-8
