"""The model of an SDE problem, in standardised units, and what it says in the user's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hollowpde.data import Pairs, Standardisation
from hollowpde.densities import Density, GaussianMixture
from hollowpde.nets import Autonomous, Hollow, Positive
from hollowpde.nets.wrappers import Scaled
from hollowpde.operators.field import Field, as_time


class SDEModel(nn.Module):
    """Drift, squared diffusion and the candidate densities, as networks of standardised inputs.

    `components` is the size of the density that was chosen, 0 before the choice.
    """

    components: Tensor

    def __init__(
        self,
        dim: int,
        drift: Hollow,
        diffusion: Hollow,
        candidates: tuple[int, ...],
        autonomous: bool,
    ) -> None:
        super().__init__()
        self.standardisation = Standardisation(dim)
        f: Field = drift.build(dim)
        D: Field = diffusion.build(dim)
        if autonomous:
            f, D = Autonomous(f), Autonomous(D)
        self.drift = Scaled(f, torch.ones(dim))
        self.diffusion = Scaled(Positive(D), torch.ones(dim))
        self.densities = nn.ModuleDict({str(k): GaussianMixture(dim, k) for k in candidates})
        self.register_buffer("components", torch.zeros((), dtype=torch.long))

    @property
    def density(self) -> GaussianMixture:
        """The density that was chosen."""
        return self.candidate(int(self.components))

    def candidate(self, components: int) -> GaussianMixture:
        density = self.densities[str(components)]
        if not isinstance(density, GaussianMixture):
            raise TypeError("candidates are mixtures")
        return density

    @torch.no_grad()
    def start_from(self, pairs: Pairs) -> None:
        """Scale the outputs so that networks of order one give a drift and diffusion of the data.

        The diffusion starts at the quadratic variation per unit of time, the drift at the size of
        the best linear one, and at least of one that would balance that diffusion.
        """
        increment = pairs.x_next - pairs.x
        diffusion = increment.square().mean(0) / pairs.step.mean()
        design = torch.cat([torch.ones_like(pairs.x[:, :1]), pairs.x], dim=1)
        weight = pairs.step.unsqueeze(1)
        fitted = torch.linalg.lstsq(design * weight, increment).solution
        linear = (design @ fitted).square().mean(0).sqrt()
        self.drift.scale.copy_(torch.maximum(linear, diffusion / 2))
        # softplus(0) = log 2 is where the network starts.
        self.diffusion.scale.copy_(diffusion / np.log(2))


class PhysicalField(Field):
    r"""A vector field of standardised units in the user's: `scale^power / t_scale * field(z)`.

    The power is 1 for a drift and 2 for a squared diffusion. Inputs of any floating-point dtype
    are standardised in float64 and evaluated in the dtype of the network; the result has the
    dtype of x, and t is taken in it too: give x in float64 where time stamps are large.
    """

    def __init__(self, field: Field, units: Standardisation, power: int) -> None:
        super().__init__()
        self.field, self.units, self.power = field, units, power

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        dtype = _dtype(self.field)
        values = self.field.dimwise(self.units.time(t, dtype), self.units.state(x, dtype), order)
        factor = self.units.scale**self.power / self.units.t_scale
        return tuple((v * factor / self.units.scale**k).to(x) for k, v in enumerate(values))


class PhysicalDensity(Density):
    """A density of standardised units in the user's, normalised there; inputs as arrays too."""

    def __init__(self, density: GaussianMixture, units: Standardisation) -> None:
        super().__init__()
        self.density, self.units = density, units

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        value, *rest = self._scaled(self.density.dimwise(*self._standard(t, x), order))
        value = value - self.units.scale.log().sum()
        return value.to(x), *(v.to(x) for v in rest)

    def in_time(
        self, t: Tensor, x: Tensor, order: int
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        values, slopes = self.density.in_time(*self._standard(as_time(t, x), x), order)
        value, *rest = self._scaled(values)
        value = value - self.units.scale.log().sum()
        rates = (v / self.units.t_scale for v in self._scaled(slopes))
        return (value.to(x), *(v.to(x) for v in rest)), tuple(v.to(x) for v in rates)

    def _scaled(self, values: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The value, and derivatives with respect to x in the user's units."""
        value, *rest = values
        return value, *(v / self.units.scale**k for k, v in enumerate(rest, start=1))

    def log_prob(self, t: Tensor | float | np.ndarray, x: Tensor | np.ndarray) -> Tensor:
        return super().log_prob(*_tensors(t, x))

    def score(self, t: Tensor | float | np.ndarray, x: Tensor | np.ndarray) -> Tensor:
        return super().score(*_tensors(t, x))

    def marginal_log_prob(self, t: Tensor | float, x: Tensor) -> Tensor:
        """log p_j(t, x_j) of each coordinate alone, `(..., d)`."""
        inner = self.density.marginal_log_prob(*self._standard(as_time(t, x), x))
        return (inner - self.units.scale.log()).to(x)

    @property
    def interval(self) -> tuple[float, float]:
        """The first and the last time of the data that it was fitted to."""
        centre, half = float(self.units.t_shift), float(self.units.t_scale)
        return centre - half, centre + half

    def sample(
        self, t: Tensor | float, n: int, generator: torch.Generator | None = None
    ) -> Tensor:
        dtype = _dtype(self.density)
        tau = self.units.time(torch.as_tensor(t, dtype=torch.float64), dtype)
        z = self.density.sample(tau, n, generator)
        return (z.to(self.units.scale) * self.units.scale + self.units.shift).to(dtype)

    def _standard(self, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        dtype = _dtype(self.density)
        return self.units.time(t, dtype), self.units.state(x, dtype)


class FittedSDE(nn.Module):
    """The fitted SDE `dX = f dt + g dW` in the torchsde protocol; t a scalar or batched.

    `drift` and `diffusion` (D = g^2) are fields, with exact derivatives.
    """

    noise_type = "diagonal"
    sde_type = "ito"

    def __init__(self, drift: Field, diffusion: Field) -> None:
        super().__init__()
        self.drift, self.diffusion = drift, diffusion

    def f(self, t: Tensor | float, y: Tensor) -> Tensor:
        """The drift, in the shape of y `(..., d)`."""
        return self.drift(t, y)

    def g(self, t: Tensor | float, y: Tensor) -> Tensor:
        """The diffusion, in the shape of y `(..., d)`."""
        return self.diffusion(t, y).sqrt()


class LearnedSDE:
    """What an SDE fit has learned, in the user's units: `sde` and `density`."""

    def __init__(self, model: SDEModel) -> None:
        units = model.standardisation
        self.sde = FittedSDE(
            PhysicalField(model.drift, units, power=1),
            PhysicalField(model.diffusion, units, power=2),
        )
        self.density = PhysicalDensity(model.density, units)


def dim_of(state: Mapping[str, Any]) -> int:
    """The dimension of the model whose state this is."""
    return len(state["standardisation.shift"])


def _dtype(module: nn.Module) -> torch.dtype:
    return next(module.parameters()).dtype


def _tensors(
    t: Tensor | float | np.ndarray, x: Tensor | np.ndarray
) -> tuple[Tensor | float, Tensor]:
    points = x if isinstance(x, Tensor) else torch.as_tensor(np.ascontiguousarray(x))
    if not points.is_floating_point():
        points = points.to(torch.get_default_dtype())
    return (t if isinstance(t, float | int) else torch.as_tensor(t)), points
