"""The IDX format of MNIST and its kin, packed by gzip or not."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from hollowpde.bench.vae.images.images import Grey, Images, as_grey
from hollowpde.errors import InputError

_BYTES, _IMAGES = 8, 3
# How the file of test images is called, where that of training images has `train`.
_TEST = ("t10k", "test")


def is_idx(path: Path) -> bool:
    """Whether a name is that of a file of images in this format.

    >>> is_idx(Path("train-images-idx3-ubyte.gz")), is_idx(Path("train-labels-idx1-ubyte"))
    (True, False)
    """
    name = path.name.removesuffix(".gz")
    return name.endswith(("idx3-ubyte", ".idx3", ".idx"))


def load_idx(path: Path, name: str) -> Images:
    """The images of a file, and those for tests of the file beside it, if there is one.

    Arguments:
        path: such as `train-images-idx3-ubyte.gz`, beside which is `t10k-images-idx3-ubyte.gz`.
        name: of the data.

    Raises:
        InputError: the file is something else, or cut short.
    """
    beside = _beside(path)
    return Images(name, read_idx(path), None if beside is None else read_idx(beside))


def read_idx(path: Path) -> Grey:
    """The images of one file."""
    try:
        raw = path.read_bytes()
        content = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{str(path)!r} cannot be read ({error}): fetch it again.") from error
    start = 4 + 4 * _IMAGES
    if len(content) < start or content[:4] != bytes((0, 0, _BYTES, _IMAGES)):
        raise InputError(
            f"{str(path)!r} must be an IDX file of images, which begins with 0 0 8 3, but begins "
            f"with {' '.join(map(str, content[:4]))}: labels are another file."
        )
    shape = struct.unpack(">III", content[4:start])
    if len(content) - start != math.prod(shape):
        raise InputError(
            f"{str(path)!r} must hold {math.prod(shape)} bytes of images, {shape} of them, but "
            f"has {len(content) - start}: fetch it again."
        )
    values = np.frombuffer(content, np.uint8, offset=start).reshape(shape)
    return as_grey(values, repr(str(path)))


def _beside(path: Path) -> Path | None:
    if "train" not in path.name:
        return None
    bare = path.name.removesuffix(".gz")
    names = (bare.replace("train", test) + end for test in _TEST for end in ("", ".gz"))
    return next((found for found in map(path.with_name, names) if found.is_file()), None)
