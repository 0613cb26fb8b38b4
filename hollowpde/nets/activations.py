"""Activations: a function together with its Taylor rule, so that the two cannot disagree."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hollowpde import taylor


@dataclass(frozen=True)
class Activation:
    """A smooth nonlinearity; any `taylor.Rule` makes one.

    >>> silu
    Activation(silu)
    """

    rule: taylor.Rule

    def __call__(self, z: Tensor) -> Tensor:
        return self.rule.about(z, 0)[0]

    def __repr__(self) -> str:
        return f"Activation({self.rule.name})"


silu = Activation(taylor.silu)
tanh = Activation(taylor.tanh)
sigmoid = Activation(taylor.sigmoid)
softplus = Activation(taylor.softplus)
gelu = Activation(taylor.gelu)
erf = Activation(taylor.erf)
sin = Activation(taylor.sin)
