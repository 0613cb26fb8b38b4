"""Scalar fields whose gradient, dimension-wise derivatives and Laplacian are exact and cheap."""

from hollowpde.nets.scalar.product import ProductNet
from hollowpde.nets.scalar.ridge import RidgeNet
from hollowpde.nets.scalar.separable import SeparableNet
from hollowpde.nets.scalar.specs import Product, Ridge, Separable

__all__ = ["Product", "ProductNet", "Ridge", "RidgeNet", "Separable", "SeparableNet"]
