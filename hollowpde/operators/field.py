"""What a field is: a module called as `field(t, x)` that knows its dimension-wise derivatives."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from hollowpde.errors import InputError, UnsupportedError


class Field(nn.Module, ABC):
    """A function of time and space with exact dimension-wise derivatives of any order.

    Shapes: `t` is a scalar or has the batch shape `(...)`; `x` is `(..., d)`; a vector field
    returns `(..., d)` and a scalar field `(...)`; every derivative has the shape of `x`.
    """

    @abstractmethod
    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        """The value and d^k f_i / dx_i^k (vector) or d^k u / dx_i^k (scalar), k = 1..order."""

    def forward(self, t: Tensor | float, x: Tensor) -> Tensor:
        return self.dimwise(as_time(t, x), x, 0)[0]

    def in_time(
        self, t: Tensor, x: Tensor, order: int
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """What `dimwise` gives, and d/dt of each part at fixed x: one forward-mode pass."""
        t = as_time(t, x)
        both = torch.func.jvp(lambda s: self.dimwise(s, x, order), (t,), (torch.ones_like(t),))
        return both[0], both[1]

    def with_laplacian(
        self, t: Tensor, x: Tensor, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Of a scalar field: value `(...)`, gradient `(..., d)` and `sum_i a_i d_ii u` `(...)`.

        `weights` are a, `(d,)` or `(..., d)`, of any sign; None is the Laplacian. A field whose
        sum of second derivatives is cheaper than its parts overrides this.
        """
        value, d1, d2 = self.dimwise(t, x, 2)
        return value, d1, (d2 if weights is None else weights * d2).sum(-1)


def as_time(t: Tensor | float, x: Tensor) -> Tensor:
    """Time as a tensor of the batch shape of x, in its dtype.

    >>> as_time(0.5, torch.zeros(2, 3))
    tensor([0.5000, 0.5000])
    """
    check_points(x)
    batch = x.shape[:-1]
    time = torch.as_tensor(t, dtype=x.dtype, device=x.device)
    if time.shape == batch:
        return time.contiguous()
    if time.ndim:
        raise InputError(
            f"t must be a scalar or have the batch shape {tuple(batch)} of x, "
            f"but its shape is {tuple(time.shape)}."
        )
    # Not left expanded: forward mode writes a tangent of the same layout.
    return time.expand(batch).contiguous()


def check_points(x: Tensor) -> None:
    """Refuse points that no field takes: x must be `(..., d)`, float32 or float64."""
    if not isinstance(x, Tensor) or x.ndim == 0:
        raise InputError("x must be a tensor of shape (..., d), such as x.reshape(1, d).")
    if x.dtype not in (torch.float32, torch.float64):
        raise InputError(f"x must be float32 or float64, but is {x.dtype}: use x.float().")
    if torch.is_autocast_enabled(x.device.type):
        raise InputError(
            "autocast would compute derivatives in half precision, where they mean little: "
            "evaluate fields within torch.autocast(..., enabled=False)."
        )


def check_dtype(x: Tensor, parameter: Tensor) -> None:
    """Refuse points of another dtype than a network's parameters: nothing is silently cast."""
    if x.dtype != parameter.dtype:
        raise InputError(
            f"x is {x.dtype}, but this network is {parameter.dtype}: use "
            f"x.to({parameter.dtype}), or field.to({x.dtype}) once."
        )


def refuse_inference_mode(what: str) -> None:
    """Refuse reverse mode where torch records nothing: every derivative would come out as zero."""
    if torch.is_inference_mode_enabled():
        raise UnsupportedError(
            f"{what} differentiates by reverse mode, of which torch.inference_mode() records "
            "nothing: use torch.no_grad() instead."
        )


def transformed() -> bool:
    """Whether a transform is at work that must see every operation: functorch, forward mode."""
    return (
        torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
        or torch.autograd.forward_ad._current_level >= 0
    )
