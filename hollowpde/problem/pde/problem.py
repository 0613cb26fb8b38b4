"""The declaration of a PDE problem."""

from __future__ import annotations

import copy
import dataclasses
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from hollowpde.errors import InputError, nearest
from hollowpde.nets import Exponential, ExponentialField, KnownFunction, Rescaled, Ridge
from hollowpde.nets.structured.specs import Spec
from hollowpde.operators.dimwise import BruteForceWarning
from hollowpde.operators.field import Field
from hollowpde.problem.base import Compute, Problem
from hollowpde.problem.pde.conditions import (
    AtTime,
    Batch,
    Condition,
    Function,
    Observed,
    Periodic,
    Place,
    spatial,
)
from hollowpde.problem.pde.domain import Domain
from hollowpde.problem.pde.fit import PDEFit
from hollowpde.problem.pde.learned import LearnedPDE
from hollowpde.problem.pde.lift import lift_of, of_exponent
from hollowpde.problem.pde.model import PDEModel, Solution
from hollowpde.problem.pde.samplers import Interval, Sampler, Sobol
from hollowpde.problem.pde.settings import Solve
from hollowpde.problem.pde.terms import Equation, Group, Interior, OfCondition
from hollowpde.problem.pde.unknowns import Unknown, UnknownField
from hollowpde.problem.stage import derived_seed

Network = Spec | Field | nn.Module

# Points at which equations are tried before anything is trained.
_TRIED = 8
_AMPLITUDE_POINTS = 512
# Figures of a fit, which unknown numbers stand beside.
_TAKEN = {"mass", "parameters", "steps", "seconds", "rms_error", "rel_l2", "rel_linf"}


@dataclass(frozen=True)
class Point:
    """A point at which the solution is asked for.

    Arguments:
        x: one number for each dimension, or one for all of them.
        t: when.
        value: what it is known to be there, to compare with only.
    """

    x: tuple[float, ...]
    t: float = 0.0
    value: float | None = None


@dataclass(frozen=True, kw_only=True)
class PDEProblem(Problem):
    r"""Solve a partial differential equation, or find coefficients in it from data.

    The residual of the equation, exact at every point, and of what conditions are not met by the
    form of the solution, is made small in the sense of least squares.

    Arguments:
        residual: the equation as an expression that must vanish, `residual(u, t, x)` in the jets
            of the fields: `u.dt - 0.1 * u.laplacian`; or several of them by name. Unknown
            coefficients come by keyword.
        domain: `hp.Box`, `hp.Ball` or `hp.Space`.
        time: (t_0, t_1), or None for a steady equation.
        conditions: by name: `hp.Initial`, `hp.Terminal`, `hp.Dirichlet`, `hp.Neumann`,
            `hp.Periodic`, `hp.Observed`.
        field: the network: `hp.Ridge(...)`, `hp.Separable(...)`, `hp.Product(...)` or your own
            `nn.Module`, called as `module(t, x)`; for systems several by name, in the order in
            which the equations take them, vector fields such as `hp.Hollow(...)` too.
        unknowns: coefficients to be found from data, by name: `hp.Unknown`, `hp.UnknownField`.
        exact: the exact solution `exact(t, x)`, or several by name, to compare with only.
        sampler: where the equation is asked to hold, by `hp.Sobol()` everywhere.
        point: where the value is asked for in particular.
        mass: of the first field's value, a function whose integral over the domain the equation
            conserves: `lambda u: u`, or `torch.exp` where u is the logarithm of a density.
        solve: how it is solved.

    Raises:
        InputError: a condition outside of the domain, a residual of the wrong shape, a time
            derivative in a steady problem, and other contradictions.

    Source:
        Lagaris, Likas and Fotiadis (1998); Raissi, Perdikaris and Karniadakis, Physics-informed
        neural networks (2019).

    Example:
        >>> problem = hp.PDEProblem(
        ...     name="rod", domain=hp.Box((0.0,), (1.0,)), time=(0.0, 1.0),
        ...     residual=lambda u, t, x: u.dt - 0.1 * u.laplacian,
        ...     conditions={"start": hp.Initial(lambda x: torch.sin(torch.pi * x[..., 0])),
        ...                 "ends": hp.Dirichlet(0.0)},
        ... )
        >>> problem.summary()["kind"]
        'PDE: 1 equation in 1 dimension and time'
    """

    precision: ClassVar[torch.dtype] = torch.float64

    residual: Equation | Mapping[str, Equation]
    domain: Domain
    time: Interval | None = None
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    field: Network | Mapping[str, Network] = Ridge(hidden=(32, 32))
    unknowns: Mapping[str, Unknown | UnknownField] = dataclasses.field(default_factory=dict)
    exact: Function | Mapping[str, Function] | None = None
    sampler: Sampler = Sobol()
    point: Point | None = None
    mass: Callable[[Tensor], Tensor] | None = None
    solve: Solve = Solve()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.domain, Domain):
            raise InputError(
                "domain must be hp.Box(...), hp.Ball(...) or hp.Space(...), but is a "
                f"{type(self.domain).__name__}."
            )
        if self.time is not None and not -math.inf < self.time[0] < self.time[1] < math.inf:
            raise InputError(
                f"time must be (t0, t1) with t0 < t1, both finite, but is {self.time}."
            )
        for name, equation in self.equations.items():
            if not callable(equation):
                raise InputError(
                    f"residual {name!r} must be called as residual(u, t, x), but is a "
                    f"{type(equation).__name__}."
                )
        names = [*self.equations, *self.conditions, *self.unknowns]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise InputError(f"the name {twice.pop()!r} is given twice in this problem.")
        for name in self.unknowns:
            if not name.isidentifier() or name in _TAKEN:
                raise InputError(
                    f"unknown {name!r} must be a name that Python takes as a keyword argument, "
                    f"and none of the figures {', '.join(sorted(_TAKEN))}."
                )
        if "residual" in self.conditions:
            raise InputError("the name 'residual' is that of the equations: rename the condition.")
        for name, condition in self.conditions.items():
            if not isinstance(condition, Condition):
                raise InputError(
                    f"condition {name!r} must be hp.Initial(...), hp.Dirichlet(...) or the like, "
                    f"but is a {type(condition).__name__}."
                )
            if condition.field not in (None, *self.networks):
                raise InputError(
                    f"condition {name!r}: unknown field {condition.field!r}: "
                    f"{nearest(str(condition.field), self.networks)}"
                )
            try:
                condition.check(self.place)
            except InputError as error:
                raise InputError(f"condition {name!r}: {error}") from None
        for name in self.exact_of:
            if name not in self.networks:
                raise InputError(f"exact: unknown field {name!r}: {nearest(name, self.networks)}")
        for name, unknown in self.unknowns.items():
            if not isinstance(unknown, Unknown | UnknownField):
                raise InputError(
                    f"unknown {name!r} must be hp.Unknown(...) or hp.UnknownField(...), but is a "
                    f"{type(unknown).__name__}."
                )
        if self.point is not None and len(self.point.x) not in (1, self.domain.dim):
            raise InputError(
                f"x of point must hold {self.domain.dim} numbers, but holds {len(self.point.x)}."
            )

    @property
    def equations(self) -> Mapping[str, Equation]:
        """The equations by name; a single one is called `residual`."""
        if isinstance(self.residual, Mapping):
            return self.residual
        return {"residual": self.residual}

    @property
    def networks(self) -> Mapping[str, Network]:
        """The networks by name of their field; a single one is called `u`."""
        return self.field if isinstance(self.field, Mapping) else {"u": self.field}

    @property
    def first(self) -> str:
        """The name of the first field."""
        return next(iter(self.networks))

    @property
    def exact_of(self) -> Mapping[str, Function]:
        """Exact solutions by field."""
        if self.exact is None:
            return {}
        return self.exact if isinstance(self.exact, Mapping) else {self.first: self.exact}

    @property
    def place(self) -> Place:
        return Place(self.domain, self.time, self.sampler)

    def begin(self, compute: Compute) -> PDEFit:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(compute.seed, "weights"))
            solution, built_in = self._solution()
        solution.to(device=compute.device, dtype=compute.dtype)
        generator = torch.Generator().manual_seed(0)
        t, x = self.sampler.draw(self.domain, self.time, _TRIED, generator)
        to: Any = {"dtype": compute.dtype, "device": compute.device}
        for name, exact in self.exact_of.items():
            _check_exact(name, exact, t, x)
        interior = Interior(
            self.equations, solution, t.to(**to), x.to(**to), steady=self.time is None
        )
        groups = [Group(interior.columns, interior, self._inside)]
        for name, condition in self.conditions.items():
            if name not in built_in:
                groups.append(self._group(name, condition, solution, to))
        terms = len(self.equations) + len(groups) - 1
        batch = [group.draw(generator) for group in groups]
        model = PDEModel(solution, terms, batch).to(device=compute.device)
        return PDEFit(self, model, groups, self.place, compute)

    def restore(self, state: Mapping[str, Any]) -> LearnedPDE:
        prefix = "solution."
        own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        with torch.random.fork_rng(devices=[]):
            solution, _ = self._solution()
        solution.to(dtype=next(v.dtype for v in own.values() if v.is_floating_point()))
        solution.load_state_dict(own)
        solution.requires_grad_(False)
        return LearnedPDE(solution.eval())

    def summary(self) -> Mapping[str, str]:
        n, d = len(self.equations), self.domain.dim
        kind = f"PDE: {n} equation{'s' * (n > 1)} in {d} dimension{'s' * (d > 1)}"
        observed = [len(c) for c in self.conditions.values() if isinstance(c, Observed)]
        return {
            "kind": kind + (" and time" if self.time else ", steady"),
            "data": f"{sum(observed)} observations" if observed else ", ".join(self.conditions),
            "truth": "unknown" if self.exact is None and self.point is None else "known",
        }

    def _solution(self) -> tuple[Solution, list[str]]:
        """The fields with random weights, and the names of the conditions that they meet."""
        fields, built_in = {}, []
        for name, network in self.networks.items():
            own = {k: c for k, c in self.conditions.items() if (c.field or self.first) == name}
            exponent = network.of if isinstance(network, Exponential) else None
            net, periodic = self._network(name, exponent or network, own)
            # An exponent is of order one.
            scaled = self._rescaled(net, 1.0 if exponent else self._amplitude(own))
            if own and not _is_scalar(net, self.domain.dim):
                raise InputError(
                    f"condition {next(iter(own))!r}: the field {name!r} is a vector field, and "
                    "conditions are on scalar fields: state it for the field that it is the "
                    "gradient of, or as an equation."
                )
            lift = lift_of(of_exponent(own, self.place) if exponent else own, self.place)
            lifted = lift(scaled, self.place)
            fields[name] = ExponentialField(lifted) if exponent else lifted
            built_in += [*lift.names, *periodic]
        numbers = {k: u.build() for k, u in self.unknowns.items() if isinstance(u, Unknown)}
        coefficients = {
            k: self._rescaled(u.build(self.domain.dim), 1.0)
            for k, u in self.unknowns.items()
            if isinstance(u, UnknownField)
        }
        return Solution(fields, numbers, coefficients), built_in

    def _network(
        self, name: str, network: Network, conditions: Mapping[str, Condition]
    ) -> tuple[Field, list[str]]:
        """A network in scaled coordinates, and the periodic conditions that it meets."""
        if isinstance(network, Field):
            return copy.deepcopy(network), []
        if isinstance(network, nn.Module):
            warnings.warn(
                f"{type(network).__name__} has no dimension-wise structure: its derivatives take "
                "a pass for every dimension. hp.Ridge, hp.Separable and hp.Product need few.",
                BruteForceWarning,
                stacklevel=1,
            )
            return KnownFunction(copy.deepcopy(network)), []
        if not callable(getattr(network, "build", None)):
            raise InputError(
                f"field {name!r} must be hp.Ridge(...), hp.Separable(...), hp.Product(...) or an "
                f"nn.Module, but is a {type(network).__name__}."
            )
        periodic = {k: c for k, c in conditions.items() if isinstance(c, Periodic) and c.hard}
        if periodic and getattr(network, "period", 1.0) is None:
            axes = {axis for c in periodic.values() for axis in c.axes(self.place.box)}
            # In scaled coordinates every side is 2 long.
            period = tuple(2.0 if i in axes else None for i in range(self.domain.dim))
            network = dataclasses.replace(network, period=period)  # type: ignore[type-var]
            return network.build(self.domain.dim), list(periodic)
        return network.build(self.domain.dim), []

    def _rescaled(self, network: Field, amplitude: float) -> Field:
        domain = self.domain
        start, end = self.time or (-1.0, 1.0)
        return Rescaled(
            network, domain.centre, domain.scale, (start + end) / 2, (end - start) / 2, amplitude
        )

    def _amplitude(self, conditions: Mapping[str, Condition]) -> float:
        """The size of the solution, as far as values at a time tell it."""
        for condition in conditions.values():
            if isinstance(condition, AtTime):
                generator = torch.Generator().manual_seed(0)
                _, x, *_ = condition.draw(self.place, _AMPLITUDE_POINTS, generator)
                size = float(spatial(condition.value, x).square().mean().sqrt())
                return size if size > 0 else 1.0
        return 1.0

    def _inside(self, generator: torch.Generator) -> Batch:
        """Points of the equations."""
        return self.sampler.draw(self.domain, self.time, self.solve.interior, generator)

    def _group(
        self, name: str, condition: Condition, solution: Solution, to: Mapping[str, Any]
    ) -> Group:
        """A condition that is a term of the loss."""
        place, n = self.place, self.solve.boundary
        rows = OfCondition(condition, condition.field or self.first)
        few = condition.draw(place, _TRIED, torch.Generator().manual_seed(0))
        width = rows(solution, *(part.to(**to) for part in few)).shape[-1]
        return Group(
            [name] * width,
            rows,
            lambda generator: condition.draw(place, n, generator),
            condition.weight,
            isinstance(condition, Observed),
        )


def _is_scalar(field: Field, dim: int) -> bool:
    parameter = next(field.parameters(), torch.zeros(()))
    with torch.no_grad():
        return field(0.0, torch.zeros(2, dim, dtype=parameter.dtype)).ndim == 1


def _check_exact(name: str, exact: Function, t: Tensor, x: Tensor) -> None:
    value = exact(t, x)
    if not isinstance(value, Tensor) or value.shape != t.shape:
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise InputError(
            f"exact of field {name!r} must return the shape {tuple(t.shape)} for x of shape "
            f"{tuple(x.shape)}, but returned {shape}."
        )
