"""The cases: shipped problems, of which no path is seen twice."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from hollowpde.bench.sde.cases import Case, Task
from hollowpde.data import Simulated
from hollowpde.errors import InputError
from hollowpde.nets import Hollow, MaskedMLP, SharedMLP, silu
from hollowpde.problem import SDEProblem, find_problem
from hollowpde.problem.sde.forms import NetworkSpec
from hollowpde.problem.shipped import shipped_problems

_TIMES = 15
_SAMPLES = 5000


@dataclass(frozen=True)
class Snapshots(Case):
    """A shipped problem, of which samples are seen at each of 15 times, `dt` apart.

    Arguments:
        problem: its file.
        dt: between the times.
        registered: its name there, if it is not that of the file.
        drift, diffusion: instead of those of the file.
        samples: at each time.
    """

    registered: str = ""
    drift: NetworkSpec | None = None
    diffusion: NetworkSpec | None = None
    samples: int = _SAMPLES

    @property
    def declaration(self) -> str:
        """The name of the problem in its file."""
        return self.registered or self.problem

    @property
    def name(self) -> str:
        free = "" if self.diffusion is None else ", hollow D"
        few = "" if self.samples == _SAMPLES else f", {self.samples} samples"
        return self.declaration + free + few

    @property
    def title(self) -> str:
        last = self.dt * (_TIMES - 1)
        return (
            f"{self.declaration} of problems/{self.problem}.py, {self.samples} samples at "
            f"{_TIMES} times up to {last:g}"
        )

    def declared(self) -> SDEProblem:
        """The problem as shipped, but for the data."""
        problem, _ = find_problem(f"{shipped_problems()[self.problem]}:{self.declaration}")
        if not isinstance(problem, SDEProblem) or not isinstance(problem.data, Simulated):
            raise InputError(f"{self.declaration!r} must be an SDE problem with simulated data.")
        times = torch.linspace(0, self.dt * (_TIMES - 1), _TIMES, dtype=torch.float64)
        data = replace(problem.data, times=times, paths=self.samples, step=None, paired=False)
        return replace(
            problem,
            data=data,
            drift=self.drift or problem.drift,
            diffusion=self.diffusion or problem.diffusion,
        )

    def task(self, seed: int, paths: int | None = None) -> Task:
        """The data of one seed; at most so many samples at each time."""
        problem = self.declared()
        assert isinstance(problem.data, Simulated)
        data = replace(problem.data, seed=seed, paths=min(self.samples, paths or self.samples))
        return Task(self, replace(problem, data=data.load()), data, seed)


def _up_to(last: float) -> float:
    return last / (_TIMES - 1)


# A drift without its linear part, or a diffusion that is a function: a network alone.
_HOLLOW = Hollow(
    MaskedMLP(hidden=(32, 32), features=8), SharedMLP(hidden=(32, 32), activation=silu)
)

CASES = {
    case.name: case
    for case in (
        Snapshots("double_well", _up_to(3), "double_well_unpaired"),
        Snapshots("double_well_2d", _up_to(3)),
        Snapshots("ou_2d", _up_to(2), "ou_2d_unpaired"),
        Snapshots("van_der_pol", _up_to(3), "van_der_pol_unpaired"),
        Snapshots("ou_process", _up_to(2)),
        Snapshots("cir", _up_to(2)),
    )
}

# Of which it is counted what the fit says of itself.
TRIED = {
    case.name: case
    for case in (
        Snapshots("stationary_ou", _up_to(2)),
        Snapshots("rotating_ou", _up_to(2)),
        Snapshots("ou_2d", _up_to(2), drift=_HOLLOW),
        Snapshots("ou_2d", _up_to(2), drift=_HOLLOW, diffusion=_HOLLOW),
        *(Snapshots("ou_2d", _up_to(2), drift=_HOLLOW, samples=n) for n in (800, 400, 200)),
        CASES["double_well_unpaired"],
        CASES["cir"],
        CASES["ou_process"],
    )
}
