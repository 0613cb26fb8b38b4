"""Whether a system conserves a weighted sum of its components, whatever they are."""

from __future__ import annotations

import torch
from torch import Tensor

from hollowpde.solvers.inner.guard import DENSE
from hollowpde.solvers.system import System

# What is left of a conserved sum's rate by rounding, relative to the rates that it is made of.
_NOTHING = 1e-10
# Below such a pivot a Jacobian may be singular.
_SUSPECT = 1e-5


@torch.no_grad()
def conserves(system: System, t: Tensor, y: Tensor) -> bool:
    r"""Whether some `l . y` is constant: `l^\top J = 0` at two places.

    An iteration that uses only the diagonal keeps such a sum to its tolerance at each step, and
    loses it over many; Newton's method keeps it to rounding. Beyond d = 128 only the plain sum of
    all components is looked at, along a direction at random.
    """
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2, y.shape[-1], generator=generator, dtype=torch.float64).to(y)
    here = y[:1]
    there = here + (0.1 * here.abs() + 1e-3) * noise[:1]
    # A zero in y could hide a product from both.
    places, times = torch.cat([there, here + 0.1 * noise[1:]]), t[:1].expand(2).contiguous()
    if y.shape[-1] > DENSE:
        along = system.jvp(times, places, noise)
        rates = along.abs().sum(-1)
        return bool(
            (along.sum(-1).abs() <= _tolerance(system) * rates).all() and (rates > 0).all()
        )
    first = system.jacobian(times[:1], places[:1])[0]
    # What depends on nothing, such as a parameter carried along, no iteration gets wrong.
    moved = first.any(1)
    first = first[moved]
    if not moved.any() or not _singular(_normalised(first[:, moved])):
        return False
    second = system.jacobian(times[1:], places[1:])[0][moved]
    both = torch.cat([_normalised(first), _normalised(second)], dim=1)
    if not torch.isfinite(both).all() or not both.any():
        return False
    return float(torch.linalg.svdvals(both)[-1]) <= _tolerance(system)


def _normalised(J: Tensor) -> Tensor:
    """Columns of one length: a null vector on their left stays one."""
    return J / torch.linalg.vector_norm(J, dim=0).clamp_min(torch.finfo(J.dtype).tiny)


def _singular(J: Tensor) -> bool:
    """Whether elimination meets hardly any pivot: cheap, and enough to look closer."""
    factors, _, _ = torch.linalg.lu_factor_ex(J)
    return not float(factors.diagonal().abs().min()) > _SUSPECT


def _tolerance(system: System) -> float:
    return max(_NOTHING, 100 * system.eps)
