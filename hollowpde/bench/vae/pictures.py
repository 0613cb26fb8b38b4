"""What the autoencoders make of images, and what they make up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor

from hollowpde.bench.sde.cells import Cell
from hollowpde.bench.vae.checkpoint import file_of, saved
from hollowpde.bench.vae.images.images import SIDE
from hollowpde.bench.vae.judge import exactly
from hollowpde.bench.vae.model import DIM, VAE
from hollowpde.bench.vae.posteriors import KINDS
from hollowpde.densities.cnf import Dopri5
from hollowpde.report import theme

_MANY, _SEED = 12, 2
_ORDER = {kind: place for place, kind in enumerate(KINDS)}
TEST, AGAIN, NEW = "test images", "reconstructions", "samples"


def drawn(vae: VAE, test: Tensor) -> dict[str, Tensor]:
    """The first test images, what becomes of them, and samples: `(n, 784)` bytes each."""
    x = test[:_MANY]
    generator = torch.Generator().manual_seed(_SEED)
    noise, z = (torch.randn(_MANY, DIM, generator=generator).to(x) for _ in range(2))
    with exactly(vae, Dopri5()):
        parts = {TEST: x, AGAIN: vae.reconstructed(x, noise[: len(x)]), NEW: vae.generated(z)}
    return {name: (255 * part).round().to(torch.uint8).cpu() for name, part in parts.items()}


def pictures(cells: Iterable[Cell], out: Path | None) -> dict[str, go.Figure]:
    """By title: test images with what each posterior and the decoder make of them, and samples.

    Arguments:
        cells: that were trained; of each data set the first seed is shown.
        out: the folder of checkpoints; what has none is left out.
    """
    by_data: dict[str, list[Cell]] = {}
    for cell in cells:
        by_data.setdefault(cell.case, []).append(cell)
    found: dict[str, go.Figure] = {}
    for name, of in by_data.items():
        seed = min(cell.seed for cell in of)
        first_seed = sorted(
            (cell for cell in of if cell.seed == seed), key=lambda cell: _ORDER[cell.rival]
        )
        shown = {
            cell.rival: parts for cell in first_seed if (parts := _kept(cell, out)) is not None
        }
        if not shown:
            continue
        first = next(iter(shown.values()))[TEST]
        again = {TEST: first} | {kind: parts[AGAIN] for kind, parts in shown.items()}
        found[f"{name}: test images, and their reconstructions, seed {seed}"] = _panel(again)
        found[f"{name}: samples, from the same codes, seed {seed}"] = _panel(
            {kind: parts[NEW] for kind, parts in shown.items()}
        )
    return found


def _kept(cell: Cell, out: Path | None) -> dict[str, Tensor] | None:
    state = None if out is None else saved(file_of(out, cell), cell.settings)
    return None if state is None else state.get("pictures")


def _panel(rows: Mapping[str, Tensor]) -> go.Figure:
    """One row of images for each name."""
    height, width = SIDE * len(rows), SIDE * max(map(len, rows.values()))
    tiles = np.zeros((height, width), np.uint8)
    for k, row in enumerate(rows.values()):
        beside = row.view(-1, SIDE, SIDE).permute(1, 0, 2)
        tiles[k * SIDE : (k + 1) * SIDE, : SIDE * len(row)] = beside.flatten(1).numpy()
    picture = go.Heatmap(
        z=tiles, zmin=0, zmax=255, colorscale="gray", showscale=False, hoverinfo="skip"
    )
    layout = theme.layout(60 + 64 * len(rows))
    layout["xaxis"] = {"visible": False, "constrain": "domain"}
    layout["yaxis"] = {
        "autorange": "reversed",
        "automargin": True,
        "scaleanchor": "x",
        "constrain": "domain",
        "showgrid": False,
        "zeroline": False,
        "tickvals": [SIDE * (k + 0.5) for k in range(len(rows))],
        "ticktext": list(rows),
    }
    return go.Figure([picture], layout)
