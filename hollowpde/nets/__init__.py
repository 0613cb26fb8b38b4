"""Networks that are fields."""

from hollowpde.nets.activations import Activation, sigmoid, silu, softplus, tanh
from hollowpde.nets.conditioners import Conditioner, ConditionerSpec, MaskedMLP
from hollowpde.nets.hollow import Hollow, HollowNet
from hollowpde.nets.transformers import SharedMLP, Transformer, TransformerSpec
from hollowpde.nets.wrappers import Autonomous, Positive, Scaled

__all__ = [
    "Activation",
    "Autonomous",
    "Conditioner",
    "ConditionerSpec",
    "Hollow",
    "HollowNet",
    "MaskedMLP",
    "Positive",
    "Scaled",
    "SharedMLP",
    "Transformer",
    "TransformerSpec",
    "sigmoid",
    "silu",
    "softplus",
    "tanh",
]
