"""A stiff system learned from noisy paths at irregular times, through an implicit solver.

Six components relax at rates from 1 to 10^4 to functions of each other and of a slow force. The
same fit through an explicit method, for as long, is `learn_stiff.py:dopri5`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

import hollowpde as hp

DIM, END, DOUBLE = 6, 2.0, torch.float64
RATE = torch.logspace(0, 4, DIM, dtype=DOUBLE)
GENERATOR = torch.Generator().manual_seed(1)
COUPLING = torch.randn(DIM, DIM, generator=GENERATOR, dtype=DOUBLE).fill_diagonal_(0) / 2
OFFSET = torch.randn(DIM, generator=GENERATOR, dtype=DOUBLE) / 2


def truth(t: Tensor, y: Tensor) -> Tensor:
    target = torch.tanh(y @ COUPLING.T + OFFSET + torch.sin(3 * t)[:, None])
    return -RATE * (y - target)


def diagonal(t: Tensor, y: Tensor) -> Tensor:
    return -RATE.expand_as(y)


@dataclass(frozen=True)
class Paths:
    """Paths from anywhere, each at times of its own: half of them in the first instants.

    Arguments:
        paths, times: how many, and how often each is observed after its start.
        noise: standard deviation of every observation.
        seed: of all that is random.
    """

    paths: int = 400
    times: int = 40
    noise: float = 0.01
    seed: int = 0

    def load(self) -> hp.Trajectories:
        generator = torch.Generator().manual_seed(self.seed)
        y0 = 4 * torch.rand(self.paths, DIM, generator=generator, dtype=DOUBLE) - 2
        # Half of 200 instants in the first moments; each path has some of them.
        late = torch.rand(100, generator=generator, dtype=DOUBLE)
        early = 10 ** (-5 * torch.rand(100, generator=generator, dtype=DOUBLE))
        instants = END * torch.cat([torch.zeros(1), late, early]).sort().values
        keys = torch.rand(self.paths, 200, generator=generator)
        chosen = 1 + keys.argsort(-1)[:, : self.times].sort(-1).values
        chosen = torch.cat([torch.zeros(self.paths, 1, dtype=torch.long), chosen], -1)
        solution = hp.solve_ivp(
            truth, (0.0, END), y0, diagonal=diagonal, t_eval=instants, rtol=1e-6, atol=1e-8
        )
        y = solution.y[chosen, torch.arange(self.paths)[:, None]]
        y = y + self.noise * torch.randn(y.shape, generator=generator, dtype=DOUBLE)
        path = torch.arange(self.paths).repeat_interleave(self.times + 1)
        return hp.Trajectories(instants[chosen].flatten(), y.flatten(0, 1), path)


def learn(name: str, matching: hp.Matching, shooting: hp.Shooting) -> None:
    hp.register(
        hp.ODEProblem(
            name=name,
            data=Paths(),
            truth=truth,
            field=hp.Hollow(hp.MaskedMLP(hidden=(32, 32), features=8), hp.SharedMLP((32,))),
            rtol=1e-4,
            atol=1e-4,
            matching=matching,
            shooting=shooting,
        )
    )


learn(
    "learn_stiff",
    hp.Matching(optimiser=hp.Adam(steps=3500, lr=1.5e-2), stop=hp.EarlyStop(every=500)),
    hp.Shooting(
        lengths=(1,),
        optimiser=hp.Adam(steps=60, lr=1e-3, warmup=5, averaging=0.95),
        stop=hp.EarlyStop(every=20),
    ),
)
# Matching leans on the exact diagonal, as the implicit solver does: neither is to be had here.
learn(
    "dopri5",
    hp.Matching(optimiser=hp.Adam(steps=0)),
    hp.Shooting(
        lengths=(1,),
        method=hp.RungeKutta(),
        batch=32,
        optimiser=hp.Adam(steps=10, lr=5e-2, warmup=1, averaging=0.5),
        stop=hp.EarlyStop(every=5),
    ),
)
