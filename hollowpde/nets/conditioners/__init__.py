"""Conditioners: how h_i comes from every input but the i-th. One file per family."""

from hollowpde.nets.conditioners.attention import ExclusiveAttention
from hollowpde.nets.conditioners.base import Conditioner, ConditionerSpec, NoConditioner
from hollowpde.nets.conditioners.convolution import Convolution1d, Convolution2d
from hollowpde.nets.conditioners.masked_mlp import MaskedMLP
from hollowpde.nets.conditioners.pooling import ExclusivePooling

__all__ = [
    "Conditioner",
    "ConditionerSpec",
    "Convolution1d",
    "Convolution2d",
    "ExclusiveAttention",
    "ExclusivePooling",
    "MaskedMLP",
    "NoConditioner",
]
