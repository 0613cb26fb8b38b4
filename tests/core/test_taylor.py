"""Taylor rules against nested autograd."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from hollowpde import taylor
from hollowpde.testing.common import agree

UNARY = {
    "exp": (taylor.exp, torch.exp),
    "log": (lambda z: taylor.log([z[0].abs() + 0.5, *z[1:]]), lambda z: z.log()),
    "tanh": (taylor.tanh, torch.tanh),
    "sigmoid": (taylor.sigmoid, torch.sigmoid),
    "silu": (taylor.silu, F.silu),
    "softplus": (taylor.softplus, F.softplus),
}


@st.composite
def series(draw, order=None, n=3):
    """A series of n numbers to order 6, some coefficients absent or the same for all numbers."""
    order = draw(st.integers(0, 6)) if order is None else order
    number = st.floats(-2, 2, width=32)
    kinds = ["full", "full", "none", "shared"]
    out = [torch.tensor(draw(st.lists(number, min_size=n, max_size=n)), dtype=torch.float64)]
    for _ in range(order):
        kind = draw(st.sampled_from(kinds))
        size = {"full": n, "none": 0, "shared": 1}[kind]
        values = draw(st.lists(number, min_size=size, max_size=size))
        out.append(torch.tensor(values, dtype=torch.float64) if size else None)
    return out


def expected(y, s, order):
    """Derivatives 0..order of y by nested reverse passes."""
    out = [y]
    for _ in range(order):
        # The term 0 s keeps constants differentiable.
        (y,) = torch.autograd.grad((y + 0.0 * s).sum(), s, create_graph=True)
        out.append(y)
    return out


def compare(rule, function, *inputs):
    got = taylor.derivatives(rule(*inputs))
    order = len(inputs[0]) - 1
    s = torch.zeros_like(inputs[0][0], requires_grad=True)
    arguments = [
        sum((c * s**k for k, c in enumerate(z) if c is not None), 0.0 * s) for z in inputs
    ]
    reference = expected(function(*arguments), s, order)
    assert len(got) == order + 1
    for k, (a, b) in enumerate(zip(got, reference, strict=True)):
        agree(f"derivative {k}", a, b, 1e-10)


@pytest.mark.parametrize("name", UNARY)
@given(z=series())
def test_unary(name, z):
    rule, function = UNARY[name]
    if name == "log":
        z = [z[0].abs() + 0.5, *z[1:]]
        rule = taylor.log
    compare(rule, function, z)


@given(data=st.data(), order=st.integers(0, 6))
def test_binary(data, order):
    a, b = data.draw(series(order)), data.draw(series(order))
    compare(taylor.add, torch.add, a, b)
    compare(taylor.multiply, torch.mul, a, b)


@given(z=series(n=2), bias=st.booleans())
def test_linear(z, bias):
    # The rule acts on the last axis, whose derivatives then mix: compare with the coefficients.
    weight, b = torch.randn(3, 2).double(), torch.randn(3).double() if bias else None
    z = [None if c is None else c.expand(2) for c in z]
    for k, (c, y) in enumerate(zip(z, taylor.linear(z, weight, b), strict=True)):
        if c is None:
            assert y is None
        else:
            torch.testing.assert_close(y, F.linear(c, weight, b if k == 0 else None))


@given(z=series(), data=st.data())
def test_absent_means_zero(z, data):
    filled = [torch.zeros_like(z[0]) if c is None else c.expand_as(z[0]) for c in z]
    for name, (rule, _) in UNARY.items():
        for a, b in zip(*(taylor.derivatives(rule(y)) for y in (z, filled)), strict=True):
            agree(name, a, b, 1e-12)


@given(z=series())
def test_derivatives_and_coefficients_are_inverse(z):
    filled = [torch.zeros_like(z[0]) if c is None else c.expand_as(z[0]) for c in z]
    for a, b in zip(taylor.coefficients(taylor.derivatives(z)), filled, strict=True):
        torch.testing.assert_close(a, b)


@given(z=series(order=4), name=st.sampled_from(sorted(UNARY)))
def test_gradients_reach_every_coefficient(z, name):
    rule, _ = UNARY[name]
    leaves = [c.clone().requires_grad_() for c in z if c is not None]

    def outputs(*given):
        rest = iter(given)
        return taylor.derivatives(rule([None if c is None else next(rest) for c in z]))

    assert torch.autograd.gradcheck(outputs, leaves)


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "silu", "softplus", "log"])
@pytest.mark.parametrize("slope", [-1.0, 1.0])
def test_finite_far_out_in_float32(name, slope):
    size = torch.logspace(-4, 4, 400)
    x = size if name == "log" else torch.cat([-size.flip(0), torch.zeros(1), size])
    x = x.requires_grad_()
    # log: derivatives of order k are of size x^-k, which float32 holds to order 6 from 1e-4 on.
    order = 6
    rule = getattr(taylor, name)
    out = taylor.derivatives(rule([x, torch.tensor(slope), *([None] * (order - 1))]))
    for k, y in enumerate(out):
        assert y.dtype == torch.float32
        assert y.isfinite().all(), (name, k)
        if name != "log":
            (gradient,) = torch.autograd.grad(y.sum(), x, retain_graph=True)
            assert gradient.isfinite().all(), (name, k)


def test_far_out_values_are_right_in_float32():
    x = torch.tensor([-1e4, -100.0, 100.0, 1e4])
    one, zero = torch.ones(()), torch.zeros(4)
    step = torch.tensor([0.0, 0.0, 1.0, 1.0])
    y, d1, d2 = taylor.derivatives(taylor.silu([x, one, None]))
    torch.testing.assert_close(y, x.clamp(min=0))
    torch.testing.assert_close(d1, step)
    torch.testing.assert_close(d2, zero)
    y, d1, d2 = taylor.derivatives(taylor.softplus([x, one, None]))
    torch.testing.assert_close(y, x.clamp(min=0))
    torch.testing.assert_close(d1, step)
    torch.testing.assert_close(d2, zero)


def test_log_undoes_exp():
    z = [torch.tensor([0.3], dtype=torch.float64), *(torch.tensor([0.5**k]) for k in range(6))]
    for a, b in zip(taylor.log(taylor.exp(z)), z, strict=True):
        torch.testing.assert_close(a, b.double())


def test_exp_of_a_line_is_the_exponential_series():
    y = taylor.exp([torch.zeros(1).double(), torch.ones(1).double(), *([None] * 8)])
    for k, c in enumerate(y):
        assert c.item() == pytest.approx(1 / math.factorial(k), rel=1e-14)


def test_a_series_without_a_value_is_refused():
    with pytest.raises(ValueError, match="coefficient 0 is None"):
        taylor.tanh([None, torch.ones(1)])
