"""The closure that probes many interacting dimensions, against exact and simulated variances."""

import numpy as np
import pytest
import torch
import torchsde

import hollowpde as hp
from hollowpde.likelihoods import DiagonalClosure, ProbedClosure

from .families import Explicit
from .transitions import STEPS, after, constant, coupled, linear, orders, van_loan


@pytest.mark.parametrize(("nodes", "order"), [(1, 3), (2, 4)])
def test_probed_closure_has_the_variances_of_a_linear_drift(nodes, order):
    """Relative errors of a variance that other dimensions add to: of order h^2 without them."""
    matrix, noise, x = coupled(4)

    def error(likelihood):
        def of(h):
            _, covariance = after(likelihood, linear(matrix), constant(*noise), x, h)
            exact = van_loan(matrix, noise, h)[1].diagonal()
            return float((covariance.diagonal() / exact - 1).abs().max())

        return of

    assert orders(error(DiagonalClosure()), STEPS) == pytest.approx([2, 2], abs=0.2)
    assert min(orders(error(ProbedClosure(4, nodes)), STEPS)) > order - 1.2
    assert error(ProbedClosure(4, nodes))(0.1) < 0.1 * error(DiagonalClosure())(0.1)


def chain(n, coupling, decay):
    """A row of sites, each coupled to the next ones."""
    return (coupling * (np.eye(n, k=1) + np.eye(n, k=-1)) - decay * np.eye(n)).tolist()


def test_few_directions_serve_a_chain():
    matrix, noise, h = chain(23, 1.2, 3.0), [0.3 + 0.02 * k for k in range(23)], 0.2
    x = torch.linspace(-1, 1, 23).double()
    exact = van_loan(matrix, noise, h)[1].diagonal()

    def worst(likelihood):
        _, covariance = after(likelihood, linear(matrix), constant(*noise), x, h)
        return float((covariance.diagonal() / exact - 1).abs().max())

    assert worst(DiagonalClosure()) > 0.03
    assert worst(ProbedClosure()) < 2e-3
    assert worst(ProbedClosure(directions=23)) < 2e-3
    assert worst(ProbedClosure(directions=2)) > 5e-3  # both neighbours are of one class


def test_directions_are_right_on_average_where_all_dimensions_interact():
    generator = np.random.default_rng(0)
    matrix = generator.normal(size=(40, 40)) / np.sqrt(40)
    np.fill_diagonal(matrix, -2)
    noise, h, x = [0.5] * 40, 0.3, torch.zeros(40).double()
    exact = van_loan(matrix.tolist(), noise, h)[1].diagonal()

    def mean_error(likelihood):
        _, covariance = after(likelihood, linear(matrix.tolist()), constant(*noise), x, h)
        return abs(float((covariance.diagonal() / exact - 1).mean()))

    assert mean_error(ProbedClosure()) < 0.25 * mean_error(DiagonalClosure())


def test_variances_of_a_curved_drift_are_those_of_simulated_paths():
    """Sites on a row that are pulled together, each in a double well, with noise of their own."""
    d, h, paths = 9, 0.25, 40_000

    def force(x):
        out = x - x**3 - 4 * x
        out[..., 1:] += 2 * x[..., :-1]
        out[..., :-1] += 2 * x[..., 1:]
        return out

    def squared(x):
        return 0.3 + 0.1 * x.square()

    class Sites(torchsde.SDEIto):
        def f(self, t, y):
            return force(y)

        def g(self, t, y):
            return squared(y).sqrt()

    start = torch.linspace(-1, 1, d)
    ends = hp.simulate(
        Sites("diagonal"), start, torch.tensor([0.0, h]), paths, seed=0, step=h / 50
    ).x.view(paths, 2, d)[:, 1]
    exact = ends.double().var(0)

    def worst(likelihood):
        _, covariance = after(
            likelihood, Explicit(lambda t, x: force(x)), Explicit(lambda t, x: squared(x)),
            start.double(), h,
        )  # fmt: skip
        return float((covariance.diagonal() / exact - 1).abs().max())

    # The variance of so many paths is right to .7 %, the largest of nine to some 2 %.
    assert worst(DiagonalClosure()) > 0.1
    assert worst(ProbedClosure()) < 0.03
