"""`hollowpde bench`: performance and accuracy, measured side by side with the alternative."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from hollowpde.bench import BENCHES, Bench
from hollowpde.errors import InputError, nearest

Value: TypeAlias = int | float | str | tuple[str, ...]


def bench(
    name: Annotated[str | None, typer.Argument(help="Which one; none lists them.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the tables, as JSON, Markdown, CSV and a page.", metavar="DIR"
        ),
    ] = None,
    only: Annotated[
        str,
        typer.Option(
            help="Some of the tables or cases, such as forward,training.", metavar="NAMES"
        ),
    ] = "",
    quick: Annotated[bool, typer.Option("--quick", help="Very little of everything.")] = False,
    steps: Annotated[int | None, typer.Option(help="Of each fit.", min=10)] = None,
    repeats: Annotated[
        int | None,
        typer.Option(help="operators, pde, cnf, implicit: so many of each comparison.", min=1),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="operators, pde: of one operation [1].", min=1)
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            help="sde, snapshots, cnf, vae: of data and weights [5; cnf, vae: 3].", min=1
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(help="sde, snapshots, cnf, vae: processes, of one thread each [1].", min=1),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            help="cnf: of the training of each fit [40]; operators: for each comparison [10]; "
            "implicit: of one solve at most [3].",
            min=0.1,
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="vae: images, as IDX, .npz or a folder of torchvision; may be repeated.",
            metavar="FILE",
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="vae: of each training [100].", min=1)] = None,
    images: Annotated[
        int | None, typer.Option(help="vae: that an epoch shows at most [all].", min=1)
    ] = None,
    draws: Annotated[
        int | None, typer.Option(help="vae: per image, of the NLL [100].", min=1)
    ] = None,
    tested: Annotated[
        int | None, typer.Option(help="vae: test images of the NLL at most [1000].", min=1)
    ] = None,
    device: Annotated[str | None, typer.Option(help="vae: a torch device [cpu].")] = None,
) -> None:
    """Measure side by side with the alternative: times in one process, errors on the same data."""
    if name is None:
        for key, listed in BENCHES.items():
            typer.echo(f"{key}: {listed.title}")
            for part, title in listed.parts.items():
                typer.echo(f"  {part}: {title}")
        return
    if name not in BENCHES:
        raise InputError(f"unknown benchmark {name!r}: {nearest(name, BENCHES)}")
    options = {
        "steps": steps, "repeats": repeats, "threads": threads, "seeds": seeds, "jobs": jobs,
        "seconds": seconds, "epochs": epochs, "images": images, "draws": draws, "tested": tested,
        "device": device, "data": tuple(data) if data else None,
    }  # fmt: skip
    chosen = BENCHES[name]
    given: dict[str, Value] = {
        option: value for option, value in options.items() if value is not None
    }
    budget = replace(chosen.quick if quick else chosen.budget, **_applicable(name, chosen, given))
    chosen.run([part.strip() for part in only.split(",") if part.strip()], budget, out)


def _applicable(name: str, chosen: Bench, given: dict[str, Value]) -> dict[str, Value]:
    known = {field.name for field in fields(chosen.budget)}
    for option in given:
        if option not in known:
            raise InputError(f"--{option} is not an option of bench {name}: leave it out.")
    return given
