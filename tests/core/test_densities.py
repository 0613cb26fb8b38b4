"""The mixture against closed forms, in the tails and on data."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Normal

import hollowpde as hp
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


def test_derivatives_in_the_tail_keep_their_digits():
    # A Gaussian far out: the second derivative of its log is constant, those above are zero.
    density = redrawn(hp.GaussianMixture(2, 1), 0, torch.float32)
    _, _, scales = at(density, 0.0)
    x = torch.tensor([[1e3, -1e4]])
    _, d1, d2, d3 = hp.dimwise(density, 0.0, x, order=3)
    torch.testing.assert_close(d2, -1 / scales.square())
    assert not d3.any()
    assert d1.isfinite().all()


@pytest.mark.parametrize("size", [1e2, 1e4])
def test_finite_far_out_in_float32(size):
    density = hp.GaussianMixture(3, 4)
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


def test_samples_have_one_row_per_time():
    density = redrawn(hp.GaussianMixture(2, 3))
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
