"""A change of the step size leaves polynomials as they are."""

from itertools import pairwise

import numpy as np
import pytest

from hollowpde.solvers.multistep import HIGHEST, ROWS, adams, backward_differences


def differences(p, t, h, many):
    """Backward differences of p at t, the first so many."""
    values = [p(t - m * h) for m in range(many)]
    out = []
    while values:
        out.append(values[0])
        values = [a - b for a, b in pairwise(values)]
    return np.array(out)


@pytest.mark.parametrize("tables", [backward_differences(True), adams()], ids=["BDF", "Adams"])
@pytest.mark.parametrize("order", range(1, HIGHEST + 1))
def test_a_change_of_the_step_size_is_exact_for_polynomials(tables, order):
    rng = np.random.default_rng(order)
    factors = np.array([0.2, 0.7, 1.0, 1.5, 2.0, 10.0])
    own = order + 1 - tables.first
    p = np.polynomial.Polynomial(rng.normal(size=own))
    t, h = 0.3, 0.1
    other = rng.normal(size=ROWS)

    def state(h):
        # What an order does not use belongs to others, and so does the value itself with Adams.
        S = other.copy()
        S[tables.first : order + 1] = differences(p, t, h, own) * (h if tables.scaled else 1.0)
        return S

    changed = tables.rescaled(np.full(len(factors), order), factors) @ state(h)
    for S, factor in zip(changed, factors, strict=True):
        np.testing.assert_allclose(S, state(factor * h), rtol=1e-10, atol=1e-11 * max(1, factor))


def test_samples_of_several_orders_change_together():
    tables, by = backward_differences(True), np.array([0.5, 3.0, 0.9])
    orders = np.array([1, 5, 3])
    together = tables.rescaled(orders, by)
    for k in range(3):
        alone = tables.rescaled(orders[k : k + 1], by[k : k + 1])[0]
        # Also in rounding, no sample depends on the others.
        np.testing.assert_array_equal(together[k], alone)


@pytest.mark.parametrize("order", range(1, HIGHEST + 1))
def test_a_step_that_stays_leaves_the_state_as_it_is(order):
    for tables in (backward_differences(True), adams()):
        same = tables.rescaled(np.array([order]), np.ones(1))[0]
        np.testing.assert_array_equal(same, np.eye(ROWS))
