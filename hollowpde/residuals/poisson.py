"""The Poisson equation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from hollowpde.operators.jets import Jet
from hollowpde.residuals.coefficients import check_scalar, scalar


@dataclass(frozen=True)
class Poisson:
    r"""The Poisson equation, in which time plays no part.

    $$ -\Delta u - s(x) $$

    Arguments:
        source: s, a number or a function `s(x)` of x `(..., d)` that returns `(...)`.

    Raises:
        InputError: s is no number, or returns another shape.

    Source:
        Evans, Partial Differential Equations (2010), section 2.2.

    Example:
        >>> from hollowpde.residuals import Poisson
        >>> poisson = hp.Residual(Poisson(lambda x: x.sin().prod(-1)))
        >>> poisson([hp.SeparableNet(2)], torch.tensor(0.0), torch.zeros(4, 2)).shape
        torch.Size([4])
    """

    source: Callable[[Tensor], Tensor] | float

    def __post_init__(self) -> None:
        check_scalar("source", self.source, "s(x)")

    def __call__(self, u: Jet, t: Tensor, x: Tensor) -> Tensor:
        left = -u.laplacian
        return left - scalar("source", self.source, (x,), left)
