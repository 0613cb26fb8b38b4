"""The Fokker-Planck equation in one dimension, integrated once: the flux of probability."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hollowpde.densities import DensityModel
from hollowpde.errors import InputError
from hollowpde.operators.dimwise import dimwise
from hollowpde.operators.field import Field, as_time
from hollowpde.operators.reference import FieldLike


class Flux:
    r"""The flux form of the Fokker-Planck equation on a line, divided by the density.

    $$ \frac{\partial_t F}{p} + f - \tfrac12 \left( \partial_x D + D \, \partial_x \log p \right),
       \quad F(t, x) = \int_{-\infty}^x p(t, y) \, dy $$

    The first term is minus the velocity with which probability flows: on a line the density alone
    determines it. The fields are, in this order: log p, a density with a `marginal_cdf`; the
    drift f; the squared diffusion D.

    Raises:
        InputError: another number of fields, no such density, or more than one dimension.

    Source:
        Risken, The Fokker-Planck Equation (1989), section 5.1.

    Example:
        >>> from hollowpde.residuals import flux
        >>> p, f = hp.GaussianMixture(dim=1, components=3), hp.HollowNet(1)
        >>> D = hp.Positive(hp.HollowNet(1))
        >>> flux()([p, f, D], torch.tensor(0.5), torch.zeros(4, 1)).shape
        torch.Size([4])
    """

    def __call__(self, fields: Sequence[Field | FieldLike], t: Tensor, x: Tensor) -> Tensor:
        if len(fields) != 3:
            raise InputError(f"fields must hold 3 fields, but holds {len(fields)}.")
        density, drift, diffusion = fields
        if not isinstance(density, DensityModel):
            raise InputError(
                "fields: the first must be a density with a marginal_cdf, such as a mixture, but "
                f"is a {type(density).__name__}."
            )
        if x.shape[-1] != 1:
            raise InputError(f"x must have one column, but has shape {tuple(x.shape)}.")
        t = as_time(t, x)
        change = _rate(density, t, x)
        value, score = density.dimwise(t, x, 1)
        D, slope = dimwise(diffusion, t, x, order=1)
        away = drift(t, x) - 0.5 * (slope + D * score)
        return (change / value.exp().unsqueeze(-1) + away).squeeze(-1)


def _rate(density: DensityModel, t: Tensor, x: Tensor) -> Tensor:
    """The time derivative of the distribution function, in the shape of x."""

    def cdf(s: Tensor) -> Tensor:
        return density.marginal_cdf(s, x)

    moved: tuple[Tensor, ...] = torch.func.jvp(cdf, (t,), (torch.ones_like(t),))
    return moved[1]


def flux() -> Flux:
    """The flux form of the Fokker-Planck equation on a line; see `Flux`."""
    return Flux()
