"""NumPy's .npz."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hollowpde.bench.vae.images.images import Images, as_grey
from hollowpde.errors import InputError

_TRAIN = ("train", "x_train", "train_images", "train_x", "images_train", "images", "x", "data")
_TEST = ("test", "x_test", "test_images", "test_x", "images_test")


def load_npz(path: Path, name: str) -> Images:
    """The images of a file, by the names that its arrays usually have.

    Arguments:
        path: with an array `train`, `x_train`, `train_images`, `images`, ... and perhaps `test`,
            `x_test`, ..., in capitals or not; the only array, whatever its name, will do.
        name: of the data.

    Raises:
        InputError: no such array, or the file is something else.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{str(path)!r} must be an .npz file, but: {error}.") from error
    train, test = _found(arrays, _TRAIN), _found(arrays, _TEST)
    if train is None and len(arrays) == 1:
        train = next(iter(arrays))
    if train is None:
        shapes = ", ".join(f"{key} {array.shape}" for key, array in arrays.items()) or "none"
        raise InputError(
            f"{str(path)!r} must have an array of images, named {', '.join(_TRAIN)}; its arrays: "
            f"{shapes}: rename one."
        )
    return Images(
        name,
        as_grey(arrays[train], f"{train!r} of {str(path)!r}"),
        None if test is None else as_grey(arrays[test], f"{test!r} of {str(path)!r}"),
    )


def _found(arrays: Mapping[str, NDArray[Any]], names: tuple[str, ...]) -> str | None:
    lower = {key.lower(): key for key in arrays}
    return next((lower[name] for name in names if name in lower), None)
