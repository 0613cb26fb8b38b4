"""Samplers: at which points in time and space an equation is asked to hold."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from scipy.stats import qmc
from torch import Tensor

from hollowpde.data import Data, Trajectories
from hollowpde.errors import InputError
from hollowpde.problem.pde.domain import Domain

Interval = tuple[float, float]


class Sampler(ABC):
    """Draws points (t, x), in double precision."""

    @abstractmethod
    def draw(
        self, domain: Domain, time: Interval | None, n: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Times `(n,)` and points `(n, d)`; times are 0 for a steady equation."""

    @abstractmethod
    def at(self, domain: Domain, time: Interval, t: Tensor, generator: torch.Generator) -> Tensor:
        """Points `(n, d)` at given times `(n,)`."""


@dataclass(frozen=True)
class Uniform(Sampler):
    """Independent points, evenly distributed in time and in the domain.

    >>> Uniform().draw(hp.Box((0.0,), (1.0,)), (0.0, 1.0), 3, torch.Generator())[1].shape
    torch.Size([3, 1])
    """

    def draw(
        self, domain: Domain, time: Interval | None, n: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        unit = _random(n, domain.numbers + 1, generator)
        return _times(time, unit[:, 0]), domain.points(unit[:, 1:])

    def at(self, domain: Domain, time: Interval, t: Tensor, generator: torch.Generator) -> Tensor:
        return domain.points(_random(len(t), domain.numbers, generator))


@dataclass(frozen=True)
class Sobol(Sampler):
    """Scrambled Sobol points: they fill time and the domain more evenly than independent ones.

    Source:
        Owen, Scrambling Sobol' and Niederreiter-Xing Points (1998); scipy.stats.qmc.

    >>> Sobol().draw(hp.Box((0.0,), (1.0,)), (0.0, 1.0), 4, torch.Generator())[0].shape
    torch.Size([4])
    """

    def draw(
        self, domain: Domain, time: Interval | None, n: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        unit = sobol(n, domain.numbers + 1, generator)
        return _times(time, unit[:, 0]), domain.points(unit[:, 1:])

    def at(self, domain: Domain, time: Interval, t: Tensor, generator: torch.Generator) -> Tensor:
        return domain.points(sobol(len(t), domain.numbers, generator))


@dataclass(frozen=True)
class BrownianLaw(Sampler):
    r"""The law of the Brownian motion that drives a heat-type equation.

    $$ X = x_0 + \sqrt{2 \kappa s} \, Z, \quad s = t - t_0, \text{ or } T - t \text{ for an
       equation with initial values} $$

    In high dimension a box is all corners: where the solution is asked for, and what it depends
    on, are points that a Brownian motion from there reaches. For terminal conditions
    (Black-Scholes, Hamilton-Jacobi-Bellman) it starts at t_0; for initial ones it runs backward
    from T.

    Arguments:
        start: x_0: the same number in all coordinates, or a function `start(n, generator)` that
            draws `(n, d)`.
        diffusivity: kappa, of the term `kappa Lap u`.
        backward: whether it runs from T back to t_0.
        widen: factor on the standard deviation, 1 for the law itself.

    Source:
        Han, Jentzen and E, Solving high-dimensional partial differential equations using deep
        learning (2018).

    >>> law = BrownianLaw(diffusivity=0.5)
    >>> law.draw(hp.Space(100), (0.0, 1.0), 4, torch.Generator())[1].shape
    torch.Size([4, 100])
    """

    start: float | Callable[[int, torch.Generator], Tensor] = 0.0
    diffusivity: float = 1.0
    backward: bool = False
    widen: float = 1.0

    def __post_init__(self) -> None:
        for name in ("diffusivity", "widen"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be positive, but is {getattr(self, name)}.")

    def draw(
        self, domain: Domain, time: Interval | None, n: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        if time is None:
            raise InputError("a BrownianLaw needs a time interval: take hp.Sobol() when steady.")
        # Stratified in time: one point in each of n equal parts.
        shares = (torch.arange(n) + _random(n, 1, generator)[:, 0]) / n
        t = _times(time, shares)
        return t, self.at(domain, time, t, generator)

    def at(self, domain: Domain, time: Interval, t: Tensor, generator: torch.Generator) -> Tensor:
        elapsed = time[1] - t if self.backward else t - time[0]
        z = torch.randn(len(t), domain.dim, generator=generator, dtype=torch.float64)
        start = self.start
        x0 = start(len(t), generator).double() if callable(start) else torch.tensor(float(start))
        spread = self.widen * (2 * self.diffusivity * elapsed.clamp(min=0)).sqrt()
        return x0 + spread.unsqueeze(-1) * z


@dataclass(frozen=True)
class AlongPaths(Sampler):
    """The states of trajectories, spread a little about their mean: where a density lives.

    Arguments:
        data: anything with `.load()`, such as `hp.Simulated(...)`.
        widen: factor on the distance from the mean of the states at that time.
        noise: what is added to each, in standard deviations of the states at that time.
    """

    data: Data
    widen: float = 1.2
    noise: float = 0.2

    @cached_property
    def _loaded(self) -> Trajectories:
        return self.data.load().double()

    def draw(
        self, domain: Domain, time: Interval | None, n: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        if time is None:
            raise InputError("AlongPaths needs a time interval: take hp.Sobol() when steady.")
        t = _times(time, (torch.arange(n) + _random(n, 1, generator)[:, 0]) / n)
        return t, self.at(domain, time, t, generator)

    def at(self, domain: Domain, time: Interval, t: Tensor, generator: torch.Generator) -> Tensor:
        data = self._loaded
        if data.dim != domain.dim:
            raise InputError(
                f"data of AlongPaths have {data.dim} dimensions, but the domain has {domain.dim}."
            )
        times, label = data.t.unique(return_inverse=True)
        nearest = torch.cdist(t.unsqueeze(-1), times.unsqueeze(-1)).argmin(1)
        out = t.new_empty(len(t), domain.dim)
        for k in nearest.unique():
            states, rows = data.x[label == k], nearest == k
            mean, sd = states.mean(0), states.std(0)
            some = torch.randint(len(states), (int(rows.sum()),), generator=generator)
            z = torch.randn(len(some), domain.dim, generator=generator, dtype=torch.float64)
            out[rows] = mean + self.widen * (states[some] - mean) + self.noise * sd * z
        return out


@dataclass(frozen=True)
class ResidualAdaptive(Sampler):
    r"""More points where the residual is large: drawn with probability `|r| / mean |r| + c`.

    Candidates come from another sampler. They are drawn anew with every fresh set of points.

    Arguments:
        base: draws the candidates.
        candidates: how many for each point that is kept.
        floor: c: 0 follows the residual alone, a large number ignores it.

    Source:
        Wu, Zhu, Tan, Kartha and Lu, A comprehensive study of non-adaptive and residual-based
        adaptive sampling for physics-informed neural networks (2023).
    """

    base: Sampler = Sobol()
    candidates: int = 16
    floor: float = 1.0

    def __post_init__(self) -> None:
        if self.candidates < 1 or not self.floor >= 0:
            raise InputError(
                "candidates must be at least 1 and floor not negative, but they are "
                f"{self.candidates} and {self.floor}."
            )

    def draw(
        self, domain: Domain, time: Interval | None, n: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        return self.base.draw(domain, time, n, generator)

    def at(self, domain: Domain, time: Interval, t: Tensor, generator: torch.Generator) -> Tensor:
        return self.base.at(domain, time, t, generator)

    def choose(self, residual: Tensor, n: int, generator: torch.Generator) -> Tensor:
        """Which n of the candidates to keep, given the size of their residuals `(m,)`."""
        size = residual.abs().nan_to_num(0.0)
        mean = size.mean()
        odds = (size / mean if mean > 0 else size) + self.floor + 1e-12
        return torch.multinomial(odds.cpu(), n, replacement=False, generator=generator)


def sobol(n: int, numbers: int, generator: torch.Generator) -> Tensor:
    """The first n scrambled Sobol points in the unit cube, `(n, numbers)`."""
    seed = int(torch.randint(2**31, (), generator=generator))
    # A power of two of them has the balance that Sobol points are taken for.
    points = qmc.Sobol(numbers, seed=seed).random_base2(max(0, math.ceil(math.log2(n))))
    return torch.as_tensor(points[:n])


def _random(n: int, numbers: int, generator: torch.Generator) -> Tensor:
    return torch.rand(n, numbers, generator=generator, dtype=torch.float64)


def _times(time: Interval | None, shares: Tensor) -> Tensor:
    if time is None:
        return torch.zeros_like(shares)
    return time[0] + (time[1] - time[0]) * shares.double()
