"""The model of an SDE problem: all that is fitted, in standardised units, and what was chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from hollowpde.densities import DensityModel
from hollowpde.operators.field import Field
from hollowpde.problem.sde.coefficients import Coefficients
from hollowpde.problem.sde.forms import Form, Place
from hollowpde.problem.sde.observation import NoiseLevel, ObservationNoise


class SDEModel(nn.Module):
    """Candidates of drift and squared diffusion, and of the density, and what was chosen.

    Of each diffusion there are as many pairs of coefficients as ridges to fit with. `chosen` is
    which pair was chosen, `likelihood` which transition likelihood, both counted from 0 and -1
    before the choice; `kinds` which diffusion each member has, -1 before it has begun;
    `components` is the size of the density, 0 before the choice; `paired` says whether data are
    paths. Of snapshots, `settled` is the
    ridge of each diffusion, -1 before the choice, the anchors are what the equations of each round
    are weighed by, and `refused` says that drift and diffusion cannot be known.
    """

    chosen: Tensor
    likelihood: Tensor
    components: Tensor
    kinds: Tensor
    noisy: Tensor
    settled: Tensor
    refused: Tensor
    paired: Tensor

    def __init__(
        self,
        place: Place,
        drift: Form,
        diffusions: Sequence[Form],
        densities: Mapping[int, DensityModel],
        ridges: int,
        members: int,
        observation: ObservationNoise,
        paired: bool = True,
        rounds: int = 0,
    ) -> None:
        super().__init__()
        self.place = place
        self.standardisation = place.units
        self.ridges = ridges

        self.coefficients = nn.ModuleList(
            Coefficients(place, drift, D, observation) for D in diffusions for _ in range(ridges)
        )
        self.densities = nn.ModuleDict({str(k): p for k, p in densities.items()})
        # Each with a diffusion of its own choice: the choice is uncertain too.
        self.members = nn.ModuleList(
            nn.ModuleList(Coefficients(place, drift, D, observation) for D in diffusions)
            for _ in range(members)
        )
        # Of snapshots: what the equations of each round of each diffusion are weighed by.
        self.anchors = nn.ModuleList(
            Coefficients(place, drift, D, observation) for D in diffusions for _ in range(rounds)
        )
        self.anchors.requires_grad_(False)
        self.register_buffer("settled", torch.full((len(diffusions),), -1, dtype=torch.long))
        self.register_buffer("refused", torch.tensor(False))
        self.register_buffer("paired", torch.tensor(paired))
        self.register_buffer("kinds", torch.full((members,), -1, dtype=torch.long))
        none = torch.full((), -1, dtype=torch.long)
        self.register_buffer("chosen", none.clone())
        self.register_buffer("likelihood", none.clone())
        self.register_buffer("components", torch.zeros((), dtype=torch.long))
        # By name in the declaration; kept, so that a model is restored without the data.
        self.register_buffer("noisy", torch.tensor(place.noisy))

    def pair(self, k: int) -> Coefficients:
        """A candidate of drift and diffusion."""
        return _coefficients(self.coefficients, k)

    def anchor(self, k: int) -> Coefficients:
        """The coefficients that a round starts from."""
        return _coefficients(self.anchors, k)

    @property
    def best(self) -> Coefficients:
        """The drift and diffusion that were chosen, or else the first."""
        return self.pair(max(0, int(self.chosen)))

    def member(self, k: int) -> Coefficients:
        """A member of the ensemble, with the diffusion that it has chosen."""
        return _coefficients(self.members[k], int(self.kinds[k]))

    @property
    def begun(self) -> int:
        """How many members have been given a start."""
        return int((self.kinds >= 0).sum())

    @property
    def drift(self) -> Field:
        return self.best.drift

    @property
    def diffusion(self) -> Field:
        return self.best.diffusion

    @property
    def noise(self) -> NoiseLevel | None:
        """The noise of the observations, if they are not exact."""
        return self.best.noise

    @property
    def density(self) -> DensityModel:
        """The density that was chosen."""
        return self.candidate(int(self.components))

    def candidate(self, components: int) -> DensityModel:
        density = self.densities[str(components)]
        if not isinstance(density, DensityModel):
            raise TypeError("candidates are densities")
        return density

    def to_dtype(self, dtype: torch.dtype) -> None:
        """Take networks to a dtype; units stay in double precision."""
        for part in (self.coefficients, self.members, self.densities, self.anchors):
            part.to(dtype=dtype)
        self.standardisation.double()

    def volume(self, x: Tensor) -> float:
        """What the NLL of states in standardised units lacks in the user's, on average."""
        units = self.standardisation
        logarithms = (x * units.scale + units.shift)[:, list(self.place.positive)]
        return float(units.scale.log().sum() + logarithms.sum(1).mean())


def _coefficients(kinds: nn.Module, k: int) -> Coefficients:
    pair = kinds[k] if isinstance(kinds, nn.ModuleList) else None
    if not isinstance(pair, Coefficients):
        raise TypeError("candidates are coefficients")
    return pair
