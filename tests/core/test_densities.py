"""The mixtures against closed forms and integrals, in the tails and on data."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import MultivariateNormal, Normal

import hollowpde as hp
from hollowpde.densities import CorrelatedMixture, Mixture
from hollowpde.testing import redrawn
from hollowpde.testing.common import agree


def at(density, t):
    """Weights (R,), means and standard deviations (R, d) at one time."""
    log_weights, means, log_scales = density._at(torch.tensor(t, dtype=density.means.dtype))
    return log_weights.exp(), means, log_scales.exp()


@given(seed=st.integers(0, 1000), dim=st.integers(1, 4), components=st.integers(1, 4))
def test_the_density_is_that_of_its_components(seed, dim, components):
    density = redrawn(hp.GaussianMixture(dim, components, hidden=4), seed)
    weights, means, scales = at(density, 0.4)
    assert weights.sum().item() == pytest.approx(1)
    x = torch.randn(6, dim, dtype=torch.float64)
    each = Normal(means, scales).log_prob(x[:, None]).exp()
    agree("p", density.log_prob(0.4, x).exp(), each.prod(-1) @ weights)
    marginal = torch.einsum("nrd,r->nd", each, weights)
    agree("marginals", density.marginal_log_prob(0.4, x).exp(), marginal)


def normals(density, t):
    """Weights (R,), and the normal distributions of the components at one time."""
    log_weights, means, shapes = density._at(torch.tensor(t, dtype=density.means.dtype))
    W = density._factors(shapes)[1]
    return log_weights.exp(), MultivariateNormal(means, precision_matrix=W.mT @ W)


def grid(half, nodes):
    """Nodes of a square (nodes^2, 2), and the area of each."""
    axis = torch.linspace(-half, half, nodes, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis), (axis[1] - axis[0]) ** 2


@given(seed=st.integers(0, 1000), dim=st.integers(1, 5), components=st.integers(1, 4))
def test_the_correlated_density_is_that_of_its_components(seed, dim, components):
    density = redrawn(CorrelatedMixture(dim, components, hidden=4), seed)
    weights, each = normals(density, 0.4)
    assert weights.sum().item() == pytest.approx(1)
    x = torch.randn(6, dim, dtype=torch.float64)
    agree("p", density.log_prob(0.4, x).exp(), each.log_prob(x[:, None]).exp() @ weights)
    scales = each.covariance_matrix.diagonal(dim1=-2, dim2=-1).sqrt()
    marginal = Normal(each.loc, scales).log_prob(x[:, None]).exp()
    agree(
        "marginals",
        density.marginal_log_prob(0.4, x).exp(),
        torch.einsum("nrd,r->nd", marginal, weights),
    )
    variance = torch.linspace(0.0, 0.5, dim, dtype=torch.float64)  # none at all of the first
    noisy = MultivariateNormal(each.loc, each.covariance_matrix + variance.diag())
    agree(
        "p with noise",
        density.noisy_log_prob(0.4, x, variance).exp(),
        noisy.log_prob(x[:, None]).exp() @ weights,
    )


def test_the_correlated_density_and_its_marginals_by_quadrature():
    density = redrawn(CorrelatedMixture(2, 3), 1)
    assert (normals(density, 0.3)[1].covariance_matrix[:, 0, 1].abs() > 0.05).all()
    x, area = grid(12.0, 481)
    p = density.log_prob(0.3, x).exp()
    assert (p.sum() * area).item() == pytest.approx(1, abs=1e-10)
    square = p.reshape(481, 481) * area.sqrt()
    axis = x.reshape(481, 481, 2)[:, 0, 0]
    marginals = density.marginal_log_prob(0.3, axis.unsqueeze(-1).expand(-1, 2)).exp()
    agree("marginals", marginals, torch.stack([square.sum(1), square.sum(0)], -1), 1e-10)


def test_a_correlated_density_seen_with_noise_is_the_convolution():
    density = redrawn(CorrelatedMixture(2, 2), 2)
    y, variance = torch.randn(5, 2).double(), torch.tensor([0.2, 0.5], dtype=torch.float64)
    noise, area = grid(8.0, 161)
    noise = noise.unsqueeze(1)
    p = (density.log_prob(0.3, y - noise * variance.sqrt()) - noise.square().sum(-1) / 2).exp()
    got = density.noisy_log_prob(0.3, y, variance)
    agree("p", got.exp(), p.sum(0) * area / (2 * math.pi))
    # Noise of next to no variance, and of more than there is.
    nearly = density.noisy_log_prob(0.3, y, torch.full_like(variance, 1e-12))
    agree("p with no noise", nearly, density.log_prob(0.3, y))
    assert density.noisy_log_prob(0.3, y, 1e12 * variance).isfinite().all()


@pytest.mark.parametrize("make", [hp.GaussianMixture, CorrelatedMixture])
def test_gradients_of_what_is_seen_with_noise(make):
    density = redrawn(make(2, 2, hidden=2), 0)
    y = torch.randn(3, 2).double().requires_grad_()
    variance = torch.tensor([0.2, 0.5]).double().requires_grad_()
    uses = [
        lambda y, v, *_: density.noisy_log_prob(0.3, y, v),
        lambda y, v, *_: density.marginal_log_prob(0.3, y),
    ]
    for use in uses:
        assert torch.autograd.gradcheck(use, (y, variance, *density.parameters()))


def test_moments_of_correlated_samples():
    density = redrawn(CorrelatedMixture(3, 2), 3)
    t = torch.tensor([0.1, 0.8], dtype=torch.float64)
    draws = density.sample(t, 100_000, torch.Generator().manual_seed(0))
    for time, x in zip(t.tolist(), draws.unbind(1), strict=True):
        weights, each = normals(density, time)
        mean = weights @ each.loc
        gaps = each.loc - mean
        second = each.covariance_matrix + gaps.unsqueeze(-1) * gaps.unsqueeze(-2)
        covariance = torch.einsum("r,rij->ij", weights, second)
        sd = covariance.diagonal().sqrt()
        torch.testing.assert_close((x.mean(0) - mean) / sd, 0 * sd, atol=0.02, rtol=0)
        off = (x.T.cov() - covariance) / (sd.unsqueeze(-1) * sd)
        torch.testing.assert_close(off, torch.zeros_like(off), atol=0.03, rtol=0)


def test_in_one_dimension_there_is_nothing_to_correlate():
    mixture = redrawn(hp.GaussianMixture(1, 3), 0)
    correlated = CorrelatedMixture(1, 3).double()
    state = mixture.state_dict()
    state["factors"] = state.pop("log_scales")
    correlated.load_state_dict(state)
    t, x = torch.rand(20).double(), torch.randn(20, 1).double()
    v = torch.tensor([0.3]).double()
    both = [
        (
            *p.dimwise(t, x, 4),
            *(part for parts in p.in_time(t, x, 0) for part in parts),
            *p.with_laplacian(t, x),
            p.marginal_log_prob(t, x),
            p.noisy_log_prob(t, x, v),
            p.sample(t, 5, torch.Generator().manual_seed(0)),
        )
        for p in (mixture, correlated)
    ]
    for k, (a, b) in enumerate(zip(*both, strict=True)):
        agree(f"part {k}", b, a, 1e-12)
    for p in (mixture, correlated):
        p.start_from(x.numpy(), seed=0)
    torch.testing.assert_close(correlated.factors, mixture.log_scales)


@pytest.mark.parametrize("make", [hp.GaussianMixture, CorrelatedMixture])
def test_derivatives_in_the_tail_keep_their_digits(make):
    # A Gaussian far out: the second derivative of its log is constant, those above are zero.
    density = redrawn(make(2, 1), 0, torch.float32)
    _, _, shapes = density._at(torch.tensor(0.0))
    x = torch.tensor([[1e3, -1e4]])
    _, d1, d2, d3 = hp.dimwise(density, 0.0, x, order=3)
    torch.testing.assert_close(d2, -density._precisions(density._factors(shapes)[1]))
    assert not d3.any()
    assert d1.isfinite().all()


@pytest.mark.parametrize("make", [hp.GaussianMixture, CorrelatedMixture])
@pytest.mark.parametrize("size", [1e2, 1e4])
def test_finite_far_out_in_float32(size, make):
    density = make(3, 4)
    x = size * torch.randn(50, 3)
    for y in (*hp.dimwise(density, 0.3, x, order=4), hp.Jet(density, 0.3, x).dt):
        assert y.isfinite().all()


def test_far_from_every_component_the_nearest_decides():
    density = redrawn(hp.GaussianMixture(1, 3))
    _, means, scales = at(density, 0.0)
    widest = scales.argmax()
    x = torch.tensor([[1e4]], dtype=torch.float64)
    slope = -(x - means[widest]) / scales[widest] ** 2
    torch.testing.assert_close(density.score(0.0, x), slope)


@pytest.mark.parametrize("make", [hp.GaussianMixture, CorrelatedMixture])
def test_samples_have_one_row_per_time(make):
    density = redrawn(make(2, 3))
    t = torch.tensor([[0.0, 0.5, 1.0]], dtype=torch.float64)
    assert density.sample(t, 4).shape == (4, 1, 3, 2)
    assert density.sample(0.5, 4).shape == (4, 2)
    assert density.sample(0.5, 4).dtype == torch.float64


def test_starting_from_data_finds_the_clusters():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal((-3, 0), 0.5, (600, 2)), rng.normal((4, 2), 1.0, (200, 2))])
    density = hp.GaussianMixture(2, 2).double()
    density.start_from(x, seed=0)
    order = density.means.detach()[:, 0].argsort()
    means, scales = density.means.detach()[order], density.log_scales.detach().exp()[order]
    weights = density.logits.detach().softmax(0)[order]
    for got, expected, off in (
        (means, [[-3.0, 0.0], [4.0, 2.0]], 0.2),
        (scales, [[0.5, 0.5], [1.0, 1.0]], 0.15),
        (weights, [0.75, 0.25], 0.01),
    ):
        expected = torch.tensor(expected, dtype=torch.float64)
        torch.testing.assert_close(got, expected, atol=off, rtol=0)
    # The network of t starts small, so that the clusters are there at every time.
    points = torch.as_tensor(x)
    for t in (0.0, 1.0):
        assert density.log_prob(t, points).mean() > -3.0


def test_starting_from_data_finds_the_correlations():
    rng = np.random.default_rng(0)
    covariances = np.array([[[1.0, 0.9], [0.9, 1.0]], [[0.25, -0.2], [-0.2, 0.5]]])
    x = np.concatenate([
        rng.multivariate_normal(mean, covariance, n)
        for mean, covariance, n in zip([(-4, 0), (5, 2)], covariances, (6000, 2000), strict=True)
    ])  # fmt: skip
    density = CorrelatedMixture(2, 2).double()
    density.start_from(x, seed=0)
    weights, each = normals(density, 0.0)
    order = each.loc[:, 0].argsort()
    assert weights[order].tolist() == pytest.approx([0.75, 0.25], abs=0.05)
    for t in (0.0, 1.0):
        points = torch.as_tensor(x)
        assert density.log_prob(t, points).mean() > -2.6
    state = density.factors.detach()[order]
    for shape, covariance in zip(state, torch.as_tensor(covariances), strict=True):
        W = density._factors(shape)[1]
        torch.testing.assert_close((W.T @ W).inverse(), covariance, atol=0.05, rtol=0)


@pytest.mark.parametrize("components", [1, 8])
def test_starting_from_few_data(components):
    # Fewer than dimensions in each cluster, one of them constant, and two the same.
    x = np.random.default_rng(0).normal(size=(12, 5))
    x[:, 2] = 1.0
    x[:, 4] = x[:, 0]
    density = CorrelatedMixture(5, components).double()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of an empty cluster
        density.start_from(x, seed=0)
    assert all(p.isfinite().all() for p in density.parameters())
    with torch.no_grad():  # the slightest move is many times the spread of a constant
        density.of_time[-1].weight.zero_()
    assert density.log_prob(0.0, torch.as_tensor(x)).mean() > -2.0
    assert density.sample(0.0, 100).abs().max() < 10


@pytest.mark.parametrize("make", [hp.GaussianMixture, CorrelatedMixture])
def test_what_mixtures_refuse(make):
    assert issubclass(make, Mixture)
    for sizes in ((0, 1), (1, 0)):
        with pytest.raises(hp.InputError, match=f"but they are {sizes[0]} and {sizes[1]}"):
            make(*sizes)
    density, x = make(3, 2), torch.zeros(5, 2)
    for use in (density.log_prob, lambda t, x: density.noisy_log_prob(t, x, torch.ones(3))):
        with pytest.raises(hp.InputError, match=r"3 columns, .* \(5, 2\)"):
            use(0.0, x)
