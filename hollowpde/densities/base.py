"""What a density is: a scalar field log p(t, x), normalised in x at every t."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

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
