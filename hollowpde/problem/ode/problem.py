"""The declaration of an ordinary differential equation, to solve or to learn."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from hollowpde.data import Data
from hollowpde.errors import InputError
from hollowpde.nets import Hollow, MaskedMLP, SharedMLP
from hollowpde.nets.structured.specs import Spec
from hollowpde.operators.field import Field
from hollowpde.problem.base import Compute, Fit, Problem
from hollowpde.problem.ode.contest import Reference
from hollowpde.problem.ode.fit import ODEFit
from hollowpde.problem.ode.learned import LearnedODE, ODEModel
from hollowpde.problem.ode.settings import Matching, Shooting
from hollowpde.problem.ode.solve import ODESolve, Solved, SolvedODE
from hollowpde.solvers import (
    ESDIRK43,
    AdamsMoulton,
    DenseNewton,
    JacobiNewtonBDF,
    RungeKutta,
    SciPy,
)
from hollowpde.solvers.integrate import Method
from hollowpde.solvers.system import RightHandSide, check_values

# Fewer paths than these are cut into blocks, so that some can be held out.
_FEWEST_PATHS = 10
_BLOCKS = 20
# Times at which solutions are compared, unless others are given.
_TIMES = 8


def _solvers() -> Mapping[str, Method]:
    return {
        "jacobi_newton_bdf": JacobiNewtonBDF(),
        "dense_newton_bdf": JacobiNewtonBDF(inner=DenseNewton()),
        "jacobi_newton_esdirk": ESDIRK43(),
        "jacobi_newton_adams": AdamsMoulton(),
        "dopri5": RungeKutta(),
        "scipy_bdf": SciPy("BDF"),
        "scipy_lsoda": SciPy("LSODA"),
    }


@dataclass(frozen=True, kw_only=True)
class ODEProblem(Problem):
    r"""An ordinary differential equation `dy/dt = f(t, y)`, stiff or not: solved, or learned.

    With `f`, `y0` and `t_span` it is solved by several methods, and each is compared with a
    reference. With `data`, f is learned from paths by multiple shooting through an implicit
    solver; data are standardised, every component has a rate of its own, and figures are in the
    user's units.

    Arguments:
        f: the field, or a function of t `(n,)` and y `(n, d)` that returns `(n, d)`.
        y0: where to start, `(d,)` or `(B, d)`, a tensor.
        t_span: from when to when.
        diagonal: `df_i / dy_i` of the same arguments, where f is not a field.
        solvers: by name; the first is the one that the others are compared with.
        rtol, atol: tolerances of all solvers; of the data, those by which held-out paths are
            solved, in standardised units.
        t_eval: times at which solutions are compared; eight equal parts by default.
        max_steps: of each sample, for each solver: what takes more is said to fail.
        reference: values `(T, B, d)` at these times, a function of them, or a method.

        data: paths to learn from: anything with `.load()`. Fewer than ten are cut into blocks.
        field: the sizes of the network, such as `hp.Hollow(...)`.
        known: a part of f that is known, a field or a function like f in the user's units; what
            is learned is added to it.
        truth: the true f, where it is known, like f: to compare with only.
        split: shares of the paths for training, validation and test.
        matching, shooting: how f is learned: first without a solver, then through one.
        method: by which held-out paths are solved.

    Raises:
        InputError: neither or both of f and data, or arguments of the wrong kind or shape.

    Source:
        Chen and Duvenaud, Neural Networks with Cheap Differential Operators (2019), sec. 4.

    Example:
        >>> problem = hp.ODEProblem(
        ...     name="decay", f=lambda t, y: -1000.0 * y, y0=torch.ones(1), t_span=(0.0, 1.0),
        ...     diagonal=lambda t, y: torch.full_like(y, -1000.0),
        ... )
        >>> problem.summary()["kind"]
        'ODE: solved by 7 methods'
    """

    precision: ClassVar[torch.dtype] = torch.float64

    f: RightHandSide | nn.Module | None = None
    y0: Tensor | None = None
    t_span: tuple[float, float] | None = None
    diagonal: RightHandSide | None = None
    solvers: Mapping[str, Method] = dataclasses.field(default_factory=_solvers)
    rtol: float = 1e-5
    atol: float = 1e-8
    t_eval: tuple[float, ...] = ()
    max_steps: int = 3000
    reference: Reference = SciPy("Radau", rtol=1e-10, atol=1e-14)

    data: Data | None = None
    field: Spec = Hollow(MaskedMLP(hidden=(32, 32), features=8), SharedMLP(hidden=(32, 32)))
    known: Field | RightHandSide | None = None
    truth: RightHandSide | nn.Module | None = None
    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    matching: Matching = Matching()
    shooting: Shooting = Shooting()
    method: Method = JacobiNewtonBDF()

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.f is None) == (self.data is None):
            raise InputError(
                "give either f with y0 and t_span, to solve an equation, or data, to learn one; "
                "the true f of data that are simulated is truth=."
            )
        for name in ("f", "diagonal", "known", "truth"):
            given = getattr(self, name)
            if given is not None and not callable(given):
                raise InputError(
                    f"{name} must be called as {name}(t, y), but is a {type(given).__name__}."
                )
        if self.f is not None:
            self._check_solve()
        elif not callable(getattr(self.data, "load", None)):
            raise InputError(
                "data must be hp.Table(...) or hp.Trajectories(...), something with .load(), but "
                f"is a {type(self.data).__name__}."
            )
        elif not callable(getattr(self.field, "build", None)):
            raise InputError(
                f"field must be hp.Hollow(...) or the like, but is a {type(self.field).__name__}."
            )

    @property
    def times(self) -> tuple[float, ...]:
        """The times at which solutions are compared."""
        if self.t_eval or self.t_span is None:
            return self.t_eval
        return tuple(torch.linspace(*self.t_span, _TIMES + 1, dtype=torch.float64)[1:].tolist())

    @property
    def floor(self) -> float:
        """The size below which components are noise, relative to rtol."""
        return self.atol / self.rtol

    def begin(self, compute: Compute) -> Fit:
        return self._begin_solve(compute) if self.data is None else self._begin_fit(compute)

    def restore(self, state: Mapping[str, Any]) -> SolvedODE | LearnedODE:
        if self.data is None:
            solved = Solved()
            solved.load_state_dict(dict(state))
            return SolvedODE(self.times, solved)
        with torch.random.fork_rng(devices=[]):
            model = self._model(len(state["standardisation.shift"]))
        model.relaxing.to(dtype=state["relaxing.log_rate"].dtype)
        model.load_state_dict(dict(state))
        model.requires_grad_(False)
        return LearnedODE(model.eval())

    def summary(self) -> Mapping[str, str]:
        if self.data is not None:
            return {
                "kind": "ODE: learned from paths",
                "data": repr(self.data),
                "truth": "unknown" if self.truth is None else "known",
            }
        assert self.y0 is not None and self.t_span is not None
        samples, dim = self.y0.shape
        several = f", {samples} samples" if samples > 1 else ""
        start, end = self.t_span
        return {
            "kind": f"ODE: solved by {len(self.solvers)} methods",
            "data": f"d = {dim}{several}, t in [{start:g}, {end:g}]",
            "truth": "known",
        }

    def _check_solve(self) -> None:
        y0 = self.y0
        if not isinstance(y0, Tensor) or y0.ndim not in (1, 2) or not y0.numel():
            shape = tuple(y0.shape) if isinstance(y0, Tensor) else type(y0).__name__
            raise InputError(f"y0 must be a tensor (d,) or (B, d), but is {shape}.")
        if not torch.isfinite(y0).all():
            raise InputError("y0 must be finite, but holds nan or infinite values.")
        object.__setattr__(self, "y0", y0 if y0.ndim == 2 else y0.unsqueeze(0))
        if self.t_span is None or self.t_span[0] == self.t_span[1]:
            raise InputError(f"t_span must be two different times, but is {self.t_span}.")
        if not 0 < self.rtol < 1 or not self.atol > 0:
            raise InputError(
                f"rtol must lie in (0, 1) and atol be positive, but they are {self.rtol} and "
                f"{self.atol}."
            )
        if not self.solvers:
            raise InputError("solvers must hold at least one, such as hp.JacobiNewtonBDF().")
        for name, method in self.solvers.items():
            if not callable(getattr(method, "solve", None)):
                raise InputError(
                    f"solvers: {name!r} must be hp.JacobiNewtonBDF() or the like, but is a "
                    f"{type(method).__name__}."
                )

    def _begin_solve(self, compute: Compute) -> ODESolve:
        assert self.f is not None and self.y0 is not None and self.t_span is not None
        y0 = self.y0.to(device=compute.device, dtype=compute.dtype)
        for function in (self.f, self.diagonal):
            if function is not None:
                check_values(function, y0.new_full((len(y0),), self.t_span[0]), y0)
        return ODESolve(self, y0, compute)

    def _begin_fit(self, compute: Compute) -> ODEFit:
        assert self.data is not None
        data = self.data.load()
        if not data.paired:
            raise InputError(
                "data: no path has two observations: an ODEProblem learns from paths."
            )
        if self.truth is not None:
            x = data.x[:2].double()
            check_values(self.truth, data.t[:2].double(), x)
        if data.paths < _FEWEST_PATHS:
            data = data.blocks(_BLOCKS)
        split = data.split(self.split, compute.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(compute.seed)
            model = self._model(data.dim)
        model.measure(split.train)
        model.relaxing.to(dtype=compute.dtype)
        model.to(device=compute.device)
        return ODEFit(self, split, model, compute)

    def _model(self, dim: int) -> ODEModel:
        return ODEModel(self.field.build(dim), dim, self.known)
