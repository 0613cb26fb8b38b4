"""Roots and fixed points of batches of systems."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from hollowpde.errors import InputError, SolverError
from hollowpde.operators.dimwise import dimwise
from hollowpde.operators.field import Field
from hollowpde.solvers.equation import Root
from hollowpde.solvers.gradients import Implicit, Relation, leaves
from hollowpde.solvers.inner import Inner, JacobiNewton, at_work
from hollowpde.solvers.inner.base import Numbers, everywhere, index
from hollowpde.solvers.inner.guard import DENSE
from hollowpde.solvers.ivp import check_inner
from hollowpde.solvers.system import System, check_values

Function = Callable[[Tensor], Tensor]

# Of the error that is asked for, what an iteration may leave.
_SHARE = 0.1
_HALVINGS = 10


@dataclass(frozen=True)
class RootSolution:
    """Roots of a batch.

    Arguments:
        x: `(B, d)`.
        success: of each sample, `(B,)`.
        status: what happened, as a sentence.
        n_f, n_diag, n_jac: evaluations of F, of the diagonal and of the whole of its Jacobian.
        sweeps: how often the diagonal was taken anew.
    """

    x: Tensor
    success: Tensor
    status: str
    n_f: int
    n_diag: int
    n_jac: int
    sweeps: int


def find_root(
    F: Function | nn.Module,
    x0: Tensor,
    *,
    method: Inner | None = None,
    diagonal: Function | None = None,
    rtol: float = 1e-8,
    atol: float = 1e-10,
    sweeps: int = 50,
    throw: bool = True,
) -> RootSolution:
    r"""Solve `F(x) = 0` for a batch, each sample by itself.

    By Jacobi-Newton iteration `x <- x - F_i / (dF_i / dx_i)` with Anderson's acceleration; samples
    on which it contracts too little are handed to a full Newton method. Differentiable with
    respect to all that F depends on, by the implicit function theorem.

    Arguments:
        F: a function of x `(n, d)` that returns `(n, d)`, or a field (its time is 0).
        x0: where to begin, `(B, d)`.
        method: the inner solver, as in `JacobiNewtonBDF`.
        diagonal: `dF_i / dx_i` `(n, d)`, where F is not a field.
        rtol, atol: an error may be `atol + rtol |x|`, in the root mean square.
        sweeps: how often the diagonal is taken anew, at most.
        throw: whether a sample without a root is an error, or only said in `status`.

    Raises:
        InputError: shapes that make no sense, or no diagonal where one is needed.
        SolverError: a sample does not converge.

    Source:
        Chen and Duvenaud, Neural Networks with Cheap Differential Operators (2019), sec. 4.

    Example:
        >>> root = hp.find_root(lambda x: x**3 - 2, torch.ones(1, 1).double(),
        ...                     diagonal=lambda x: 3 * x**2)
        >>> round(root.x.item(), 6)
        1.259921
    """
    if not isinstance(x0, Tensor) or x0.ndim != 2:
        raise InputError("x0 must be a tensor (B, d), such as x.reshape(1, -1).")
    if rtol < 0 or atol < 0 or rtol + atol == 0:
        raise InputError(f"rtol and atol must be positive, but are {rtol} and {atol}.")
    method = JacobiNewton() if method is None else method
    system = _system(F, diagonal, x0.dtype)
    t = x0.new_zeros(len(x0))
    check_values(system.f, t, x0)
    check_inner(method, system)
    if torch.is_grad_enabled():
        system.theta = leaves(system.f, t, x0)
    with torch.no_grad():
        z, lost, taken = _search(system, method, x0.detach(), t, rtol, atol, sweeps)
    if len(lost):
        status = (
            f"{len(lost)} of {len(x0)} samples have no root within {sweeps} sweeps of the start, "
            f"sample {lost[0]} the first: begin nearer to it, or take method=hp.DenseNewton()."
        )
        if throw:
            raise SolverError(status)
    else:
        status = f"All {len(x0)} roots were found."
    success = torch.ones(len(x0), dtype=torch.bool)
    success[lost] = False
    if system.theta:
        z = Implicit.apply(Relation(system, t, None), z, z, *system.theta)
    counts = system.counts
    return RootSolution(
        z, success, status, counts["f"], counts["diagonal"], counts["jacobian"], taken
    )


def fixed_point(
    g: Function | nn.Module,
    x0: Tensor,
    *,
    method: Inner | None = None,
    diagonal: Function | None = None,
    rtol: float = 1e-8,
    atol: float = 1e-10,
    sweeps: int = 50,
    throw: bool = True,
) -> RootSolution:
    """Solve `x = g(x)` for a batch: the root of `x - g(x)`.

    Arguments:
        g: a function of x `(n, d)` that returns `(n, d)`, or a field (its time is 0).
        diagonal: `dg_i / dx_i` `(n, d)`, where g is not a field.
        x0, method, rtol, atol, sweeps, throw: as in `find_root`.

    Raises:
        InputError, SolverError: as `find_root` does.

    Example:
        >>> point = hp.fixed_point(torch.cos, torch.ones(1, 1).double(),
        ...                        diagonal=lambda x: -torch.sin(x))
        >>> round(point.x.item(), 6)
        0.739085
    """
    at = _at(g)
    slope = diagonal
    if slope is None and isinstance(g, Field):
        slope = lambda x: dimwise(g, 0.0, x, order=1)[1]  # noqa: E731
    return find_root(
        lambda x: x - at(x),
        x0,
        method=method,
        diagonal=None if slope is None else lambda x: 1.0 - slope(x),
        rtol=rtol,
        atol=atol,
        sweeps=sweeps,
        throw=throw,
    )


def _at(F: Function | nn.Module) -> Function:
    return (lambda x: F(0.0, x)) if isinstance(F, Field) else F


def _system(F: Function | nn.Module, diagonal: Function | None, dtype: torch.dtype) -> System:
    if isinstance(F, Field) and diagonal is None:
        return System(F, dtype=dtype)
    at = _at(F)
    slope = None if diagonal is None else lambda t, x: diagonal(x)
    return System(lambda t, x: at(x), slope, dtype=dtype)


def _search(
    system: System, method: Inner, z: Tensor, t: Tensor, rtol: float, atol: float, sweeps: int
) -> tuple[Tensor, np.ndarray, int]:
    """Roots, the samples that have none, and sweeps."""
    worker = at_work(method, z.shape[-1], len(z), _SHARE, system.counts)
    out, live = z.clone(), np.arange(len(z))
    for sweep in range(1, sweeps + 1):
        found = worker.solve(Root(system, t), z, atol + rtol * z.abs(), np.arange(len(z)))
        done = np.flatnonzero(found.converged)
        out[index(live[done], z)] = found.z[index(done, z)]
        rest = np.flatnonzero(~found.converged)
        if not len(rest):
            return out, live[rest], sweep
        on = index(rest, z)
        live, t = live[rest], t[on]
        z = _nearer(system, t, z[on], found.z[on])
        worker.keep(rest)
    out[index(live, z)] = z
    return out, live, sweeps


def _nearer(system: System, t: Tensor, z: Tensor, found: Tensor) -> Tensor:
    """Where to go on: to what was found if F is smaller there, or along Newton's step."""
    size = _size(system(t, z))
    better = _size(system(t, found)) < 0.5 * size
    if everywhere(better):
        return found
    step, new = _newton_step(system, t, z), torch.where(_column(better, z), found, z)
    for k in range(_HALVINGS):
        tried = z + 0.5**k * step
        shorter = ~better & (_size(system(t, tried)) < (1 - 0.1 * 0.5**k) * size)
        new = torch.where(_column(shorter, z), tried, new)
        better |= shorter
        if everywhere(better):
            break
    # Where nothing helps: on by a short step, which may lead over the hill.
    return torch.where(_column(better, z), new, z + 0.1 * step)


def _newton_step(system: System, t: Tensor, z: Tensor) -> Tensor:
    if z.shape[-1] <= DENSE:
        R = system(t, z).unsqueeze(-1)
        step = -torch.linalg.solve_ex(system.jacobian(t, z), R)[0].squeeze(-1)
    else:
        R, slope = system.with_diagonal(t, z) if system.knows_diagonal else (system(t, z), 1.0)
        step = -R / slope
    return torch.nan_to_num(step, nan=0.0, posinf=0.0, neginf=0.0)


def _column(flags: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(flags).to(like.device).unsqueeze(-1)


def _size(value: Tensor) -> Numbers:
    out: Numbers = torch.linalg.vector_norm(value, dim=-1).cpu().double().numpy()
    return out
