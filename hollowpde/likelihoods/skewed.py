"""Skewed normal laws of three moments, by the sinh-arcsinh transformation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hollowpde.likelihoods.transition import Mixture

# E S, E Z^2 S and E S^3 of S = sqrt(1 + Z^2), Z standard normal.
_S1, _S2, _S3 = 1.3545308064813153, 1.9194216537269735, 3.273952460208289
# With q = s / sqrt(1 + A s^2) the skewness of Z c + S s, c^2 - s^2 = 1, is B q - C q^3.
_A = 3 - _S1**2
_B = 3 * (_S2 - _S1)
_C = _A * _B - (3 * _S2 + _S3 - 9 * _S1 + 2 * _S1**3)
# Short of 1.44, which no sinh-arcsinh law reaches.
_MOST_SKEW = 1.2


@dataclass(frozen=True)
class Skewed:
    """Laws on the line of given mean, variance and third central moment, each `(..., 1)`.

    `variance` and `third` are None for states that are known exactly.
    """

    mean: Tensor
    variance: Tensor | None
    third: Tensor | None

    @property
    def skewness(self) -> Tensor:
        assert self.third is not None
        skew = self.third / self._positive.pow(1.5)
        return skew.clamp(-_MOST_SKEW, _MOST_SKEW)

    @property
    def _positive(self) -> Tensor:
        """The variance; 1 where it is zero, so that roots have a gradient."""
        assert self.variance is not None
        return torch.where(self.variance == 0, 1.0, self.variance)

    def points(self) -> tuple[Tensor, Tensor]:
        r"""Three points `(3, ..., 1)` and their weights, with these moments.

        In units of the standard deviation, with the kurtosis k = 3 + 3/2 skew^2 of a gamma law,

        $$ u_0 = 0, \quad u_\pm = \tfrac12 \gamma \pm \sqrt{k - \tfrac34 \gamma^2}, \quad
           w_\pm = \frac{\pm 1}{u_\pm (u_+ - u_-)} $$
        """
        if self.variance is None:
            return self.mean.unsqueeze(0), torch.ones_like(self.mean).unsqueeze(0)
        skew = self.skewness
        root = (3 + 0.75 * skew.square()).sqrt()
        up, down = 0.5 * skew + root, 0.5 * skew - root
        above, below = 0.5 / (up * root), -0.5 / (down * root)
        scale = torch.where(self.variance == 0, 0.0, self._positive.sqrt())
        return (
            self.mean + scale * torch.stack([torch.zeros_like(up), up, down]),
            torch.stack([1 - above - below, above, below]),
        )

    def at(self, z: Tensor) -> Tensor:
        """The states that standard normal values `(K, 1)` stand for, `(K, ..., 1)`."""
        z = z.view(-1, *(1 for _ in self.mean.shape))
        s, c = self._shift()
        scale = self._scale(s)
        return self.mean + scale * (z * c + (1 + z.square()).sqrt() * s - _S1 * s)

    def normal(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The standard normal values z that states stand for, and log dz/dx."""
        s, c = self._shift()
        scale = self._scale(s)
        y = (x - self.mean) / scale + _S1 * s
        root = (1 + y.square()).sqrt()
        return y * c - root * s, (c - s * y / root).log() - scale.log()

    def mixture(self, weight: Tensor) -> SkewedMixture:
        """The transition with these laws, of batch `(K, n)`, as its components."""
        return SkewedMixture(weight, self)

    def _shift(self) -> tuple[Tensor, Tensor]:
        r"""s = sinh \epsilon and c = cosh \epsilon of the law `x = Z c + sqrt(1 + Z^2) s`.

        Its skewness is `B q - C q^3`, `q = s / sqrt(1 + A s^2)`: solved for q by the sine of a
        third of an angle.
        """
        half = math.sqrt(_B / (3 * _C))
        q = 2 * half * (torch.asin(self.skewness * (1.5 / (_B * half))) / 3).sin()
        s = q / (1 - _A * q.square()).sqrt()
        return s, (1 + s.square()).sqrt()

    def _scale(self, s: Tensor) -> Tensor:
        assert self.variance is not None
        return (self.variance / (1 + _A * s.square())).sqrt()


@dataclass(frozen=True, eq=False)
class SkewedMixture(Mixture):
    """A mixture of skewed normal laws on the line.

    The state is an increasing function of a standard normal Z, unbounded and with normal tails:
    `x = loc + scale (Z cosh e + sqrt(1 + Z^2) sinh e) = loc + scale sinh(arcsinh Z + e)`.

    Arguments:
        weight: `(K,)`, positive, of sum one.
        law: mean, variance and third central moment, each `(K, n, 1)`.

    Source:
        Jones and Pewsey, Sinh-arcsinh distributions (2009).
    """

    weight: Tensor
    law: Skewed

    def normal(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.law.normal(x)
