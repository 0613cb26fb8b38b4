"""Test functions of the weak form: smooth, bounded, with closed-form derivatives."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from hollowpde.errors import InputError

# Directions in which whitened functions vary less than this share of the strongest are dropped:
# of so small a variation samples tell next to nothing.
_CUT = 1e-3


class TestFunctions(ABC):
    """Functions phi_m(x), m = 1..M, and what the generator of an SDE makes of them."""

    __test__ = False  # of pytest's business

    @abstractmethod
    def value(self, x: Tensor) -> Tensor:
        """phi at points `(n, d)`: `(n, M)`."""

    @abstractmethod
    def weights(self, x: Tensor) -> Tensor:
        """What f and D are multiplied with in the generator, `d_i phi` and `d_ii phi / 2`.

        At points `(n, d)`: `(n, M, 2 d)`.
        """

    def generator(self, x: Tensor, coefficients: Tensor) -> Tensor:
        r"""`L phi = f . grad phi + 1/2 sum_i D_i d_ii phi` at points, `(n, M)`.

        Arguments:
            x: points, `(n, d)`.
            coefficients: f and D there, side by side, `(n, 2 d)`.
        """
        return torch.einsum("nmi,ni->nm", self.weights(x), coefficients)


class Cosines(TestFunctions):
    """`cos(omega_m . x + b_m)`.

    Arguments:
        omega: `(M, d)`.
        phase: `(M,)`.
    """

    def __init__(self, omega: Tensor, phase: Tensor) -> None:
        self.omega, self.phase = omega, phase

    def value(self, x: Tensor) -> Tensor:
        return torch.cos(x @ self.omega.T + self.phase)

    def weights(self, x: Tensor) -> Tensor:
        angle = (x @ self.omega.T + self.phase).unsqueeze(-1)
        first = -torch.sin(angle) * self.omega
        second = -0.5 * torch.cos(angle) * self.omega.square()
        return torch.cat([first, second], dim=-1)

    def generator(self, x: Tensor, coefficients: Tensor) -> Tensor:
        # Without the derivatives along each dimension, of which there may be many.
        angle = x @ self.omega.T + self.phase
        f, D = coefficients.chunk(2, dim=-1)
        return -torch.sin(angle) * (f @ self.omega.T) - 0.5 * torch.cos(angle) * (
            D @ self.omega.square().T
        )


class Bumps(TestFunctions):
    """`exp(-|x - c_m|^2 / (2 l_m^2))`.

    Arguments:
        centres: c, `(M, d)`.
        lengths: l, `(M,)`.
    """

    def __init__(self, centres: Tensor, lengths: Tensor) -> None:
        self.centres, self.lengths = centres, lengths

    def value(self, x: Tensor) -> Tensor:
        return (-0.5 * self._away(x).square().sum(-1)).exp()

    def weights(self, x: Tensor) -> Tensor:
        u, length = self._away(x), self.lengths.unsqueeze(-1)
        phi = (-0.5 * u.square().sum(-1, keepdim=True)).exp()
        return torch.cat([-phi * u / length, 0.5 * phi * (u.square() - 1) / length**2], dim=-1)

    def _away(self, x: Tensor) -> Tensor:
        return (x.unsqueeze(-2) - self.centres) / self.lengths.unsqueeze(-1)


class Whitened(TestFunctions):
    """Linear combinations of test functions that are uncorrelated, of variance one, on samples.

    Arguments:
        functions: those combined.
        x: the samples, `(n, d)`.
    """

    def __init__(self, functions: TestFunctions, x: Tensor) -> None:
        self.functions = functions
        variance, direction = torch.linalg.eigh(torch.cov(functions.value(x).T))
        kept = variance > _CUT * variance.max()
        self.mixing = direction[:, kept] / variance[kept].sqrt()

    def value(self, x: Tensor) -> Tensor:
        return self.functions.value(x) @ self.mixing

    def weights(self, x: Tensor) -> Tensor:
        return torch.einsum("nki,km->nmi", self.functions.weights(x), self.mixing)

    def generator(self, x: Tensor, coefficients: Tensor) -> Tensor:
        return self.functions.generator(x, coefficients) @ self.mixing


class Drawn(Protocol):
    """A family of test functions, drawn when the data are known."""

    def draw(self, x: Tensor, generator: torch.Generator) -> TestFunctions: ...


@dataclass(frozen=True)
class RandomCosines:
    r"""Cosines of random directions, lengths and phases: bounded, and smooth on every scale.

    $$ \phi(x) = \cos(\omega \cdot x / \ell + b), \quad \omega \sim N(0, 1) $$

    Arguments:
        count: how many are drawn; whitening leaves those that the data can tell apart.
        lengths: the shortest and longest l, in standard deviations of the data; logarithms are
            drawn uniformly.

    Source:
        Rahimi and Recht, Random Features for Large-Scale Kernel Machines (2007).
    """

    count: int = 96
    lengths: tuple[float, float] = (0.3, 2.5)

    def __post_init__(self) -> None:
        _check(self.count, self.lengths)

    def draw(self, x: Tensor, generator: torch.Generator) -> TestFunctions:
        """Cosines for standardised samples x `(n, d)`."""
        d = x.shape[-1]
        # The same scale in every number of dimensions: |omega| grows as the root of it.
        lengths = _lengths(self.count, self.lengths, generator).unsqueeze(-1) * math.sqrt(d)
        omega = torch.randn(self.count, d, generator=generator, dtype=torch.float64) / lengths
        phase = 2 * math.pi * torch.rand(self.count, generator=generator, dtype=torch.float64)
        return Cosines(omega.to(x.device), phase.to(x.device))


@dataclass(frozen=True)
class RandomBumps:
    r"""Gaussian kernels centred at samples drawn at random.

    $$ \phi(x) = \exp(-|x - c|^2 / (2 \ell^2)) $$

    Arguments:
        count: how many are drawn; whitening leaves those that the data can tell apart.
        lengths: the shortest and longest l, in standard deviations of the data; logarithms are
            drawn uniformly.
    """

    count: int = 96
    lengths: tuple[float, float] = (0.3, 2.5)

    def __post_init__(self) -> None:
        _check(self.count, self.lengths)

    def draw(self, x: Tensor, generator: torch.Generator) -> TestFunctions:
        """Kernels for standardised samples x `(n, d)`."""
        chosen = torch.randint(len(x), (self.count,), generator=generator)
        lengths = _lengths(self.count, self.lengths, generator) * math.sqrt(x.shape[-1])
        return Bumps(x[chosen.to(x.device)], lengths.to(x.device))


def _check(count: int, lengths: tuple[float, float]) -> None:
    if count < 1:
        raise InputError(f"count must be at least 1, but is {count}.")
    if not 0 < lengths[0] <= lengths[1]:
        raise InputError(
            f"lengths must be a shortest and a longest, both positive, but are {lengths}."
        )


def _lengths(n: int, ends: tuple[float, float], generator: torch.Generator) -> Tensor:
    low, high = map(math.log, ends)
    return (low + (high - low) * torch.rand(n, generator=generator, dtype=torch.float64)).exp()
