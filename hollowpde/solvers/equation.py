r"""The equations that inner solvers solve: `R(z) = 0`, one for each sample of a batch.

A step of an implicit method asks for the root of `R(z) = z - b - c f(t, z)`, whose Jacobian is
`I - c J`; root finding for that of `R(z) = F(z)`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from hollowpde.solvers.system import System


class Equation(ABC):
    """`R(z) = 0` for z `(n, d)`."""

    system: System

    @property
    def knows_diagonal(self) -> bool:
        return self.system.knows_diagonal

    @abstractmethod
    def residual(self, z: Tensor) -> Tensor:
        """R, `(n, d)`."""

    @abstractmethod
    def with_slope(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """R, and the diagonal of the Jacobian of the function behind it, `(n, d)` each."""

    @property
    def factor(self) -> Tensor | None:
        """What that of R depends on beside the slope, if on anything."""
        return None

    @abstractmethod
    def diagonal(self, slope: Tensor) -> Tensor:
        """The diagonal of the Jacobian of R, from a slope of now or before."""

    def with_diagonal(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """R and the diagonal of its Jacobian, `(n, d)` each."""
        R, slope = self.with_slope(z)
        return R, self.diagonal(slope)

    @abstractmethod
    def derivative(self, z: Tensor) -> Tensor:
        """The Jacobian of the function behind R, `(n, d, d)`: what is worth keeping."""

    @abstractmethod
    def matrix(self, derivative: Tensor) -> Tensor:
        """The Jacobian of R, from a derivative of before."""

    @abstractmethod
    def product(self, z: Tensor, v: Tensor) -> Tensor:
        """The Jacobian of R times v, `(n, d)`."""

    def polished(self, z: Tensor, residual: Tensor) -> Tensor:
        """A root near z, where the residual is small already."""
        return z

    @abstractmethod
    def select(self, rows: Tensor) -> Equation:
        """The equation of some of the samples."""


@dataclass(frozen=True)
class Stage(Equation):
    """`z = b + c f(t, z)`, what a step of an implicit method asks for.

    Arguments:
        system: f.
        t: `(n,)`.
        base: b, `(n, d)`.
        c: `(n, 1)`.
    """

    system: System
    t: Tensor
    base: Tensor
    c: Tensor

    def residual(self, z: Tensor) -> Tensor:
        return (z - self.base).addcmul_(self.c, self.system(self.t, z), value=-1.0)

    def with_slope(self, z: Tensor) -> tuple[Tensor, Tensor]:
        value, slope = self.system.with_diagonal(self.t, z)
        return (z - self.base).addcmul_(self.c, value, value=-1.0), slope

    @property
    def factor(self) -> Tensor:
        return self.c

    def diagonal(self, slope: Tensor) -> Tensor:
        return 1.0 - self.c * slope

    def polished(self, z: Tensor, residual: Tensor) -> Tensor:
        # b + c f(t, z), which keeps every sum that f keeps.
        return z - residual

    def derivative(self, z: Tensor) -> Tensor:
        return self.system.jacobian(self.t, z)

    def matrix(self, derivative: Tensor) -> Tensor:
        eye = torch.eye(derivative.shape[-1], dtype=derivative.dtype, device=derivative.device)
        return eye - self.c.unsqueeze(-1) * derivative

    def product(self, z: Tensor, v: Tensor) -> Tensor:
        return v - self.c * self.system.jvp(self.t, z, v)

    def select(self, rows: Tensor) -> Stage:
        return Stage(self.system, self.t[rows], self.base[rows], self.c[rows])


@dataclass(frozen=True)
class Root(Equation):
    """`F(z) = 0`.

    Arguments:
        system: F, whose time is of no account.
        t: zeros `(n,)`.
    """

    system: System
    t: Tensor

    def residual(self, z: Tensor) -> Tensor:
        return self.system(self.t, z)

    def with_slope(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.system.with_diagonal(self.t, z)

    def diagonal(self, slope: Tensor) -> Tensor:
        return slope

    def derivative(self, z: Tensor) -> Tensor:
        return self.system.jacobian(self.t, z)

    def matrix(self, derivative: Tensor) -> Tensor:
        return derivative

    def product(self, z: Tensor, v: Tensor) -> Tensor:
        return self.system.jvp(self.t, z, v)

    def select(self, rows: Tensor) -> Root:
        return Root(self.system, self.t[rows])
