"""The systems: those of the problem files, with times at which errors are taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hollowpde.problem.registry import find_problem
from hollowpde.problem.shipped import shipped_problems
from hollowpde.solvers.system import RightHandSide

Array = NDArray[np.float64]

# The states of this batch are drawn around the origin, where the network relaxes from.
_SEED = 3


class Declared(Protocol):
    """What a problem file says of a system."""

    @property
    def f(self) -> RightHandSide: ...
    @property
    def diagonal(self) -> RightHandSide | None: ...
    @property
    def y0(self) -> Tensor: ...
    @property
    def t_span(self) -> tuple[float, float]: ...
    @property
    def rtol(self) -> float: ...
    @property
    def atol(self) -> float: ...


def declared(file: str, name: str) -> Declared:
    """A problem of a shipped file."""
    problem, _ = find_problem(f"{shipped_problems()[file]}:{name}")
    return cast(Declared, problem)


@dataclass(frozen=True, eq=False)
class Case:
    """A system to be solved.

    Arguments:
        name: of it.
        declare: gives it as it is declared.
        end: another end than that of the file.
        batch: so many initial states, drawn from normal distributions.
        sum: of the components, which the system conserves.
        smooth: whether an explicit method of high order reaches the end in fair time, and is then
            the reference.
        shares: of the time, at which errors are taken; the end is one of them.
    """

    name: str
    declare: Callable[[], Declared]
    end: float | None = None
    batch: int | None = None
    sum: float | None = None
    smooth: bool = False
    shares: tuple[float, ...] = (0.01, 0.4, 1.0)

    @cached_property
    def declared(self) -> Declared:
        return self.declare()

    @property
    def f(self) -> RightHandSide:
        return self.declared.f

    @property
    def diagonal(self) -> RightHandSide | None:
        return self.declared.diagonal

    @cached_property
    def y0(self) -> Tensor:
        """`(B, d)`, in double precision."""
        y0 = torch.as_tensor(self.declared.y0, dtype=torch.float64).detach()
        y0 = y0.reshape(-1, y0.shape[-1])
        if self.batch is None:
            return y0[:1]
        generator = torch.Generator().manual_seed(_SEED)
        return torch.randn(self.batch, y0.shape[-1], generator=generator, dtype=torch.float64)

    @property
    def dim(self) -> int:
        return self.y0.shape[-1]

    @property
    def span(self) -> tuple[float, float]:
        start, end = self.declared.t_span
        return float(start), float(end if self.end is None else self.end)

    @property
    def times(self) -> list[float]:
        """Those at which errors are taken."""
        start, end = self.span
        return [start + share * (end - start) for share in self.shares[:-1]] + [end]

    @property
    def floor(self) -> float:
        """Components below this are noise."""
        return float(self.declared.atol / self.declared.rtol)

    def error(self, values: Array, reference: Array) -> float:
        """The largest error of a component, relative to the component or the floor.

        Arguments:
            values: `(T, b, d)`, of all samples or the first of them.
            reference: `(T, B, d)`.
        """
        reference = reference[:, : values.shape[1]]
        size = np.maximum(np.abs(reference), self.floor)
        worst = float(np.max(np.abs(values - reference) / size))
        return worst if np.isfinite(worst) else float("inf")


def _classic(
    name: str, called: str = "", end: float | None = None, sum: float | None = None
) -> Case:
    return Case(called or name, partial(declared, "stiff_classics", name), end=end, sum=sum)


def relaxation(dim: int, batch: int | None = None, end: float | None = None) -> Case:
    """The relaxation network: each component at a rate of its own, from 1 to 1e4."""
    name = f"relaxation, d = {dim}" + (f", B = {batch}" if batch else "")
    name += f", to {end:g}" if end else ""
    network = partial(declared, "stiff_relaxation", f"d{dim}")
    return Case(name, network, end=end, batch=batch, smooth=True)


CLASSICS = {
    case.name: case
    for case in (
        _classic("van_der_pol_1000"),
        _classic("rober", "rober to 1e4", end=1e4, sum=1.0),
        _classic("rober", "rober to 1e10", sum=1.0),
        *map(_classic, ("hires", "orego", "pollution", "fitzhugh_nagumo", "brusselator")),
        relaxation(10),
        relaxation(100),
    )
}


def chosen(names: Sequence[str]) -> list[Case]:
    """Those of the names; all classics if there are none."""
    return [case for name, case in CLASSICS.items() if not names or name in names]
