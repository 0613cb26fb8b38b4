"""Exact dimension-wise derivatives against a plain forward pass, and against brute force."""

from __future__ import annotations

import platform
import warnings
from pathlib import Path

import torch
from torch import Tensor

from hollowpde.bench.timing import interleaved, median_ratio, write_table
from hollowpde.nets import HollowNet, MaskedMLP, SharedMLP
from hollowpde.operators import dimwise

_BATCH = 256
_DIMENSIONS = (1, 2, 8, 16, 32, 64, 128, 512, 1024)
# Beyond this the full Jacobians alone take gigabytes.
_BRUTE_FORCE_UP_TO = 64


def run(repeats: int, out: Path | None) -> None:
    """Measure value + D^1 and value + D^1 + D^2, without gradients, against the value alone."""
    write_table(
        "Cost of exact derivatives, as multiples of a plain forward pass",
        [
            f"Batch {_BATCH}, float32, no gradients; conditioner 2x256, 16 features, transformer "
            "2x32. Median of interleaved ratios.",
            "vmap(jacrev): the first derivatives alone, as the diagonal of the full Jacobian; "
            f"left out above d = {_BRUTE_FORCE_UP_TO}.",
            f"{repeats} repeats; torch {torch.__version__}, {torch.get_num_threads()} threads, "
            f"{platform.machine()}.",
        ],
        [_measure(dim, repeats) for dim in _DIMENSIONS],
        "operators",
        out,
    )


def _measure(dim: int, repeats: int) -> dict[str, str | float]:
    """One row of the table."""
    net = HollowNet(
        dim,
        conditioner=MaskedMLP(hidden=(256, 256), features=16),
        transformer=SharedMLP(hidden=(32, 32)),
    )
    x = torch.randn(_BATCH, dim, generator=torch.Generator().manual_seed(0))
    t = torch.zeros(())
    with torch.no_grad():
        value, first, second = interleaved(
            [
                lambda: net(t, x),
                lambda: dimwise(net, t, x, order=1),
                lambda: dimwise(net, t, x, order=2),
            ],
            repeats,
        )
    return {
        "d": str(dim),
        "value + D1": median_ratio(first, value),
        "value + D1 + D2": median_ratio(second, value),
        "vmap(jacrev)": _brute_force(net, t, x, repeats),
    }


def _brute_force(net: HollowNet, t: Tensor, x: Tensor, repeats: int) -> str | float:
    """The diagonal of the Jacobian by `torch.func`, in multiples of a forward pass."""
    if net.dim > _BRUTE_FORCE_UP_TO:
        return "-"
    jacobian = torch.func.vmap(torch.func.jacrev(lambda y: net(t, y)))

    def diagonal() -> Tensor:
        return torch.diagonal(jacobian(x), dim1=-2, dim2=-1)

    with torch.no_grad(), warnings.catch_warnings():
        # torch warns that vmap has no batching rule for one of the operations: part of the price.
        warnings.simplefilter("ignore", UserWarning)
        value, brute = interleaved([lambda: net(t, x), diagonal], max(1, repeats // 10))
    return median_ratio(brute, value)
