"""How stiff a flow has become: evaluations by several solvers, as training goes on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hollowpde.densities.cnf import CNF, Dopri5, Solver
from hollowpde.errors import InputError, SolverError
from hollowpde.operators.field import as_time
from hollowpde.solvers.integrate import Method
from hollowpde.solvers.system import System

# Beyond this dimension whole Jacobians are not taken.
_DENSE = 64
# Places along the way at which the velocity is looked at.
_PLACES = (0.0, 0.25, 0.5, 0.75, 1.0)
# Evaluations in a step of Dormand and Prince.
OF_A_STEP = 6
_REFERENCE = Dopri5(1e-9, 1e-9, max_steps=200_000)


@dataclass(frozen=True)
class Stiffness:
    r"""Solvers that are set to the same weights at every validation, and what they take.

    Of each: evaluations of the velocity for the log-densities of some held-out samples, and the
    largest error of these. Of the velocity: the spectral radius of its Jacobian along the way,
    and h rho, that radius times the mean step of Dormand and Prince's method: an explicit method
    is held back by stability, and not by accuracy, only where this is above about 3.

    Arguments:
        solvers: by name, such as `{"BDF": hp.SolveIVP(hp.JacobiNewtonBDF(), rtol=1e-5)}`.
        explicit: the name of the one among them that h rho is told of.
        samples: how many held-out samples.

    Raises:
        InputError: no samples, or an explicit solver that is not among the others.

    >>> hp.Stiffness({"RK45": hp.Dopri5()}, explicit="RK45").samples
    64
    """

    solvers: Mapping[str, Solver | Method] = field(default_factory=dict)
    explicit: str | None = None
    samples: int = 64

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise InputError(f"samples must be at least 1, but is {self.samples}.")
        if self.explicit is not None and self.explicit not in self.solvers:
            raise InputError(
                f"explicit must be one of the solvers, {', '.join(self.solvers) or 'none'}, but "
                f"is {self.explicit!r}."
            )

    @torch.no_grad()
    def measure(self, flow: CNF, x: Tensor) -> dict[str, float]:
        """What the solvers take for log p of x `(n, d)`, in figures by name; nan where one fails.

        In double precision.
        """
        if not self.solvers:
            return {}
        # No solver is to be held back by rounding.
        flow, x = deepcopy(flow).double(), x[: self.samples].double()
        wanted = flow.using(solver=_REFERENCE).log_prob(x)
        figures: dict[str, float] = {}
        for name, solver in self.solvers.items():
            own = flow.using(solver=solver)
            try:
                error = float((own.log_prob(x) - wanted).abs().max())
            except SolverError:
                error, own.nfe = math.nan, math.nan  # type: ignore[assignment]
            figures[f"evaluations: {name}"] = float(own.nfe)
            figures[f"error of log p: {name}"] = error
        if x.shape[-1] <= _DENSE:
            radius = spectral_radius(flow, x)
            figures["spectral radius"] = radius
            if self.explicit is not None:
                steps = figures[f"evaluations: {self.explicit}"] / OF_A_STEP
                figures["h rho"] = radius * abs(flow.end - flow.start) / steps
        return figures


@torch.no_grad()
def spectral_radius(flow: CNF, x: Tensor, forward: bool = False) -> float:
    """The largest modulus of an eigenvalue of dv/dx along the way of samples x `(n, d)`.

    Arguments:
        flow: in double precision.
        x: samples at the end of the flow, or at its start if `forward`.
    """
    solved, system = flow.using(solver=_REFERENCE), System(flow.velocity, dtype=x.dtype)
    start = x if forward else solved.pull_back(flow.end, x).x
    largest = 0.0
    for share in _PLACES:
        t = flow.start + share * (flow.end - flow.start)
        here = solved.push_forward(t, start) if share else start
        values = torch.linalg.eigvals(system.jacobian(as_time(t, here), here))
        largest = max(largest, float(values.abs().max()))
    return largest
