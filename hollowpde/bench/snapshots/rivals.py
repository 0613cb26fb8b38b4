"""Who estimates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hollowpde.bench.sde.cases import Case
from hollowpde.bench.sde.ours import settings
from hollowpde.bench.sde.rivals import ORACLE, OURS, Rival
from hollowpde.bench.snapshots.kernels import kernels
from hollowpde.bench.snapshots.oracle import oracle
from hollowpde.bench.snapshots.ours import flux, strong, weak
from hollowpde.problem import FluxForm, SDEProblem, StrongForm
from hollowpde.problem.sde.matching import Matching

STRONG, FLUX, KERNELS = "ours, strong form", "ours, flux form", "kernels"


def _with(matching: Matching) -> Callable[[SDEProblem], str]:
    return lambda problem: settings(replace(problem, matching=matching))


def _on_a_line(case: Case) -> bool:
    return case.problem in ("double_well", "ou_process", "cir")


RIVALS = {
    rival.name: rival
    for rival in (
        Rival(OURS, weak, settings=settings),
        Rival(STRONG, strong, settings=_with(StrongForm())),
        Rival(FLUX, flux, applies=_on_a_line, settings=_with(FluxForm())),
        Rival(KERNELS, kernels),
        Rival(ORACLE, oracle),
    )
}
