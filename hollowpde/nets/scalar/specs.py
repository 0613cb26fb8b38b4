"""Scalar networks as specifications, built when the dimension is known."""

from __future__ import annotations

from dataclasses import dataclass

from hollowpde.nets.activations import Activation, silu
from hollowpde.nets.scalar.coordinates import Period
from hollowpde.nets.scalar.product import ProductNet
from hollowpde.nets.scalar.ridge import RidgeNet
from hollowpde.nets.scalar.separable import SeparableNet


@dataclass(frozen=True)
class Separable:
    r"""The sizes of a `SeparableNet`, chosen before the dimension is known.

    $$ u(t, x) = F(t, s), \quad s = d^{-1/2} \sum_j \varphi_j(t, x_j) $$

    Arguments:
        features, inner, outer, activation, shared, period: as in `SeparableNet`.

    >>> hp.Separable(shared=True).build(3)(0.0, torch.zeros(5, 3)).shape
    torch.Size([5])
    """

    features: int = 16
    inner: tuple[int, ...] = (16,)
    outer: tuple[int, ...] = (64, 64)
    activation: Activation = silu
    shared: bool = False
    period: Period = None

    def build(self, dim: int) -> SeparableNet:
        return SeparableNet(
            dim, self.features, self.inner, self.outer, self.activation, self.shared, self.period
        )


@dataclass(frozen=True)
class Ridge:
    """The sizes of a `RidgeNet`, chosen before the dimension is known.

    $$ u(t, x) = F(W x + t c + b) $$

    Arguments:
        hidden, activation, spread: as in `RidgeNet`.

    >>> hp.Ridge(spread=5.0).build(2)(0.0, torch.zeros(5, 2)).shape
    torch.Size([5])
    """

    hidden: tuple[int, ...] = (64, 64)
    activation: Activation = silu
    spread: float | None = None

    def build(self, dim: int) -> RidgeNet:
        return RidgeNet(dim, self.hidden, self.activation, self.spread)


@dataclass(frozen=True)
class Product:
    r"""The sizes of a `ProductNet`, chosen before the dimension is known.

    $$ u(t, x) = b + \sum_r w_r \prod_j \left(1 + d^{-1/2} g_{rj}(t, x_j)\right) $$

    Arguments:
        rank, inner, activation, shared, period: as in `ProductNet`.

    >>> hp.Product(period=1.0).build(3)(0.0, torch.zeros(5, 3)).shape
    torch.Size([5])
    """

    rank: int = 16
    inner: tuple[int, ...] = (16,)
    activation: Activation = silu
    shared: bool = False
    period: Period = None

    def build(self, dim: int) -> ProductNet:
        return ProductNet(dim, self.rank, self.inner, self.activation, self.shared, self.period)
