"""diffrax's implicit solver, as an adapter; it is given the field translated into JAX."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from hollowpde.bench.implicit.cases import Array, Case
from hollowpde.bench.implicit.limit import Limit, OverBudget
from hollowpde.bench.implicit.solve import Answer, Prepared
from hollowpde.bench.implicit.translate import to_jax
from hollowpde.errors import InputError

INSTALLED = find_spec("diffrax") is not None

# A compiled solve cannot be stopped: it is one of so many steps, after which the clock is read.
_CHUNK = 256
# From here on a step, with its dense Jacobian, and the time to compile leave the budget.
_LARGEST = 128


@dataclass(frozen=True)
class Diffrax:
    """`diffrax.Kvaerno5`, of one sample, compiled beforehand."""

    name: str = "diffrax Kvaerno5"
    ours: bool = False
    torch_field: bool = False
    levels: tuple[float, ...] | None = None

    def prepare(self, case: Case, dtype: torch.dtype) -> Prepared:
        if len(case.y0) > 1 or case.dim > _LARGEST:
            raise InputError(f"only single samples of d <= {_LARGEST} are measured")
        import diffrax
        import jax
        import jax.numpy as jnp

        jax.config.update("jax_enable_x64", True)
        f = to_jax(case.f, case.dim)
        _check(case, f)
        term = diffrax.ODETerm(lambda t, y, args: f(t, y))
        solver = diffrax.Kvaerno5()

        def control(rtol: Any) -> Any:
            return diffrax.PIDController(rtol=rtol, atol=case.floor * rtol)

        def chunk(t0: Any, t1: Any, h: Any, y: Any, rtol: Any) -> Any:
            save = diffrax.SaveAt(t1=True, solver_state=True, controller_state=True)
            found = diffrax.diffeqsolve(
                term, solver, t0, t1, h, y, saveat=save, stepsize_controller=control(rtol),
                max_steps=_CHUNK, throw=False, adjoint=diffrax.ForwardMode(),
            )  # fmt: skip
            return found.ts[-1], found.ys[-1], found.stats["num_steps"]

        compiled = jax.jit(chunk)
        y0 = jnp.asarray(case.y0[0].numpy())
        start, end = case.span
        short = 1e-9 * (end - start)
        jax.block_until_ready(compiled(start, start + short, short, y0, case.declared.rtol))

        def solve(rtol: float, limit: Limit) -> Answer:
            values: list[Array] = []
            t, y, h = start, y0, short
            for stop in case.times:
                while t < stop:
                    later, y, steps = compiled(t, stop, min(h, stop - t), y, rtol)
                    later = float(later)
                    if not np.isfinite(np.asarray(y)).all() or later <= t:
                        raise RuntimeError(f"no step from t = {t:.4g}")
                    t, h = later, max((later - t) / max(int(steps), 1), short)
                    if limit.spent > limit.seconds and t < end:
                        raise OverBudget(f"{limit.seconds:g} s")
                values.append(np.asarray(y, np.float64))
            return Answer(np.stack(values)[:, None], counted=False)

        return solve


def _check(case: Case, f: Any) -> None:
    """Whether the translation is the same function."""
    generator = torch.Generator().manual_seed(0)
    y = torch.rand(1, case.dim, generator=generator, dtype=torch.float64)
    t = torch.rand(1, generator=generator, dtype=torch.float64)
    wanted = case.f(t, y)[0].numpy()
    got = np.asarray(f(t.item(), y[0].numpy()))
    if not np.allclose(got, wanted, rtol=1e-12, atol=1e-12 * float(np.abs(wanted).max())):
        raise InputError("the translation into JAX is not the same function")
