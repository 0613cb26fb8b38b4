"""The sinh-arcsinh law against its own integrals."""

import math

import pytest
import scipy
import torch
from hypothesis import given
from hypothesis import strategies as st

from hollowpde.likelihoods import SkewClosure, skewed
from hollowpde.likelihoods.skewed import Skewed

from .families import Explicit

skews = st.floats(-1.15, 1.15)


def law(mean, variance, skew):
    values = (mean, variance, skew * variance**1.5)
    return Skewed(*(torch.tensor([v], dtype=torch.float64) for v in values))


def test_constants_are_expectations():
    def expected(f):
        value, _ = scipy.integrate.quad(lambda z: f(z) * scipy.stats.norm.pdf(z), -12, 12)
        return value

    def root(z):
        return math.sqrt(1 + z * z)

    assert skewed._S1 == pytest.approx(expected(root), rel=1e-12)
    assert skewed._S2 == pytest.approx(expected(lambda z: z * z * root(z)), rel=1e-12)
    assert skewed._S3 == pytest.approx(expected(lambda z: root(z) ** 3), rel=1e-12)


@given(mean=st.floats(-3, 3), variance=st.floats(0.01, 10), skew=skews)
def test_points_have_the_moments(mean, variance, skew):
    points, weights = law(mean, variance, skew).points()
    assert (weights > 0).all()

    def moment(k):
        return float((weights * (points - mean) ** k).sum()) / variance ** (k / 2)

    expected = (1, 0, 1, skew, 3 + 1.5 * skew**2)
    assert [moment(k) for k in range(5)] == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(mean=st.floats(-3, 3), variance=st.floats(0.01, 10), skew=skews)
def test_the_density_has_the_moments(mean, variance, skew):
    it = law(mean, variance, skew)
    z = torch.linspace(-9, 9, 20001).double().unsqueeze(-1)
    x = it.at(z)
    back, log_slope = it.normal(x)
    torch.testing.assert_close(back, z, rtol=1e-9, atol=1e-9)
    p = (-0.5 * back.square() + log_slope).exp() / math.sqrt(2 * math.pi)
    x, p, z = x.squeeze(-1), p.squeeze(-1), z.squeeze(-1)

    def integral(f):
        return float(torch.trapezoid(f * p, x))

    assert integral(torch.ones_like(x)) == pytest.approx(1, rel=1e-6)
    assert integral(x) == pytest.approx(mean, rel=1e-5, abs=1e-5)
    assert integral((x - mean) ** 2) == pytest.approx(variance, rel=1e-5)
    third = integral((x - mean) ** 3) / variance**1.5
    assert third == pytest.approx(skew, rel=1e-4, abs=1e-4)


@given(skew=st.floats(1.3, 1e6), sign=st.sampled_from([-1, 1]))
def test_skewness_beyond_what_the_law_has_is_bounded(skew, sign):
    far, most = law(0.0, 1.0, sign * skew), law(0.0, 1.0, sign * 1.2)
    z = torch.linspace(-4, 4, 9).double().unsqueeze(-1)
    torch.testing.assert_close(far.at(z), most.at(z))


def test_gradients():
    moments = [torch.tensor([v], dtype=torch.float64, requires_grad=True) for v in (0.3, 2.0, 0.7)]
    x = torch.linspace(-3, 3, 7).double().unsqueeze(-1).requires_grad_()

    def values(x, *moments):
        it = Skewed(*moments)
        return (*it.normal(x), *it.points(), it.at(x))

    torch.autograd.gradcheck(values, (x, *moments))


def test_a_start_without_noise_has_no_skewness_and_a_finite_density():
    drift = Explicit(lambda t, x: 1 - x)
    diffusion = Explicit(lambda t, x: 0.1 * x.clamp(min=0))
    x = torch.zeros(2, 1, dtype=torch.float64, requires_grad=True)
    t, h = torch.zeros(2).double(), torch.full((2,), 0.3).double()
    value = SkewClosure().log_prob(drift, diffusion, t, x, h, x + 0.2)
    assert value.isfinite().all()
    (slope,) = torch.autograd.grad(value.sum(), x)
    assert slope.isfinite().all()
