"""How a density is fitted: the settings of its stages."""

from __future__ import annotations

from dataclasses import dataclass

from hollowpde.densities.cnf import RK4, Dopri5, ExactTrace, Penalty, Solver, Trace
from hollowpde.errors import InputError
from hollowpde.problem.stage import Adam, EarlyStop


@dataclass(frozen=True)
class FlowMatching:
    r"""A stage before the likelihood, without solving any equation.

    $$ E |v(t, (1 - t) x_0 + t x_1) - (x_1 - x_0)|^2 $$

    over samples x_1 of the data, x_0 of a standard normal and times t: at its minimum v carries
    the one to the other. A step costs little more than an evaluation.

    Arguments:
        batch: samples in a batch.
        optimiser, stop: of the stage; no steps leave it out. Held-out NLL chooses the weights.

    Source:
        Lipman et al., Flow Matching for Generative Modeling (2023); Liu et al., Flow Straight and
        Fast (2023).
    """

    batch: int = 512
    optimiser: Adam = Adam(steps=3000, lr=5e-3)
    stop: EarlyStop = EarlyStop(every=500)

    def __post_init__(self) -> None:
        _check_batch(self.batch)


@dataclass(frozen=True)
class Likelihood:
    """How the likelihood is made large.

    Arguments:
        trace: `hp.ExactTrace()`, `hp.HutchinsonTrace()` or `hp.BruteForceTrace()`.
        solver: of training: a fixed budget is the quickest, and the weights are chosen by a
            solve to the tolerances of `Evaluation`.
        penalties: `hp.KineticEnergy()`, `hp.JacobianNorm()`: they make the flow easier to solve.
        batch: samples in a batch.
        optimiser, stop: of the stage; no steps leave it out.
    """

    trace: Trace = ExactTrace()
    solver: Solver = RK4(6)
    penalties: tuple[Penalty, ...] = ()
    batch: int = 512
    optimiser: Adam = Adam(steps=500, lr=5e-3)
    stop: EarlyStop = EarlyStop(every=50)

    def __post_init__(self) -> None:
        _check_batch(self.batch)


@dataclass(frozen=True)
class Evaluation:
    """How densities are computed for all that is shown, and to choose weights by.

    Arguments:
        trace, solver: as of a `CNF`.
    """

    trace: Trace = ExactTrace()
    solver: Solver = Dopri5()


def _check_batch(batch: int) -> None:
    if batch < 1:
        raise InputError(f"batch must be at least 1, but is {batch}.")
