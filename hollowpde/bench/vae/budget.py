"""How much of autoencoders is trained."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """How much to measure; the same for every posterior.

    Arguments:
        data: files or folders of images.
        seeds: of split, weights, batches and noise together: 0, 1, ...
        jobs: processes, of one thread each.
        epochs: of each training.
        images: that an epoch shows at most; None for all.
        draws: for each image, of the importance-sampled NLL.
        tested: test images that the NLL is of at most.
        device: a torch device.
    """

    data: tuple[str, ...] = ()
    seeds: int = 3
    jobs: int = 1
    epochs: int = 100
    images: int | None = None
    draws: int = 100
    tested: int = 1000
    device: str = "cpu"


QUICK = Budget(seeds=1, epochs=2, images=200, draws=2, tested=20)
