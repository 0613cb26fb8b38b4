"""What a density is: a scalar field log p(t, x), normalised in x at every t."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch
from torch import Tensor

from hollowpde.errors import UnsupportedError
from hollowpde.operators.field import Field, as_time


class Density(Field):
    """A time-dependent probability density on R^d; as a field it is log p(t, x)."""

    def log_prob(self, t: Tensor | float, x: Tensor) -> Tensor:
        """log p(t, x) in nats, `(...)`, normalised over x."""
        return self(t, x)

    def score(self, t: Tensor | float, x: Tensor) -> Tensor:
        """The score grad_x log p(t, x), `(..., d)`, exactly."""
        return self.dimwise(as_time(t, x), x, 1)[1]

    @abstractmethod
    def sample(
        self, t: Tensor | float, n: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """n draws at each time: `(n, d)` for a scalar t, `(n, *t.shape, d)` otherwise."""


class DensityModel(Density):
    """A density that is fitted to samples by its likelihood: what a fit asks of one.

    Mixtures are; so may be a normalising flow, or a density of your own.
    """

    @abstractmethod
    def start_from(self, x: np.ndarray, seed: int) -> None:
        """Take starting values from samples of all times, `(n, d)`."""

    @abstractmethod
    def marginal_log_prob(self, t: Tensor | float, x: Tensor) -> Tensor:
        """log p_j(t, x_j) of each coordinate alone, `(..., d)`."""

    def noisy_log_prob(self, t: Tensor | float, y: Tensor, variance: Tensor) -> Tensor:
        """log p of `y = x + N(0, variance)`, `(...)`; variance `(d,)` of independent noise."""
        raise UnsupportedError(
            f"a {type(self).__name__} cannot take noise of observations out: use a mixture, or "
            "leave observation out."
        )

    def marginal_cdf(self, t: Tensor | float, x: Tensor) -> Tensor:
        """The distribution function of each coordinate alone, `(..., d)`."""
        raise UnsupportedError(
            f"a {type(self).__name__} has no distribution function in closed form: use a mixture."
        )
