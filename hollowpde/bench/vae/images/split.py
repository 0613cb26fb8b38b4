"""Binary images to train with, to choose by, and to judge by."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hollowpde.bench.vae.images.images import Images
from hollowpde.errors import InputError

_SHARE, _MOST = 0.1, 10_000
# Of the binary images to choose and to judge by: the same for every model and every seed.
_SEED = 0


@dataclass(frozen=True)
class Split:
    """The three parts of a data set.

    Training images stay grey: they are made binary anew whenever they are shown, each pixel with
    its grey value as the probability. Those to choose and to judge by are made binary once. So
    did van den Berg et al. (2018) and Grathwohl et al. (2019) with Omniglot; their MNIST was the
    binary one of Larochelle and Murray (2011), which was made once for all parts.

    Arguments:
        train: `(n, 784)`, bytes.
        validation, test: `(n, 784)`, 0.0 and 1.0.
    """

    train: Tensor
    validation: Tensor
    test: Tensor


def split(images: Images, seed: int) -> Split:
    """A tenth of the training images, 10,000 at most, to choose by; likewise those to judge by,
    where the file keeps none apart for tests.

    Arguments:
        images: all there are.
        seed: of who goes where.

    Raises:
        InputError: fewer than three images.
    """
    order = torch.randperm(len(images.train), generator=torch.Generator().manual_seed(seed))
    train = torch.tensor(images.train)[order]
    held = _held(images)
    if images.test is None:
        test, train = train[:held], train[held:]
    else:
        test = torch.tensor(images.test)
    generator = torch.Generator().manual_seed(_SEED)
    # Test images first: they are the same whatever the seed, where the file has them.
    judged = binarised(test, generator)
    return Split(train[held:], binarised(train[:held], generator), judged)


def counts(images: Images) -> tuple[int, int, int]:
    """How many images the three parts have."""
    rest, held = len(images.train), _held(images)
    if images.test is None:
        return rest - 2 * held, held, held
    return rest - held, held, len(images.test)


def _held(images: Images) -> int:
    if len(images.train) < 3:
        raise InputError(
            f"{images.name!r} must have at least 3 images to train with, but has "
            f"{len(images.train)}: give more."
        )
    return max(1, min(_MOST, int(_SHARE * len(images.train))))


def binarised(grey: Tensor, generator: torch.Generator) -> Tensor:
    """Bytes as probabilities of ones.

    >>> binarised(torch.tensor([0, 255], dtype=torch.uint8), torch.Generator())
    tensor([0., 1.])
    """
    chance = torch.rand(grey.shape, generator=generator)
    return (chance < grey.float() / 255).float()
