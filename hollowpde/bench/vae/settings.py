"""All that a result depends on beside the posterior and the seed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from hollowpde.bench.vae import model
from hollowpde.bench.vae.budget import Budget
from hollowpde.bench.vae.images import Images, counts
from hollowpde.bench.vae.posteriors import continuous, iaf, planar, sylvester


@dataclass(frozen=True)
class Settings:
    """Of one training, and of what is made of it.

    Arguments:
        digest: of the images.
        train, validation, test: how many images each part has.
        epochs: of the training.
        images: that an epoch shows; None for all.
        draws, tested: of the NLL, as in `Budget`.
        sizes: of the networks, as text.
        batch: images of a step.
        rate: of Adam, constant.
        clip: norm of a gradient above which it is shortened.
        warmup: share of the epochs over which beta rises from 0 to 1.
        validated: images that an epoch is judged by at most.
    """

    digest: str
    train: int
    validation: int
    test: int
    epochs: int
    images: int | None
    draws: int
    tested: int
    sizes: str
    batch: int = 100
    rate: float = 2e-3
    clip: float = 100.0
    warmup: float = 0.3
    validated: int = 1000

    @classmethod
    def of(cls, images: Images, budget: Budget) -> Settings:
        return cls(
            images.digest,
            *counts(images),
            epochs=budget.epochs,
            images=budget.images,
            draws=budget.draws,
            tested=budget.tested,
            sizes=sizes(),
        )

    @classmethod
    def read(cls, text: str) -> Settings:
        return cls(**json.loads(text))

    def __str__(self) -> str:
        return json.dumps(asdict(self))


def sizes() -> str:
    """Those of the networks."""
    return (
        f"encoder 784-{'-'.join(map(str, model.WIDTHS))}-{model.FEATURES}, code {model.DIM}, "
        f"planar {planar.STEPS} steps, iaf {iaf.STEPS} steps of {iaf.WIDTH}-{iaf.WIDTH}, "
        f"sylvester {sylvester.STEPS} steps of {sylvester.VECTORS} vectors, velocity "
        f"{continuous.CONDITIONER.hidden} {continuous.CONDITIONER.features} "
        f"{continuous.TRANSFORMER.hidden} context {continuous.CONTEXT}, "
        f"RK4 {continuous.STEPS} steps"
    )
