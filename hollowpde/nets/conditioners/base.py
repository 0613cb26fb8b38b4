"""What a conditioner is: h_i = c_i(x_{-i}), a function of every input but the i-th."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Conditioner(nn.Module, ABC):
    """A network h: R^d -> R^{d x features} whose h_i does not depend on x_i.

    `features` is the width of each h_i; it is 0 where there is nothing to depend on (d = 1).
    """

    features: int

    @abstractmethod
    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """h `(..., d, features)` from x `(..., d)` and covariates (time, context) c `(..., m)`."""


class ConditionerSpec(ABC):
    """The sizes of a conditioner, chosen before the dimension is known."""

    @abstractmethod
    def build(self, dim: int, covariates: int) -> Conditioner:
        """The conditioner for x in R^dim and that many covariates."""


class NoConditioner(Conditioner):
    """The conditioner of d = 1, where there is no other dimension: h is empty."""

    features = 0

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        return x.new_empty(*x.shape, 0)
