"""Linear SDEs with their exact transitions, and what a likelihood makes of them."""

import itertools
import math

import numpy as np
import scipy
import torch

from hollowpde.likelihoods import DiagonalNormal, NormalMixture

from .families import Explicit


def constant(*values):
    values = torch.tensor(values, dtype=torch.float64)
    return Explicit(lambda t, x: values.expand_as(x))


def linear(matrix):
    matrix = torch.tensor(matrix, dtype=torch.float64)
    return Explicit(lambda t, x: x @ matrix.T)


def orders(error, steps):
    """The observed order of an error as the step is halved."""
    errors = [error(h) for h in steps]
    assert min(errors) > 1e-13, "the errors are lost in rounding"
    return [math.log2(a / b) for a, b in itertools.pairwise(errors)]


STEPS = [0.04, 0.02, 0.01]


def gaussian(transition):
    """Means `(n, d)` and covariances `(n, d, d)` of a transition."""
    if isinstance(transition, DiagonalNormal):
        return transition.mean.detach(), torch.diag_embed(transition.variance).detach()
    if isinstance(transition, NormalMixture):
        mean, factor = transition.mean.double(), transition.factor.double()
        covariance = factor @ factor.mT
    else:
        mean, covariance = (
            transition.law.mean.double(),
            transition.law.variance.double()[..., None],
        )
    weight = transition.weight.double()
    centre = torch.einsum("k,kni->ni", weight, mean)
    second = covariance + mean.unsqueeze(-1) * mean.unsqueeze(-2)
    second = torch.einsum("k,knij->nij", weight, second)
    return centre.detach(), (second - centre.unsqueeze(-1) * centre.unsqueeze(-2)).detach()


def after(likelihood, drift, diffusion, x, step, dtype=torch.float64):
    """Mean `(d,)` and covariance `(d, d)` of the transition from x at t = 0.3."""
    t, step = (torch.tensor([y], dtype=dtype) for y in (0.3, step))
    mean, covariance = gaussian(likelihood.transition(drift, diffusion, t, x[None], step))
    return mean[0], covariance[0]


def van_loan(matrix, noise, h):
    """The exact transition of dX = A X dt + dW, diagonal D: expm(A h), and the covariance.

    Van Loan, Computing integrals involving the matrix exponential (1978).
    """
    a, d = np.asarray(matrix, float), len(matrix)
    block = np.block([[-a, np.diag(noise)], [np.zeros((d, d)), a.T]])
    exponential = scipy.linalg.expm(block * h)
    flow = exponential[d:, d:].T
    return torch.from_numpy(flow), torch.from_numpy(flow @ exponential[:d, d:])


def coupled(dim):
    """A linear SDE in which every dimension drives every other one: matrix, noise, start."""
    generator = torch.Generator().manual_seed(dim)
    matrix = 0.5 * torch.randn(dim, dim, generator=generator).double() - torch.eye(dim)
    noise = 0.2 + torch.rand(dim, generator=generator).double()
    return matrix.tolist(), noise.tolist(), torch.randn(dim, generator=generator).double()


def errors_of(likelihood, matrix, noise, x):
    """The errors of mean and covariance as functions of the step."""

    def error(which):
        def of(h):
            flow, covariance = van_loan(matrix, noise, h)
            got = after(likelihood, linear(matrix), constant(*noise), x, h)
            return float((got[which] - (flow @ x, covariance)[which]).abs().max())

        return of

    return error(0), error(1)
