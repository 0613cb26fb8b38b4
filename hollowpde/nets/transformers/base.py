"""What a transformer is: f_i = tau_i(x_i, h_i), differentiated in x_i with h_i held fixed."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Transformer(nn.Module, ABC):
    """A network that maps each (x_i, h_i) to f_i, dimension by dimension."""

    @abstractmethod
    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> Tensor:
        """f `(..., d)` from x `(..., d)`, h `(..., d, features)`, covariates c `(..., m)`."""

    def dimwise(self, x: Tensor, h: Tensor, c: Tensor, order: int) -> tuple[Tensor, ...]:
        """The value and d^k tau_i / dx_i^k with h fixed, by the modified backward graph.

        tau is evaluated at a copy of x, on which h does not depend: the Jacobian with respect to
        the copy is diagonal, so the gradient of the sum holds every derivative at once. The
        gradient of the result still reaches h, x and the parameters.
        """
        if order == 0:
            return (self(x, h, c),)
        keep_graph = torch.is_grad_enabled()
        with torch.enable_grad():
            copy = x.clone() if keep_graph and x.requires_grad else x.detach().requires_grad_()
            out = [self(copy, h, c)]
            for k in range(1, order + 1):
                if not out[-1].requires_grad:
                    out.append(torch.zeros_like(x))
                    continue
                (derivative,) = torch.autograd.grad(
                    out[-1].sum(), copy, create_graph=keep_graph or k < order,
                    materialize_grads=True,
                )  # fmt: skip
                out.append(derivative)
        return tuple(out) if keep_graph else tuple(y.detach() for y in out)


class TransformerSpec(ABC):
    """The sizes of a transformer, chosen before the dimension is known."""

    @abstractmethod
    def build(self, dim: int, features: int, covariates: int) -> Transformer:
        """The transformer for x in R^dim, h_i in R^features and that many covariates."""
