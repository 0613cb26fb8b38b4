"""A thousand random networks of every family, depth, width, dimension and order."""

from hypothesis import given, settings
from hypothesis import strategies as st

import hollowpde as hp
import hollowpde.testing as checks
from hollowpde.operators import Field
from hollowpde.testing.common import agree, bound, points

from .families import CONDITIONERS, DENSITIES, SCALARS, TRANSFORMERS, networks

SEEDS = st.integers(0, 2**31)


@st.composite
def fields(draw, largest):
    """A field of any family, and its dimension."""
    dims = st.integers(1, largest)
    if draw(st.integers(0, 3)):
        conditioner = draw(st.sampled_from(sorted(CONDITIONERS)))
        transformer = draw(st.sampled_from(sorted(TRANSFORMERS)))
        net = draw(networks(conditioner, transformer, dims))()
        return net, net.dim
    dim = draw(dims)
    scalars = SCALARS | DENSITIES
    return draw(scalars[draw(st.sampled_from(sorted(scalars)))](dim))(), dim


@settings(max_examples=1000)
@given(drawn=fields(12), order=st.integers(0, 6), seed=SEEDS)
def test_values_derivatives_and_hollowness(drawn, order, seed):
    field, dim = drawn
    if isinstance(field, hp.CorrelatedMixture):
        # Far out log p is near -500, and the third derivative of brute force rounds accordingly.
        order = min(order, 2)
    if isinstance(field, hp.HollowNet):
        checks.check_hollow(field, dims=3, seed=seed)
    copy: Field = bound(checks.redrawn(field, seed), seed)
    t, x = points(dim, (2,), seed)
    got = hp.dimwise(copy, t, x, order=order)
    for k, (a, b) in enumerate(
        zip(got, hp.reference.dimwise(copy, t, x, order=order), strict=True)
    ):
        agree(f"order {k}", a, b, 1e-8)


@settings(max_examples=50)
@given(drawn=fields(3), order=st.integers(0, 2), seed=SEEDS)
def test_derivatives_of_derivatives(drawn, order, seed):
    field, _ = drawn
    checks.check_gradgrad(field, order=order, seed=seed)
