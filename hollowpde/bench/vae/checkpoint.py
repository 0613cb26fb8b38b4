"""Trainings in files, one for each posterior, data set and seed."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from hollowpde.bench.sde.cells import Cell
from hollowpde.files import write_whole


def file_of(out: Path, cell: Cell) -> Path:
    """Where the training of a cell is kept."""
    return out / "vae" / f"{cell.case}-{cell.rival}-{cell.seed}.pt"


def save(file: Path, state: dict[str, Any]) -> None:
    """Whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, lambda path: torch.save(state, path))


def saved(file: Path, settings: str, device: str = "cpu") -> dict[str, Any] | None:
    """What was saved under the same settings; nothing if it was others, or is no such file."""
    if not file.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(file, map_location=device, weights_only=True)
    except (RuntimeError, EOFError, UnpicklingError):
        return None
    return state if state.get("settings") == settings else None
