"""Hollow networks: a conditioner, then a transformer, and exact dimension-wise derivatives."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hollowpde.errors import InputError
from hollowpde.nets import blocks
from hollowpde.nets.conditioners import ConditionerSpec, MaskedMLP
from hollowpde.nets.transformers import SharedMLP, TransformerSpec
from hollowpde.operators.field import Field, as_time, check_dtype


class HollowNet(Field):
    r"""A vector field `f_i(t, x) = tau_i(x_i, h_i)` with `h_i = c_i(t, x_{-i})`.

    With h held fixed, every dimension-wise derivative `d^k f_i / dx_i^k` is exact, for all i at
    once, at a cost that does not grow with d; gradients with respect to parameters and x reach
    through h, so losses on the derivatives train.

    It represents any f whose i-th component depends on x_{-i} through `features` numbers. It does
    not give mixed derivatives, nor `d^2 f_i / dx_j^2` for j != i.

    Arguments:
        dim: d, the dimension of x.
        context: width of an optional context vector; bind it with `given`.
        conditioner: the sizes of c, such as `MaskedMLP(hidden=(64, 64), features=16)`.
        transformer: the sizes of tau, such as `SharedMLP(hidden=(32, 32))`.

    Raises:
        InputError: dim below 1, or x, t or context of the wrong shape.

    Source:
        Chen and Duvenaud, Neural Networks with Cheap Differential Operators (2019).

    Example:
        >>> net = hp.HollowNet(2, conditioner=hp.MaskedMLP(hidden=(32,)))
        >>> net(torch.tensor(0.0), torch.zeros(5, 2)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        dim: int,
        context: int = 0,
        conditioner: ConditionerSpec | None = None,
        transformer: TransformerSpec | None = None,
    ) -> None:
        super().__init__()
        if dim < 1 or context < 0:
            raise InputError(
                f"dim must be at least 1 and context at least 0, but they are {dim} and {context}."
            )
        self.dim, self.context = dim, context
        covariates = 1 + context
        self.conditioner = (conditioner or MaskedMLP()).build(dim, covariates)
        features = self.conditioner.features
        self.transformer = (transformer or SharedMLP()).build(dim, features, covariates)

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        return self._dimwise(t, x, None, order)

    def hidden(self, t: Tensor | float, x: Tensor, context: Tensor | None = None) -> Tensor:
        """h `(..., d, features)`: h_i does not depend on x_i."""
        return self.conditioner(x, self._covariates(as_time(t, x), x, context))

    def given(self, context: Tensor) -> Given:
        """The field conditioned on a context, `(context,)` or `(..., context)`.

        >>> net = hp.HollowNet(2, context=3).given(torch.ones(3))
        >>> net(0.0, torch.zeros(5, 2)).shape
        torch.Size([5, 2])
        """
        return Given(self, context)

    def extra_repr(self) -> str:
        return f"dim={self.dim}" + (f", context={self.context}" if self.context else "")

    def _dimwise(
        self, t: Tensor, x: Tensor, context: Tensor | None, order: int
    ) -> tuple[Tensor, ...]:
        c = self._covariates(t, x, context)
        try:
            h = self.conditioner(x, c)
            return blocks.dimwise(self.transformer, x, h, c, order)
        except RuntimeError:
            check_dtype(x, next(self.parameters()))
            raise

    def _covariates(self, t: Tensor, x: Tensor, context: Tensor | None) -> Tensor:
        if x.shape[-1] != self.dim:
            raise InputError(
                f"x must have {self.dim} columns, the dim of this network, but has shape "
                f"{tuple(x.shape)}."
            )
        given = 0 if context is None else context.shape[-1] if context.ndim else 1
        if given != self.context:
            raise InputError(
                f"context must have width {self.context}, but has {given}: "
                "bind one with net.given(context)."
            )
        time = t.unsqueeze(-1)
        if context is None:
            return time
        if context.dtype != x.dtype:
            raise InputError(
                f"context is {context.dtype}, but x is {x.dtype}: convert one of them."
            )
        shape = (*x.shape[:-1], self.context)
        try:
            return torch.cat([time, context.expand(shape)], dim=-1)
        except RuntimeError as error:
            raise InputError(
                f"context must have the shape ({self.context},) or {shape}, one row per point of "
                f"x, but has {tuple(context.shape)}."
            ) from error


@dataclass(frozen=True)
class Hollow:
    """The sizes of a `HollowNet`, chosen before the dimension is known.

    >>> hp.Hollow(transformer=hp.SharedMLP(hidden=(16,))).build(3).dim
    3
    """

    conditioner: ConditionerSpec = MaskedMLP()
    transformer: TransformerSpec = SharedMLP()

    def build(self, dim: int) -> HollowNet:
        return HollowNet(dim, conditioner=self.conditioner, transformer=self.transformer)


class Given(Field):
    """A hollow network with its context bound, which is a field like any other."""

    context: Tensor

    def __init__(self, net: HollowNet, context: Tensor) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("context", context)

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        return self.net._dimwise(t, x, self.context, order)
