"""Images by the path that a user gives."""

from __future__ import annotations

from pathlib import Path

from hollowpde.bench.vae.images.folder import load_folder
from hollowpde.bench.vae.images.idx import is_idx, load_idx
from hollowpde.bench.vae.images.images import Images
from hollowpde.bench.vae.images.npz import load_npz
from hollowpde.errors import InputError


def load(path: str) -> Images:
    """The images of a file or a folder.

    Arguments:
        path: an IDX file, packed or not, an .npz file, or a folder as torchvision leaves it.

    Raises:
        InputError: it is not there, or nothing of this kind.
    """
    place = Path(path).expanduser()
    if place.is_dir():
        return load_folder(place, name_of(path))
    if not place.is_file():
        raise InputError(f"{path!r} must be a file or a folder of images, but is not there.")
    if is_idx(place):
        return load_idx(place, name_of(path))
    if place.suffix == ".npz":
        return load_npz(place, name_of(path))
    raise InputError(
        f"{path!r} must be an IDX file such as train-images-idx3-ubyte.gz, an .npz file, or a "
        "folder as torchvision leaves it: save the images by numpy.savez(path, train=..., "
        "test=...)."
    )


def name_of(path: str) -> str:
    """What tables call the images of a path.

    >>> name_of("data/mnist.npz"), name_of("data/MNIST/raw/train-images-idx3-ubyte.gz")
    ('mnist', 'MNIST')
    """
    place = Path(path).expanduser().absolute()
    name = place.name.removesuffix(".gz")
    if not is_idx(place):
        return place.stem if place.is_file() or place.suffix == ".npz" else name
    folders = [part for part in place.parts[1:-1] if part != "raw"]
    return folders[-1] if folders else name
