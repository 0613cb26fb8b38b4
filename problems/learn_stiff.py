"""A stiff system learned from a few noisy observations of each path, through an implicit solver.

Six components relax at rates from 1 to 10^5 to functions of each other and of a slow force, which
goes through one and a half periods while a path is seen six times. The same fit through an
explicit method is `learn_stiff.py:dopri5`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

import hollowpde as hp

DIM, END, DOUBLE = 6, 3.0, torch.float64
RATE = torch.logspace(0, 5, DIM, dtype=DOUBLE)
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
    """Paths from anywhere, each at times of its own: some in the first moments, the others later.

    Arguments:
        paths: how many.
        early, late: how often each is observed after its start, at times that are uniform in
            their logarithm, and uniform.
        noise: standard deviation of every observation.
        seed: of all that is random.
    """

    paths: int = 1000
    early: int = 2
    late: int = 4
    noise: float = 0.01
    seed: int = 0

    def load(self) -> hp.Trajectories:
        generator = torch.Generator().manual_seed(self.seed)
        y0 = 4 * torch.rand(self.paths, DIM, generator=generator, dtype=DOUBLE) - 2
        # All paths are solved at once, at 200 instants; each is seen at some of them.
        shares = torch.rand(2, 100, generator=generator, dtype=DOUBLE)
        instants, order = (END * torch.cat([10 ** (-6 * shares[0]), shares[1]])).sort()
        keys = torch.rand(2, self.paths, 200, generator=generator)
        chosen = torch.cat([
            torch.where(mask, key, 2.0).argsort(-1)[:, :count]
            for mask, key, count in zip(
                (order < 100, order >= 100), keys, (self.early, self.late), strict=True
            )
        ], -1).sort(-1).values  # fmt: skip
        solution = hp.solve_ivp(
            truth, (0.0, END), y0, diagonal=diagonal, t_eval=instants, rtol=1e-6, atol=1e-8
        )
        later = solution.y[chosen, torch.arange(self.paths)[:, None]]
        y = torch.cat([y0[:, None], later], 1)
        t = torch.cat([torch.zeros(self.paths, 1, dtype=DOUBLE), instants[chosen]], 1)
        y = y + self.noise * torch.randn(y.shape, generator=generator, dtype=DOUBLE)
        path = torch.arange(self.paths).repeat_interleave(t.shape[1])
        return hp.Trajectories(t.flatten(), y.flatten(0, 1), path)


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


MATCHING = hp.Matching(optimiser=hp.Adam(steps=3000, lr=1.5e-2), stop=hp.EarlyStop(every=500))
learn(
    "learn_stiff",
    MATCHING,
    hp.Shooting(
        lengths=(1,),
        optimiser=hp.Adam(steps=160, lr=5e-3, warmup=5, averaging=0.95),
        stop=hp.EarlyStop(every=40),
    ),
)
# Its ten thousand steps do not take it from an observation to the next, but for the earliest.
learn("dopri5", MATCHING, hp.Shooting(lengths=(1,), method=hp.RungeKutta(), batch=32))
