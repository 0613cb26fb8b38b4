"""How a field is learned from paths: the settings of its stages."""

from __future__ import annotations

from dataclasses import dataclass

from hollowpde.errors import InputError
from hollowpde.problem.stage import Adam, EarlyStop
from hollowpde.solvers import ESDIRK43
from hollowpde.solvers.integrate import Method


@dataclass(frozen=True)
class Matching:
    r"""A stage before, without solving anything: one exponential step between observations.

    With the exact diagonal D of the field's Jacobian, the mean of both ends, and N = f - D z,

    $$ z_1 \approx e^{hD} z_0 + h \varphi_1(hD) N(z_0) + h \varphi_2(hD) (N(z_1) - N(z_0)) $$

    is exact for components that relax at any rate to what changes linearly in time: stiffness
    costs nothing. What is made small is the squared gap to z_1. Of the second order where
    observations are dense; where they are rare, only a start.

    Arguments:
        batch: pairs of observations in a batch.
        optimiser, stop: of the stage; no steps leave it out.

    Source:
        Cox and Matthews, Exponential Time Differencing for Stiff Systems (2002).
    """

    batch: int = 256
    optimiser: Adam = Adam(steps=2000, lr=1e-2, averaging=0.99)
    stop: EarlyStop = EarlyStop(every=250)

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise InputError(f"batch must be at least 1, but is {self.batch}.")


@dataclass(frozen=True)
class Shooting:
    r"""How a field is learned: by solving from observations to those that follow.

    $$ \frac1{n m d} \sum_n \sum_{k=1}^m |z(t_{n+k}; t_n, z_n) - z_{n+k}|^2 $$

    in standardised units, with gradients by the implicit function theorem. Short stretches come
    first: they are cheap, and their loss has no ravines.

    Arguments:
        lengths: m, the observations of a stretch: a stage for each.
        method: by which stretches are solved.
        rtol, atol: its tolerances, in standardised units.
        max_steps: of each sample between two observations.
        batch: stretches in a batch.
        optimiser, stop: of each stage; no steps leave them out.

    Source:
        Bock, Recent Advances in Parameter Identification Techniques for ODE (1983), on multiple
        shooting; Kim et al., Stiff Neural Ordinary Differential Equations (2021), on scaling.
    """

    lengths: tuple[int, ...] = (1, 4)
    method: Method = ESDIRK43()
    rtol: float = 1e-3
    atol: float = 1e-3
    max_steps: int = 10_000
    batch: int = 128
    optimiser: Adam = Adam(steps=400, lr=1e-2, averaging=0.98)
    stop: EarlyStop = EarlyStop(every=50)

    def __post_init__(self) -> None:
        if not self.lengths or min(self.lengths) < 1:
            raise InputError(
                f"lengths must hold at least one number, none below 1, but is {self.lengths}."
            )
        for name in ("batch", "max_steps"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, but is {getattr(self, name)}.")
        for name in ("rtol", "atol"):
            if not 0 < getattr(self, name) < 1:
                raise InputError(f"{name} must lie in (0, 1), but is {getattr(self, name)}.")
