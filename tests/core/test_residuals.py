"""The Fokker-Planck residual against the equation for p itself."""

import math

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
