"""The benchmark of autoencoders: trained, judged, and put into tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from hollowpde.bench.machine import processor, versions
from hollowpde.bench.sde.cells import Cell, Store, fill
from hollowpde.bench.sde.run import asked, failures, publish, voice
from hollowpde.bench.vae.budget import Budget
from hollowpde.bench.vae.cells import Measure, Trained, cells, tell
from hollowpde.bench.vae.images import Images, load
from hollowpde.bench.vae.pictures import pictures
from hollowpde.bench.vae.posteriors import KINDS
from hollowpde.bench.vae.settings import sizes
from hollowpde.bench.vae.tables import tables
from hollowpde.errors import InputError

_TITLE = "Variational autoencoders: flows as posteriors"

PARTS = {name: kind.title for name, kind in KINDS.items()}


def run(only: Sequence[str], budget: Budget, out: Path | None) -> None:
    """Train the posteriors, print the tables, and write them if a folder is given.

    Results go into `vae.jsonl` of the folder at once, trainings into `vae/` every half minute:
    what is there already, of the same images and budget, is not trained again, and what was
    broken off is gone on with. Data sets that were measured there before, and are not named now,
    stand in the tables too.

    Arguments:
        only: names of posteriors; all if empty.
        budget: how much to measure, and the data.
        out: the folder to write to.

    Raises:
        InputError: a posterior that is not there, no data, or two data sets of one name.
    """
    kinds = asked(only, PARTS)
    _check(budget)
    console, say = voice()
    torch.set_num_threads(1)
    paths: dict[str, str] = {}
    images: dict[str, Images] = {}
    for path in budget.data:
        read = load(path)
        if read.name in images:
            raise InputError(
                f"data sets must have different names, but {paths[read.name]!r} and {path!r} are "
                f"both {read.name!r}: rename one."
            )
        images[read.name], paths[read.name] = read, path
    wanted = list(cells(list(images.values()), kinds, budget))
    kept = Store(None if out is None else out / "vae.jsonl", Trained)
    # What other processes say must be a function that they can import.
    measure = Measure(paths, out, budget.device, say if budget.jobs == 1 else tell)
    found = fill(kept, wanted, measure, budget.jobs, say)
    outcomes = {cell: kept.outcomes[cell] for cell in _others(kept, images)} | found
    publish(
        tables(outcomes),
        failures(outcomes),
        "vae",
        _TITLE,
        _facts(budget),
        console,
        out,
        pictures(list(outcomes), out),
    )


def _check(budget: Budget) -> None:
    if not budget.data:
        raise InputError(
            "bench vae needs images: --data FILE, an IDX file such as train-images-idx3-ubyte.gz, "
            "an .npz file, or a folder as torchvision leaves it."
        )
    try:
        device = torch.device(budget.device)
        torch.zeros((), device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {budget.device!r} cannot be used: {error}.") from error
    if device.type != "cpu" and budget.jobs > 1:
        raise InputError(f"jobs must be 1 on {budget.device}, but is {budget.jobs}.")


def _others(kept: Store[Trained], images: Mapping[str, Images]) -> list[Cell]:
    """Cells of data sets that are not asked for now, of the settings that came last."""
    last = {cell.case: cell.settings for cell in kept.outcomes}
    return [
        cell
        for cell in kept.outcomes
        if cell.case not in images and cell.settings == last[cell.case]
    ]


def _facts(budget: Budget) -> Mapping[str, str]:
    return {
        "processes": f"{budget.jobs}, of one thread each, on {budget.device}",
        "networks": sizes(),
        "versions": versions("torch", "torchdiffeq", "zuko"),
        "processor": processor(),
    }
