"""Grey images, as they were read."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hollowpde.errors import InputError

SIDE = 28
PIXELS = SIDE * SIDE

Grey = NDArray[np.uint8]


@dataclass(frozen=True)
class Images:
    """Images of a file, ink light on dark.

    Arguments:
        name: by which tables call them.
        train: `(n, 784)`, 0 to 255.
        test: those that the file keeps apart for tests, likewise, if there are any.
    """

    name: str
    train: Grey
    test: Grey | None = None

    @property
    def digest(self) -> str:
        """Tells these images from others of the same name."""
        test = b"" if self.test is None else self.test.tobytes()
        return sha256(self.train.tobytes() + test).hexdigest()[:12]


def as_grey(values: NDArray[Any], where: str) -> Grey:
    """Any array of 28 x 28 images as `(n, 784)` bytes.

    Arguments:
        values: `(n, 28, 28)`, with or without a channel before or after, or `(n, 784)`; bytes,
            truth values, or numbers from 0 to 1 or from 0 to 255.
        where: it comes from, for errors.

    Raises:
        InputError: another shape, or other values.

    >>> as_grey(np.ones((3, 28, 28)), "mine").max()
    np.uint8(255)
    """
    inner = values.shape[1:]
    known = ((SIDE, SIDE), (1, SIDE, SIDE), (SIDE, SIDE, 1), (PIXELS,))
    if inner not in known or not len(values):
        raise InputError(
            f"{where} must hold images of 28 x 28 grey values, (n, 28, 28) or (n, 784), but has "
            f"shape {values.shape}: shrink or crop them, and leave out colours."
        )
    flat = values.reshape(len(values), PIXELS)
    if flat.dtype == np.uint8 and flat.max() > 1:
        return flat
    if flat.dtype.kind not in "biuf":
        raise InputError(f"{where} must hold numbers, but holds {flat.dtype}.")
    numbers = flat.astype(np.float64)
    low, high = float(numbers.min()), float(numbers.max())
    if not (0 <= low and high <= 255):  # a NaN too
        raise InputError(
            f"{where} must hold grey values from 0 to 255 or from 0 to 1, but they go from "
            f"{low:g} to {high:g}: undo their standardisation."
        )
    return np.round(numbers * (255 if high <= 1 else 1)).astype(np.uint8)
