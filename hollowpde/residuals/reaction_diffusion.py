"""What diffuses and reacts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from hollowpde.errors import InputError
from hollowpde.operators.jets import Jet
from hollowpde.residuals.coefficients import check_number, scalar


@dataclass(frozen=True)
class ReactionDiffusion:
    r"""What diffuses, and is produced or consumed at a rate that depends on how much there is.

    $$ \partial_t u - \kappa \, \Delta u - R(u) $$

    Arguments:
        diffusivity: kappa.
        reaction: R, called as `R(u)` with the values u `(...)`, returns `(...)`.

    Raises:
        InputError: kappa is negative, or R is no function or returns another shape.

    Source:
        Fisher, The wave of advance of advantageous genes (1937).

    Example:
        >>> from hollowpde.residuals import ReactionDiffusion
        >>> fisher = hp.Residual(ReactionDiffusion(0.1, lambda u: u * (1 - u)))
        >>> fisher([hp.SeparableNet(2)], torch.tensor(0.5), torch.zeros(4, 2)).shape
        torch.Size([4])
    """

    diffusivity: float
    reaction: Callable[[Tensor], Tensor]

    def __post_init__(self) -> None:
        check_number("diffusivity", self.diffusivity)
        if not callable(self.reaction):
            raise InputError(
                f"reaction must be a function, called as R(u), but is {self.reaction!r}."
            )

    def __call__(self, u: Jet, t: Tensor, x: Tensor) -> Tensor:
        left = u.dt - self.diffusivity * u.laplacian
        return left - scalar("reaction", self.reaction, (u.value,), left)


@dataclass(frozen=True)
class AllenCahn:
    r"""The Allen-Cahn equation: two phases, u = -1 and u = 1, that separate.

    $$ \partial_t u - \kappa \, \Delta u - r (u - u^3) $$

    Arguments:
        diffusivity: kappa; fronts between the phases are about sqrt(kappa / r) wide.
        rate: r.

    Raises:
        InputError: kappa or r is negative.

    Source:
        Allen and Cahn, A microscopic theory for antiphase boundary motion (1979).

    Example:
        >>> from hollowpde.residuals import AllenCahn
        >>> phases = hp.Residual(AllenCahn(diffusivity=1e-2))
        >>> phases([hp.SeparableNet(2)], torch.tensor(0.5), torch.zeros(4, 2)).shape
        torch.Size([4])
    """

    diffusivity: float = 1.0
    rate: float = 1.0

    def __post_init__(self) -> None:
        check_number("diffusivity", self.diffusivity)
        check_number("rate", self.rate)

    def __call__(self, u: Jet, t: Tensor, x: Tensor) -> Tensor:
        left = u.dt - self.diffusivity * u.laplacian
        return left - self.rate * (u.value - u.value**3)
