"""Fields with a structure that the user knows: linear, gradients, formulas, other units."""

from hollowpde.nets.structured.constant import ConstantField
from hollowpde.nets.structured.exponential import Exponential, ExponentialField
from hollowpde.nets.structured.function import FromFunction, as_field
from hollowpde.nets.structured.gradient import GradientField
from hollowpde.nets.structured.known import KnownFunction
from hollowpde.nets.structured.lifted import Lifted
from hollowpde.nets.structured.linear import LinearField, SymmetricField
from hollowpde.nets.structured.logarithm import (
    FromLogDiffusion,
    FromLogDrift,
    ToLogDiffusion,
    ToLogDrift,
)
from hollowpde.nets.structured.masked import Masked
from hollowpde.nets.structured.moving_linear import MovingLinear, MovingLinearField
from hollowpde.nets.structured.moving_quadratic import MovingQuadratic, MovingQuadraticField
from hollowpde.nets.structured.rescaled import Rescaled
from hollowpde.nets.structured.specs import Constant, Gradient, Linear
from hollowpde.nets.structured.sum import Sum

__all__ = [
    "Constant",
    "ConstantField",
    "Exponential",
    "ExponentialField",
    "FromFunction",
    "FromLogDiffusion",
    "FromLogDrift",
    "Gradient",
    "GradientField",
    "KnownFunction",
    "Lifted",
    "Linear",
    "LinearField",
    "Masked",
    "MovingLinear",
    "MovingLinearField",
    "MovingQuadratic",
    "MovingQuadraticField",
    "Rescaled",
    "Sum",
    "SymmetricField",
    "ToLogDiffusion",
    "ToLogDrift",
    "as_field",
]
