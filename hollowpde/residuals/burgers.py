"""The Burgers equation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hollowpde.errors import InputError
from hollowpde.operators.jets import Jet
from hollowpde.residuals.coefficients import check_number


@dataclass(frozen=True)
class Burgers:
    r"""The viscous Burgers equation, on a line: a velocity that carries itself along.

    $$ \partial_t u + u \, \partial_x u - \nu \, \partial_{xx} u $$

    Arguments:
        viscosity: nu; a shock of height h is about 4 nu / h wide.

    Raises:
        InputError: nu is negative, or x has more than one column.

    Source:
        Burgers, A mathematical model illustrating the theory of turbulence (1948).

    Example:
        >>> from hollowpde.residuals import Burgers
        >>> burgers = hp.Residual(Burgers(0.01))
        >>> burgers([hp.SeparableNet(1)], torch.tensor(0.5), torch.zeros(4, 1)).shape
        torch.Size([4])
    """

    viscosity: float

    def __post_init__(self) -> None:
        check_number("viscosity", self.viscosity)

    def __call__(self, u: Jet, t: Tensor, x: Tensor) -> Tensor:
        if x.shape[-1] != 1:
            raise InputError(
                "Burgers is an equation on a line: x must have one column, but has the shape "
                f"{tuple(x.shape)}."
            )
        return u.dt - self.viscosity * u.laplacian + u.value * u.gradient.squeeze(-1)
