"""The error of gradients through a stiff solve, by the tolerance of the solve."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torchdiffeq import odeint

from hollowpde.bench.implicit.figures import Figure
from hollowpde.bench.implicit.ours import DEFAULT
from hollowpde.bench.tables import Heading, Result, Row
from hollowpde.solvers import ESDIRK43, DenseNewton, JacobiNewtonBDF, NewtonKrylov, solve_ivp
from hollowpde.solvers.integrate import Method

_DIM, _SAMPLES, _ALLOWED = 6, 3, 10.0

# What the gradients are taken by, in the order of the leaves.
_BY = ("rates", "couplings", "start", "first time", "last time")

METHODS: dict[str, Method] = {
    DEFAULT: JacobiNewtonBDF(),
    "BDF, dense Newton": JacobiNewtonBDF(inner=DenseNewton()),
    "BDF, Newton-Krylov": JacobiNewtonBDF(inner=NewtonKrylov()),
    "ESDIRK43, Jacobi-Newton": ESDIRK43(),
}


class _Network:
    """A relaxation network whose rates, couplings, start and times all ask for gradients."""

    def __init__(self, fastest: float) -> None:
        generator = torch.Generator().manual_seed(0)

        def normal(*size: int) -> Tensor:
            return torch.randn(size, generator=generator, dtype=torch.float64)

        self.log_k = torch.linspace(0, 2.302585 * fastest, _DIM, dtype=torch.float64)
        self.W, self.y0, self.a = (
            normal(_DIM, _DIM) / _DIM**0.5,
            normal(_SAMPLES, _DIM),
            normal(_DIM),
        )
        self.weights = normal(_SAMPLES, _DIM)
        self.t0, self.t1 = (
            torch.zeros((), dtype=torch.float64),
            torch.ones((), dtype=torch.float64),
        )
        self.others = 1 - torch.eye(_DIM, dtype=torch.float64)
        for tensor in self.leaves:
            tensor.requires_grad_()

    @property
    def leaves(self) -> list[Tensor]:
        return [self.log_k, self.W, self.y0, self.t0, self.t1]

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        target = torch.tanh(y @ (self.W * self.others).T + self.a + torch.sin(3 * t)[:, None])
        return -self.log_k.exp() * (y - target)

    def diagonal(self, t: Tensor, y: Tensor) -> Tensor:
        return -self.log_k.exp().expand_as(y)

    def gradients(self, y: Tensor, leaves: Sequence[Tensor]) -> Sequence[Tensor]:
        scalar = (self.weights * y).sum() + y.square().sum()
        return torch.autograd.grad(scalar, leaves)


def reference(network: _Network) -> Sequence[Tensor]:
    """By an explicit method of order 8, differentiated step by step, in time scaled to (0, 1)."""

    def f(s: Tensor, y: Tensor) -> Tensor:
        t = network.t0 + s * (network.t1 - network.t0)
        return (network.t1 - network.t0) * network.f(t.expand(len(y)), y)

    times = torch.tensor([0.0, 1.0], dtype=torch.float64)
    y = odeint(f, network.y0, times, rtol=1e-11, atol=1e-13, method="dopri8")[-1]
    return network.gradients(y, network.leaves)


def measure(rtols: Sequence[float], fastest: float) -> list[Row]:
    """The relative errors of the gradients, by rtol and by what they are taken by."""
    network = _Network(fastest)
    exact = reference(network)
    rows: list[Row] = []
    for rtol in rtols:
        errors: dict[str, dict[str, float]] = {by: {} for by in _BY}
        for name, method in METHODS.items():
            # By times in a solve of their own: those that ask for them are more careful.
            got: list[Tensor] = []
            spans: tuple[tuple[float | Tensor, float | Tensor], ...] = (
                (0.0, 1.0),
                (network.t0, network.t1),
            )
            for span, leaves in zip(spans, (network.leaves[:3], network.leaves[3:]), strict=True):
                found = solve_ivp(
                    network.f, span, network.y0, method=method, diagonal=network.diagonal,
                    rtol=rtol, atol=1e-3 * rtol,
                )  # fmt: skip
                got += network.gradients(found.y[-1], leaves)
            for by, a, b in zip(_BY, got, exact, strict=True):
                errors[by][name] = float((a - b).norm() / b.norm()) / rtol
        rows += [{"rtol": f"{rtol:.0e}", "by": by, **of} for by, of in errors.items()]
    return rows


def tables(rows: list[Row]) -> list[Result]:
    return [Result(GRADIENTS, rows)]


def figures(rows: list[Row]) -> Iterator[Figure]:
    """What was asked."""
    for kind, names in (("rates, couplings, start", _BY[:3]), ("times", _BY[3:])):
        worst = max(float(str(row[DEFAULT])) for row in rows if row["by"] in names)
        yield Figure(f"gradients by {kind}: error / rtol, the worst", worst, _ALLOWED, least=False)


GRADIENTS = Heading(
    name="gradients",
    title="Errors of gradients, by rtol",
    notes=(
        f"A relaxation network of {_DIM} components, {_SAMPLES} samples, rates from 1 to 1e4; "
        "gradients by the rates, couplings, initial states and both times, of each the relative "
        "error in the Euclidean norm; against an explicit method of order 8 with rtol 1e-11, "
        "differentiated step by step. The gradient by the first time is that by the initial "
        "state times a slope of up to 1e4, most of which cancels: where gradients by times are "
        "asked for, `solve_ivp` takes a tenth of the tolerances.",
    ),
    keys=("rtol", "by"),
    quantity="error / rtol",
)
