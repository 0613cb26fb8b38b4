"""How drift and diffusion are matched to marginals: the forms of the Fokker-Planck equation."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from hollowpde.data import Points
from hollowpde.errors import InputError, UnsupportedError
from hollowpde.nets import ConstantField
from hollowpde.operators.field import Field
from hollowpde.operators.reference import FieldLike
from hollowpde.problem.sde.forms import downhill_part
from hollowpde.problem.sde.model import SDEModel
from hollowpde.problem.stage import LBFGS, EarlyStop, derived_seed
from hollowpde.residuals import (
    Flux,
    MomentEquations,
    RandomCosines,
    Residual,
    Whitened,
    flux,
    fokker_planck,
)
from hollowpde.residuals.test_functions import Drawn

# Samples that test functions are whitened by.
_WHITENED_BY = 50_000


class Further(NamedTuple):
    """Samples of a further experiment with the same equation."""

    points: Points
    steady: bool


class Criterion(ABC):
    """What is left of equations that are linear in f and D, and how much that is worth."""

    @abstractmethod
    def weigh(self, drift: FieldLike, diffusion: FieldLike) -> None:
        """Take from these coefficients how much each of the equations is worth."""

    @abstractmethod
    def leftovers(self, drift: FieldLike, diffusion: FieldLike) -> Tensor:
        """On the samples fitted to, scaled to be of variance one, `(R,)`."""

    @abstractmethod
    def nats(self, drift: FieldLike, diffusion: FieldLike) -> Tensor:
        """What is minimised, on the samples fitted to: half the sum of squares, or near to it."""

    @abstractmethod
    def held_out(self, drift: FieldLike, diffusion: FieldLike) -> Tensor:
        """The same on held-out samples."""


@dataclass(frozen=True, kw_only=True)
class Matching(ABC):
    """A form of the Fokker-Planck equation, and how its two sides are matched.

    Arguments:
        ridge: on the weights of networks, values to try, from the largest down; held-out samples
            choose.
        first: of the drift alone, the diffusion held at the best constant.
        optimiser: of both.
        stop: when to leave off.
        tests: the family of test functions, `RandomCosines(...)` or `RandomBumps(...)`. Verdicts
            on what can be known rest on them, whatever form is matched.
    """

    ridge: tuple[float, ...] = (3.0, 0.5)
    first: LBFGS = LBFGS(steps=12, iterations=10, memory=50)
    optimiser: LBFGS = LBFGS(steps=25, iterations=10, memory=50)
    stop: EarlyStop = EarlyStop(every=1, patience=10)
    tests: Drawn = RandomCosines()

    def __post_init__(self) -> None:
        if not self.ridge or min(self.ridge) < 0:
            raise InputError(
                f"ridge must hold at least one value, none negative, but is {self.ridge}."
            )

    @abstractmethod
    def criterion(self, equations: WeakCriterion, model: SDEModel, seed: int) -> Criterion:
        """What is minimised, for a model whose density is fitted already."""


@dataclass(frozen=True, kw_only=True)
class WeakForm(Matching):
    r"""The weak form, `d/dt E phi = E[f . grad phi + 1/2 sum_i D_i d_ii phi]` for test functions.

    It holds sample averages only, no density: see `MomentEquations` for the equations, the
    quadrature in time and the covariance by which they are whitened. What is minimised is half
    the chi-square.
    """

    def criterion(self, equations: WeakCriterion, model: SDEModel, seed: int) -> WeakCriterion:
        return equations


class MomentCriterion(Criterion):
    """Half the squares of what is left of moment equations, however they are weighed.

    Arguments:
        train, validation: of the samples fitted to, and of those to choose by.
        dtype: of the coefficients.
    """

    def __init__(
        self,
        train: Sequence[MomentEquations],
        validation: Sequence[MomentEquations],
        dtype: torch.dtype,
    ) -> None:
        self.train, self.validation, self.dtype = train, validation, dtype

    def leftovers(self, drift: FieldLike, diffusion: FieldLike) -> Tensor:
        parts = self.train
        return torch.cat([p.whitened(p.values(drift, diffusion, self.dtype)) for p in parts])

    def nats(self, drift: FieldLike, diffusion: FieldLike) -> Tensor:
        return self._nats(self.train, drift, diffusion)

    def held_out(self, drift: FieldLike, diffusion: FieldLike) -> Tensor:
        return self._nats(self.validation, drift, diffusion)

    def _nats(
        self, parts: Sequence[MomentEquations], drift: FieldLike, diffusion: FieldLike
    ) -> Tensor:
        return torch.stack([p.nats(p.values(drift, diffusion, self.dtype)) for p in parts]).sum()


class WeakCriterion(MomentCriterion):
    """Half the chi-square of moment equations; `further` experiments add theirs."""

    def __init__(
        self,
        tests: Drawn,
        train: Points | None,
        held_out: Points | None,
        autonomous: bool,
        seed: int,
        further: Sequence[Further] = (),
    ) -> None:
        all_x = [p.x for p in ([train] if train else [])] + [f.points.x for f in further]
        some = torch.cat(all_x).double()
        some = some[:: 1 + len(some) // _WHITENED_BY]
        generator = torch.Generator().manual_seed(derived_seed(seed, "test functions"))
        self.tests = Whitened(tests.draw(some, generator), some)

        def equations(points: Points, steady: bool = False) -> MomentEquations:
            return MomentEquations(
                points.t.double(), points.x.double(), self.tests,
                autonomous=autonomous, steady=steady,
            )  # fmt: skip

        fitted = [equations(train)] if train else []
        fitted += [equations(f.points, f.steady) for f in further]
        dtype = (train or further[0].points).x.dtype
        super().__init__(fitted, [equations(held_out)] if held_out else [], dtype)

    @property
    def equations(self) -> int:
        """How many there are to fit to."""
        return sum(map(len, self.train))

    @torch.no_grad()
    def size_of(self, drift: FieldLike) -> Tensor:
        """The root mean square of each component of a drift where the samples are, `(d,)`."""
        part = self.train[0]
        return part.values(drift, drift, self.dtype)[:, : part.dim].square().mean(0).sqrt()

    @torch.no_grad()
    def weigh(self, drift: FieldLike, diffusion: FieldLike) -> None:
        for part in (*self.train, *self.validation):
            part.weigh(part.values(drift, diffusion, self.dtype))

    def pull(self, drift: FieldLike, diffusion: FieldLike) -> Tensor:
        """What of `nats` is linear in f and D: see `MomentEquations.pull`."""
        parts = self.train
        return torch.stack([p.pull(p.values(drift, diffusion, self.dtype)) for p in parts]).sum()


@dataclass(frozen=True, kw_only=True)
class StrongForm(Matching):
    r"""The log form of the equation, its residual squared at points drawn from the density.

    $$ \frac n2 \frac{\langle r^2 \rangle}{\langle (\partial_t \log p)^2 \rangle} $$

    The density must be fitted before. Its score and its second derivatives are noisy regressors,
    by which D comes out too small: prefer `WeakForm`.

    Arguments:
        points: n, drawn once, at times spread evenly; as many to choose by.
    """

    points: int = 4000

    def criterion(self, equations: WeakCriterion, model: SDEModel, seed: int) -> ResidualCriterion:
        return ResidualCriterion(fokker_planck(), model, self.points, seed)


@dataclass(frozen=True, kw_only=True)
class FluxForm(Matching):
    r"""The equation integrated once: what is left of it as a flux of probability.

    $$ \partial_t p + \nabla \cdot J = \rho, \quad
       |\rho|^2 = \min_w E |w|^2 \text{ with } \nabla \cdot (p \, w) = \rho $$

    On a line w is `(d_t F + J) / p` with the distribution function F of the density, which must
    be fitted before, and its square is taken as in `StrongForm`; one derivative of the density
    fewer makes it less biased.

    In more dimensions the density does not determine the flux, to which any flow that is free of
    divergence may be added, unless the drift is a gradient: so that is asked for. There, by
    duality and over the span of the test functions, it is the moment equations of `WeakForm`,
    weighed not by their noise but by

    $$ |\rho|^2 = \sup_\varphi \frac{E[\varphi \, \rho / p]^2}{E |\nabla \varphi|^2}
       \approx e^\top G^{-1} e, \quad G_{mn} = E[\nabla \varphi_m \cdot \nabla \varphi_n] $$

    Arguments:
        points: on a line: how many, drawn once, at times spread evenly; as many to choose by.

    Raises:
        UnsupportedError: more than one dimension, and a drift that is not `Gradient()`, or a
            known one `plus` such.

    Source:
        Risken, The Fokker-Planck Equation (1989), section 5.1; gradient flows and the norm:
        Jordan, Kinderlehrer and Otto, The Variational Formulation of the Fokker-Planck Equation
        (1998).
    """

    points: int = 4000

    def criterion(self, equations: WeakCriterion, model: SDEModel, seed: int) -> Criterion:
        if model.place.dim == 1:
            return ResidualCriterion(flux(), model, self.points, seed)
        if downhill_part(model.pair(0).drift) is None:
            raise UnsupportedError(
                "matching: the flux form is for one dimension or a drift that is a gradient, but "
                f"there are {model.place.dim} dimensions, in which the density does not determine "
                "the flux: any flow free of divergence may be added. Use drift=hp.Gradient() if "
                "it is known to be one, hp.Known(..., plus=hp.Gradient()), or hp.WeakForm()."
            )
        return FluxCriterion(equations, model.standardisation.scale)


class FluxCriterion(MomentCriterion):
    """Moment equations weighed as fluxes, in the user's units of length."""

    def __init__(self, equations: WeakCriterion, scale: Tensor) -> None:
        # Others go on weighing the same equations by their noise.
        train, validation = (
            [copy.copy(p) for p in own] for own in (equations.train, equations.validation)
        )
        super().__init__(train, validation, equations.dtype)
        self.scale = scale

    @torch.no_grad()
    def weigh(self, drift: FieldLike, diffusion: FieldLike) -> None:
        for part in (*self.train, *self.validation):
            part.weigh_as_flux(part.values(drift, diffusion, self.dtype), self.scale)


class ResidualCriterion(Criterion):
    """The mean squared residual at points drawn from the fitted density, relative to d/dt."""

    def __init__(self, residual: Residual | Flux, model: SDEModel, points: int, seed: int) -> None:
        self.residual, self.model, self.points, self.seed = residual, model, points, seed
        self._drawn: tuple[Points, Points] | None = None
        self._size = torch.ones(())

    def weigh(self, drift: FieldLike, diffusion: FieldLike) -> None:
        """Draw the points, and measure what the residual is compared with."""
        generator = torch.Generator().manual_seed(derived_seed(self.seed, "collocation"))
        density, n = self.model.density, self.points
        with torch.no_grad():
            t = torch.linspace(-1, 1, 2 * n)[torch.randperm(2 * n, generator=generator)]
            t = t.to(next(density.parameters()))
            x = density.sample(t, 1, generator)[0]
            rows = torch.arange(2 * n, device=t.device)
        self._drawn = Points(t[:n], x[:n], rows[:n]), Points(t[n:], x[n:], rows[n:])
        nothing = ConstantField(self.model.place.dim).to(t)
        zero: list[Field | FieldLike] = [density, nothing, nothing]
        self._size = self.residual(zero, t, x).square().mean().sqrt().detach()

    def leftovers(self, drift: FieldLike, diffusion: FieldLike) -> Tensor:
        return self._at(0, drift, diffusion)

    def nats(self, drift: FieldLike, diffusion: FieldLike) -> Tensor:
        return 0.5 * self._at(0, drift, diffusion).square().sum()

    def held_out(self, drift: FieldLike, diffusion: FieldLike) -> Tensor:
        return 0.5 * self._at(1, drift, diffusion).square().sum()

    def _at(self, part: int, drift: FieldLike, diffusion: FieldLike) -> Tensor:
        if self._drawn is None:
            raise RuntimeError("the criterion must be weighed before.")
        rows = self._drawn[part]
        fields: list[Field | FieldLike] = [self.model.density, drift, diffusion]
        return self.residual(fields, rows.t, rows.x) / self._size
