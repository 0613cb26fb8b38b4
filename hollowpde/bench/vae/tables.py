"""The tables of trained autoencoders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import TypeAlias

from hollowpde.bench.sde.cells import Cell
from hollowpde.bench.tables import Heading, Result, Row
from hollowpde.bench.timing import Fixed, Spread
from hollowpde.bench.vae import poster
from hollowpde.bench.vae.cells import Trained
from hollowpde.bench.vae.posteriors import (
    FFJORD,
    HOLLOW,
    KINDS,
    continuous,
    iaf,
    planar,
    sylvester,
)
from hollowpde.bench.vae.settings import Settings

# Outcomes by data set, posterior and seed.
ByKind: TypeAlias = Mapping[str, Mapping[int, Trained]]

_LOOKS = tuple(digit * 10**power for power in range(6) for digit in (1, 2, 5))

_NOTES = (
    "In nats per image, on the test images, with the weights of the epoch at which -ELBO of the "
    "validation images was least. Median [quartiles] over seeds of split, weights, batches and "
    "noise together. All posteriors of a seed have the same encoder and decoder to begin with, "
    "the same batches, binary images and noise; ffjord and hollow the same velocity.",
    f"gaussian: no flow. planar: {planar.STEPS} steps; sylvester: orthogonal, {sylvester.STEPS} "
    f"steps of {sylvester.VECTORS} vectors; all their numbers are linear in the features of the "
    f"image. iaf: zuko's, {iaf.STEPS} steps; the features enter its networks. ffjord: a "
    "continuous flow trained with one Hutchinson probe; hollow: the same with the exact trace; a "
    f"context of {continuous.CONTEXT} numbers, linear in the features, enters the first layers. "
    f"Both are trained by RK4 with {continuous.STEPS} steps, {4 * continuous.STEPS} evaluations, "
    "and judged by the exact trace and Dormand-Prince at tolerances of 1e-5.",
    "-ELBO: 4 draws for each of all test images. NLL: by importance sampling, with the draws and "
    "images of the table of data; too large on average, the more so the fewer the draws.",
    "Evaluations: of the velocity, in a solve to tolerances. Seconds: of processor time, on one "
    "thread (on a GPU: as they pass). ffjord would be faster with an ordinary network as its "
    "velocity.",
)


def tables(outcomes: Mapping[Cell, Trained]) -> list[Result]:
    """All of them; failures leave gaps."""
    by_data = _arranged(outcomes)
    return [
        Result(_RESULTS, [row for name, of in by_data.items() for row in _results(name, of)]),
        Result(_TRACES, [row for name, of in by_data.items() for row in _traces(name, of)]),
        Result(_ORDER, [row for name, of in by_data.items() for row in _order(name, of)]),
        poster.printed(),
        Result(_DATA, _data(outcomes)),
        Result(_EPOCHS, [row for name, of in by_data.items() for row in _by_epochs(name, of)]),
        Result(_SECONDS, [row for name, of in by_data.items() for row in _by_seconds(name, of)]),
    ]


def _arranged(outcomes: Mapping[Cell, Trained]) -> Mapping[str, ByKind]:
    arranged: dict[str, dict[str, dict[int, Trained]]] = {}
    for cell, outcome in outcomes.items():
        of = arranged.setdefault(cell.case, {kind: {} for kind in KINDS})
        if not outcome.failure:
            of[cell.rival][cell.seed] = outcome
    return arranged


def _spread(
    of: Mapping[int, Trained], number: Callable[[Trained], float], kind: type[Spread] = Fixed
) -> Spread | None:
    return kind.over([number(one) for one in of.values()]) if of else None


_RESULTS = Heading(
    "results",
    "Six posteriors, measured here",
    _NOTES,
    ("data", "posterior"),
    "nats",
    log=False,
    aside=("epoch", "evaluations", "s / epoch", "parameters"),
)


def _results(name: str, of: ByKind) -> list[Row]:
    return [
        {
            "data": name,
            "posterior": kind,
            "-ELBO": _spread(trained, lambda one: one.bound),
            "NLL": _spread(trained, lambda one: one.nll),
            "epoch": _spread(trained, lambda one: 1 + _best(one), Spread),
            "evaluations": _spread(trained, lambda one: one.evaluations, Spread)
            if any(one.evaluations for one in trained.values())
            else None,
            "s / epoch": _spread(trained, lambda one: one.seconds[-1] / len(one.seconds)),
            "parameters": next((one.parameters for one in trained.values()), None),
        }
        for kind, trained in of.items()
        if trained
    ]


def _best(one: Trained) -> int:
    return min(range(len(one.bounds)), key=one.bounds.__getitem__)


_TRACES = Heading(
    "traces",
    "The exact trace against one probe",
    (
        "-ELBO of ffjord less that of hollow, seed by seed: above 0 the exact trace is better. "
        "Median [quartiles]. Test: of the table above. Validation: the least up to then. Equal "
        "time: the seconds after which the first of the two had ended.",
    ),
    ("data", "at"),
    "nats",
    log=False,
    aside=("seeds", "hollow better"),
)


def _traces(name: str, of: ByKind) -> list[Row]:
    pairs = [(of[FFJORD][seed], one) for seed, one in of[HOLLOW].items() if seed in of[FFJORD]]
    if not pairs:
        return []

    def at_time(probe: Trained, exact: Trained) -> float:
        end = min(probe.seconds[-1], exact.seconds[-1])
        # One that is still in its first epoch counts as if it were over.
        a, b = _by(probe, end), _by(exact, end)
        return (probe.bounds[0] if a is None else a) - (exact.bounds[0] if b is None else b)

    looks: Mapping[str, Callable[[Trained, Trained], float]] = {
        "equal epochs, test": lambda probe, exact: probe.bound - exact.bound,
        "equal epochs, test NLL": lambda probe, exact: probe.nll - exact.nll,
        "equal epochs, validation": lambda probe, exact: min(probe.bounds) - min(exact.bounds),
        "equal time, validation": at_time,
    }
    rows: list[Row] = []
    for look, gain in looks.items():
        gains = [gain(probe, exact) for probe, exact in pairs]
        rows.append(
            {
                "data": name,
                "at": look,
                "gain": Fixed.over(gains),
                "seeds": len(gains),
                "hollow better": sum(value > 0 for value in gains),
            }
        )
    return rows


_ORDER = Heading(
    "order",
    "The order of the poster's rows, and the order here",
    (
        "-ELBO of one posterior less that of the next in the poster's order, which is above 0 "
        "throughout there: by so much the next is better. Here: on the test images, seed by seed, "
        "median [quartiles]; the data and the budget are others.",
    ),
    ("data", "step"),
    "nats",
    log=False,
    bars=True,
    along="step",
    aside=("seeds", "as on the poster"),
)


def _order(name: str, of: ByKind) -> list[Row]:
    known = poster.PRINTED.get(poster.named(name) or "")
    rows: list[Row] = []
    for worse, better in pairwise(KINDS):
        both = [seed for seed in of[worse] if seed in of[better]]
        if not both:
            continue
        gains = [of[worse][seed].bound - of[better][seed].bound for seed in both]
        rows.append(
            {
                "data": name,
                "step": f"{worse} - {better}",
                "poster": Fixed.over([known[worse].bound - known[better].bound])
                if known
                else None,
                "here": Fixed.over(gains),
                "seeds": len(gains),
                "as on the poster": sum(value > 0 for value in gains),
            }
        )
    return rows


_DATA = Heading(
    "data",
    "Data and budget",
    (
        "Images of 28 x 28. Training images are made binary anew whenever they are shown, each "
        "pixel with its grey value as the probability; those to choose and to judge by once. So "
        "did the papers of Sylvester flows and FFJORD with Omniglot; with MNIST they used images "
        "that were made binary once.",
        "An epoch shows so many images, drawn from all. The weight of the divergence from the "
        "prior rises from 0 to 1 over the share of the epochs that the column rise says.",
    ),
    ("data",),
    "images",
    aside=("epochs", "of images", "seeds", "batch", "rate", "rise", "NLL draws", "NLL images"),
)


def _data(outcomes: Mapping[Cell, Trained]) -> list[Row]:
    rows: list[Row] = []
    for name in dict.fromkeys(cell.case for cell in outcomes):
        of = [cell for cell in outcomes if cell.case == name]
        settings = Settings.read(of[0].settings)
        rows.append(
            {
                "data": name,
                "training": settings.train,
                "validation": settings.validation,
                "test": settings.test,
                "epochs": settings.epochs,
                "of images": min(settings.images or settings.train, settings.train),
                "seeds": len({cell.seed for cell in of}),
                "batch": settings.batch,
                "rate": settings.rate,
                "rise": settings.warmup,
                "NLL draws": settings.draws,
                "NLL images": min(settings.tested, settings.test),
            }
        )
    return rows


_EPOCHS = Heading(
    "epochs",
    "-ELBO of validation images against epochs",
    ("The least up to then, by one draw for each image: what a training ended there would have "
     "kept. Medians over seeds.",),
    ("data", "epochs"),
    "nats",
    log=False,
    along="epochs",
    zero=False,
)  # fmt: skip

_SECONDS = Heading(
    "seconds",
    "-ELBO of validation images against seconds of training",
    ("The same; a posterior that has ended keeps what it had.",),
    ("data", "seconds"),
    "nats",
    log=False,
    along="seconds",
    zero=False,
)


def _best_by(epoch: int) -> Callable[[Trained], float]:
    """The least bound up to an epoch."""
    return lambda one: min(one.bounds[:epoch])


def _by_epochs(name: str, of: ByKind) -> list[Row]:
    longest = max((len(one.bounds) for runs in of.values() for one in runs.values()), default=0)
    looks = [look for look in _LOOKS if look < longest]
    return [
        {
            "data": name,
            "epochs": look,
            **{kind: _spread(trained, _best_by(look)) for kind, trained in of.items()},
        }
        for look in ([*looks, longest] if longest else [])
    ]


def _by_seconds(name: str, of: ByKind) -> list[Row]:
    longest = max(
        (one.seconds[-1] for trained in of.values() for one in trained.values()), default=0.0
    )
    looks: list[float] = [look for look in _LOOKS if look < longest]
    rows: list[Row] = []
    for look in [*looks, longest] if longest else []:
        values: dict[str, Spread | None] = {}
        for kind, trained in of.items():
            reached = [_by(one, look) for one in trained.values()]
            known = [value for value in reached if value is not None]
            # Of some seeds alone it would be another quantity.
            values[kind] = Fixed.over(known) if known and len(known) == len(reached) else None
        if any(values.values()):
            rows.append({"data": name, "seconds": look, **values})
    return rows


def _by(one: Trained, seconds: float) -> float | None:
    """The least -ELBO up to some time; none if no epoch was over by then."""
    pairs = zip(one.seconds, one.bounds, strict=True)
    return min((bound for second, bound in pairs if second <= seconds), default=None)
