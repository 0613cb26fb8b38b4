"""The poster's numbers: of other networks, longer training and other data than those here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from hollowpde.bench.tables import Cell, Heading, Result
from hollowpde.bench.timing import Fixed
from hollowpde.bench.vae.posteriors import (
    AUTOREGRESSIVE,
    FFJORD,
    GAUSSIAN,
    HOLLOW,
    PLANAR,
    SYLVESTER,
)


class Printed(NamedTuple):
    """Of one posterior and one data set, in nats; -ELBO with the sign that it must have."""

    bound: float
    nll: float | None


MNIST, OMNIGLOT = "MNIST", "Omniglot"

PRINTED: Mapping[str, Mapping[str, Printed]] = {
    MNIST: {
        GAUSSIAN: Printed(86.55, 82.14),
        PLANAR: Printed(86.06, 81.91),
        AUTOREGRESSIVE: Printed(84.20, 80.79),
        SYLVESTER: Printed(83.32, 80.22),
        FFJORD: Printed(82.82, None),
        HOLLOW: Printed(82.37, 80.22),
    },
    OMNIGLOT: {
        GAUSSIAN: Printed(104.28, 97.25),
        PLANAR: Printed(102.65, 96.04),
        AUTOREGRESSIVE: Printed(102.41, 96.08),
        SYLVESTER: Printed(99.00, 93.77),
        FFJORD: Printed(98.33, None),
        HOLLOW: Printed(97.42, 93.90),
    },
}

HEADING = Heading(
    "poster",
    "Not measured here: the numbers of the poster",
    (
        "From the poster of Chen and Duvenaud, Neural Networks with Cheap Differential Operators "
        "(2019), in nats. It prints the column -ELBO with a minus sign before every number, a "
        "slip: they are -ELBO without it, as they stand here.",
        "Its networks are larger and trained for far longer, its MNIST was made binary once, and "
        "its Omniglot is the whole of it: compare the order of the rows, not the numbers.",
    ),
    ("posterior",),
    "nats",
    log=False,
)


def named(data: str) -> str | None:
    """Which of the poster's data sets a name means.

    >>> named("omniglot_small"), named("mnist"), named("fashion_mnist"), named("mine")
    ('Omniglot', 'MNIST', None, None)
    """
    name = data.lower()
    if "omniglot" in name:
        return OMNIGLOT
    # Its kin bear its name too: Fashion-MNIST, EMNIST, KMNIST.
    plain = name.startswith(("mnist", "binary_mnist", "binarized_mnist"))
    return MNIST if plain else None


def printed() -> Result:
    """The poster's table."""

    def cell(value: float | None) -> Cell:
        return None if value is None else Fixed.over([value])

    rows = [
        {
            "posterior": kind,
            **{
                f"{data} {column}": cell(value)
                for data, of in PRINTED.items()
                for column, value in zip(("-ELBO", "NLL"), of[kind], strict=True)
            },
        }
        for kind in PRINTED[MNIST]
    ]
    return Result(HEADING, rows)
