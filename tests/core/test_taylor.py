"""Taylor rules against nested autograd."""

import math
import pickle
from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from hollowpde import taylor
from hollowpde.testing.common import agree

UNARY = {
    "square": (taylor.square, torch.square),
    "exp": (taylor.exp, torch.exp),
    "log": (taylor.log, torch.log),
    "sin": (taylor.sin, torch.sin),
    "cos": (taylor.cos, torch.cos),
    "tanh": (taylor.tanh, torch.tanh),
    "sigmoid": (taylor.sigmoid, torch.sigmoid),
    "silu": (taylor.silu, F.silu),
    "softplus": (taylor.softplus, F.softplus),
    "erf": (taylor.erf, torch.erf),
    "gelu": (taylor.gelu, F.gelu),
    **{
        f"power {p}": (lambda z, p=p: taylor.power(z, p), lambda z, p=p: z**p)
        for p in (0, 1, 2, 3, 7, 2.0, -1, -2, -3.0, 0.5, 1.5, -0.5, -2.25)
    },
}
POSITIVE = {"log", "power 0.5", "power 1.5", "power -0.5", "power -2.25"}
NONZERO = {"power -1", "power -2", "power -3.0"}


def within(name, z):
    """The series with its value moved into the domain of a rule."""
    if name in POSITIVE:
        return [z[0].abs() + 0.5, *z[1:]]
    if name in NONZERO:
        return [z[0] + torch.where(z[0] < 0, -0.5, 0.5), *z[1:]]
    return z


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
    compare(*UNARY[name], within(name, z))


@given(data=st.data(), order=st.integers(0, 6))
def test_binary(data, order):
    a, b = data.draw(series(order)), data.draw(series(order))
    compare(taylor.add, torch.add, a, b)
    compare(taylor.multiply, torch.mul, a, b)
    compare(taylor.divide, torch.div, a, within("power -1", b))


@given(z=series())
def test_whole_powers_at_zero(z):
    z = [torch.zeros_like(z[0]), *z[1:]]
    for p in (0, 1, 2, 3, 7):
        compare(*UNARY[f"power {p}"], z)


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
        both = (taylor.derivatives(rule(within(name, y))) for y in (z, filled))
        for a, b in zip(*both, strict=True):
            agree(name, a, b, 1e-12)


@given(z=series())
def test_derivatives_and_coefficients_are_inverse(z):
    filled = [torch.zeros_like(z[0]) if c is None else c.expand_as(z[0]) for c in z]
    for a, b in zip(taylor.coefficients(taylor.derivatives(z)), filled, strict=True):
        torch.testing.assert_close(a, b)


@given(z=series(order=4), name=st.sampled_from(sorted(UNARY)))
def test_gradients_reach_every_coefficient(z, name):
    rule, _ = UNARY[name]
    z = within(name, z)
    leaves = [c.clone().requires_grad_() for c in z if c is not None]

    def outputs(*given):
        rest = iter(given)
        return taylor.derivatives(rule([None if c is None else next(rest) for c in z]))

    assert torch.autograd.gradcheck(outputs, leaves)


# Far out, in float32

BOUNDED = ["tanh", "sigmoid", "silu", "softplus", "erf", "gelu", "sin", "cos"]


def line(rule, x, order=6):
    """Derivatives 0..order in x itself, of the dtype of x."""
    slope = torch.ones((), dtype=x.dtype)
    return taylor.derivatives(rule([x, slope, *([None] * (order - 1))][: order + 1]))


def far(*decades):
    size = torch.logspace(*decades, 400)
    return torch.cat([-size.flip(0), torch.zeros(1), size])


@pytest.mark.parametrize("name", BOUNDED)
def test_far_out_they_are_right_in_float32(name):
    rule, _ = UNARY[name]
    x = far(-4, 4).requires_grad_()
    precise = x.detach().double().requires_grad_()
    for k, (y, z) in enumerate(zip(line(rule, x), line(rule, precise), strict=True)):
        assert y.dtype == torch.float32
        slopes = [
            torch.autograd.grad(a.sum(), b, retain_graph=True)[0]
            for a, b in ((y, x), (z, precise))
        ]
        for what, got, expected in (("value", y, z), ("gradient", *slopes)):
            error = (got.double() - expected).abs()
            # The largest derivatives of order k, on [-3, 3], are of the size of sqrt(k!).
            assert (error <= 2e-6 * expected.abs() + 1e-6 * math.factorial(k) ** 0.5).all(), (
                f"{what} of derivative {k} of {name} is off by {error.max():.2g} "
                f"at {x[error.argmax()].item():.4g}"
            )


@pytest.mark.parametrize("name", ["sigmoid", "softplus", "exp"])
@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_tails_keep_their_relative_accuracy(name, side):
    # Where a derivative decays: 1 - y would be rounding noise, then zero, beyond |x| = 9.
    x = side * torch.linspace(4, 80, 300)
    both = (line(UNARY[name][0], s) for s in (x, x.double()))
    for k, (y, z) in enumerate(zip(*both, strict=True)):
        assert ((y - z).abs() <= 2e-5 * z.abs()).all(), f"derivative {k} of {name}"


def test_the_left_tail_of_gelu_keeps_its_relative_accuracy():
    x = torch.linspace(-12, -5, 300)
    both = (line(taylor.gelu, s) for s in (x, x.double()))
    for k, (y, z) in enumerate(zip(*both, strict=True)):
        assert ((y - z).abs() <= 1e-4 * z.abs()).all(), f"derivative {k}"


def test_softplus_is_no_straight_line_at_20_in_float64():
    x = torch.linspace(15, 50, 100, dtype=torch.float64)
    expected = x + torch.exp(-x).log1p()
    torch.testing.assert_close(taylor.softplus([x])[0], expected, rtol=1e-15, atol=0)


@pytest.mark.parametrize("name", [*sorted(POSITIVE), *sorted(NONZERO), "power 3"])
def test_powers_keep_their_relative_accuracy(name):
    # Of size x^(p - k), which must be a number of float32.
    x = torch.logspace(-3, 4, 400).requires_grad_()
    both = (line(UNARY[name][0], s) for s in (x, x.double()))
    for k, (y, z) in enumerate(zip(*both, strict=True)):
        away = (x.detach() - 1).abs() > 0.1 if name == "log" and k == 0 else x.detach() > 0
        assert ((y - z).abs() <= 5e-6 * z.abs())[away].all(), f"derivative {k} of {name}"
        if y.requires_grad:
            (gradient,) = torch.autograd.grad(y.sum(), x, retain_graph=True)
            assert gradient.isfinite().all(), f"the gradient of derivative {k} of {name}"


# Transforms


@pytest.mark.parametrize("name", UNARY)
def test_rules_map_over_points_and_over_coefficients(name):
    rule, _ = UNARY[name]
    z0 = within(name, [torch.randn(4, 3, dtype=torch.float64)])[0]
    slope, bend = torch.randn(2, 4, 3, dtype=torch.float64)

    def outputs(*z):
        return taylor.derivatives(rule([*z, None]))

    for dims in ((0, 0, 0), (0, None, None), (None, 0, None), (None, None, 0)):
        inputs = [a if b == 0 else a[0] for a, b in zip((z0, slope, bend), dims, strict=True)]
        mapped = torch.func.vmap(outputs, dims)(*inputs)
        whole = outputs(*(a.expand(4, 3) for a in inputs))
        for a, b in zip(mapped, whole, strict=True):
            torch.testing.assert_close(a, b)


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


@pytest.mark.parametrize("order", range(7))
def test_a_rule_gives_as_many_coefficients_as_asked(order):
    v = torch.tensor([0.3, 1.7])
    for rule in vars(taylor).values():
        if isinstance(rule, taylor.Rule):
            assert len(rule.about(v, order)) == order + 1, rule.name


def test_rules_are_pickled_by_name():
    for rule in vars(taylor).values():
        if isinstance(rule, taylor.Rule):
            assert pickle.loads(pickle.dumps(rule)).about is rule.about
            assert deepcopy(rule).about is rule.about
