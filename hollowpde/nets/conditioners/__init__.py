"""Conditioners: how h_i comes from every input but the i-th. One file per family."""

from hollowpde.nets.conditioners.base import Conditioner, ConditionerSpec, NoConditioner
from hollowpde.nets.conditioners.masked_mlp import MaskedMLP

__all__ = ["Conditioner", "ConditionerSpec", "MaskedMLP", "NoConditioner"]
