"""What a transformer is: f_i = tau_i(x_i, h_i), differentiated in x_i with h_i held fixed."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from hollowpde.errors import InputError
from hollowpde.operators.field import refuse_inference_mode, transformed


class Transformer(nn.Module, ABC):
    """A network that maps each (x_i, h_i) to f_i, dimension by dimension.

    Set `width`, how many numbers it computes of each row at a time, where evaluating it again
    gives the same (no dropout, no state) and all that is trained are its parameters: large
    batches are then taken in blocks, and evaluated anew for the gradient instead of kept.
    """

    width: int | None = None

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
        if transformed():

            def total(y: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
                values = self.dimwise(y, h, c, order - 1)
                return values[-1].sum(), values

            last, values = torch.func.grad(total, has_aux=True)(x)
            return *values, last
        refuse_inference_mode("a transformer without a Taylor pass of its own")
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


def check_widths(hidden: tuple[int, ...]) -> None:
    """Raise an InputError unless there is a hidden layer and every width is positive."""
    if not hidden or min(hidden) < 1:
        raise InputError(f"hidden must hold at least one width, all positive, but is {hidden}.")


class TransformerSpec(ABC):
    """The sizes of a transformer, chosen before the dimension is known."""

    @abstractmethod
    def build(self, dim: int, features: int, covariates: int) -> Transformer:
        """The transformer for x in R^dim, h_i in R^features and that many covariates."""
