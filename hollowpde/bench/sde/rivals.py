"""Who estimates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hollowpde.bench.sde import kramers_moyal as km
from hollowpde.bench.sde.cases import Case, Estimate, Task
from hollowpde.bench.sde.nadaraya_watson import nadaraya_watson
from hollowpde.bench.sde.oracle import oracle
from hollowpde.bench.sde.ours import euler, ours, settings
from hollowpde.bench.sde.plain_mlp import plain_mlp
from hollowpde.problem import SDEProblem

OURS, EULER, ORACLE = "ours", "Euler-Maruyama", "oracle"


@dataclass(frozen=True)
class Rival:
    """One way to an estimate.

    Arguments:
        name: the column of the tables.
        fit: from the task and, if they are given, the steps of an optimiser.
        applies: whether it can be used on a case at all.
        settings: of the problem file, on which the result depends.
    """

    name: str
    fit: Callable[[Task, int | None], Estimate]
    applies: Callable[[Case], bool] = lambda case: True
    settings: Callable[[SDEProblem], str] = lambda problem: ""


RIVALS = {
    rival.name: rival
    for rival in (
        Rival(OURS, ours, settings=settings),
        Rival(EULER, euler, settings=settings),
        Rival("plain MLP", plain_mlp),
        Rival("Nadaraya-Watson", nadaraya_watson),
        Rival("kramersmoyal", km.kramers_moyal, applies=km.applies),
        Rival(ORACLE, oracle),
    )
}
