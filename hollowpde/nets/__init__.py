"""Networks that are fields."""

from hollowpde.nets.activations import Activation, erf, gelu, sigmoid, silu, sin, softplus, tanh
from hollowpde.nets.conditioners import (
    Conditioner,
    ConditionerSpec,
    Convolution1d,
    Convolution2d,
    ExclusiveAttention,
    ExclusivePooling,
    MaskedMLP,
)
from hollowpde.nets.hollow import Hollow, HollowNet
from hollowpde.nets.scalar import ProductNet, RidgeNet, SeparableNet
from hollowpde.nets.transformers import (
    AffineGate,
    SeparateMLP,
    SharedMLP,
    Transformer,
    TransformerSpec,
)
from hollowpde.nets.wrappers import Autonomous, Positive, Scaled

__all__ = [
    "Activation",
    "AffineGate",
    "Autonomous",
    "Conditioner",
    "ConditionerSpec",
    "Convolution1d",
    "Convolution2d",
    "ExclusiveAttention",
    "ExclusivePooling",
    "Hollow",
    "HollowNet",
    "MaskedMLP",
    "Positive",
    "ProductNet",
    "RidgeNet",
    "Scaled",
    "SeparableNet",
    "SeparateMLP",
    "SharedMLP",
    "Transformer",
    "TransformerSpec",
    "erf",
    "gelu",
    "sigmoid",
    "silu",
    "sin",
    "softplus",
    "tanh",
]
