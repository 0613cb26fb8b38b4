"""Folders as torchvision leaves them: of MNIST and its kin, of Omniglot, of one class each."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hollowpde.bench.vae.images.idx import is_idx, load_idx
from hollowpde.bench.vae.images.images import SIDE, Grey, Images
from hollowpde.errors import InputError

_TRAIN = ("images_background", "train", "training")
_TEST = ("images_evaluation", "test", "testing")
_ENDS = (".png", ".jpg", ".jpeg", ".bmp")


def load_folder(path: Path, name: str) -> Images:
    """The images below a folder.

    IDX files anywhere below it, such as `MNIST/raw`, or pictures: below `images_background` and
    `images_evaluation` as those of Omniglot, below `train` and `test`, or anywhere. Pictures are
    made grey and 28 x 28 by the mean over boxes, and turned round if they are dark on light.

    Arguments:
        path: the folder.
        name: of the data.

    Raises:
        InputError: there are no images, or those of several data sets.
    """
    files = sorted(file for file in path.rglob("*") if file.is_file())
    idx = [file for file in files if is_idx(file)]
    if idx:
        train = [f for f in idx if "train" in f.name and f.name.removesuffix(".gz") == f.name]
        train = train or [f for f in idx if "train" in f.name] or idx
        if len(train) > 1:
            raise InputError(
                f"{str(path)!r} must hold the images of one data set, but has "
                f"{', '.join(str(f.relative_to(path)) for f in train)}: name one of these files."
            )
        return load_idx(train[0], name)
    pictures = [file for file in files if file.suffix.lower() in _ENDS]
    if not pictures:
        raise InputError(
            f"{str(path)!r} must hold IDX files or pictures ({', '.join(_ENDS)}), but has "
            f"{len(files)} files of other kinds: unpack them."
        )

    def below(names: tuple[str, ...]) -> list[Path]:
        return [f for f in pictures if any(p in names for p in f.relative_to(path).parts[:-1])]

    train, test = below(_TRAIN), below(_TEST)
    read = _read(train or [f for f in pictures if f not in set(test)])
    return Images(name, read, _read(test) if test else None)


def _read(files: list[Path]) -> Grey:
    try:
        from PIL import Image
    except ImportError:
        raise InputError("folders of pictures need Pillow: pip install pillow.") from None
    if not files:
        raise InputError("the folder has pictures for tests, but none to train with.")
    shrunk = []
    for file in files:
        with Image.open(file) as picture:
            grey = picture.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
            shrunk.append(np.asarray(grey, np.uint8).reshape(-1))
    values = np.stack(shrunk)
    return 255 - values if values.mean() > 127.5 else values
