"""Cells: one posterior on one data set with one seed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hollowpde.bench.sde.cells import Cell
from hollowpde.bench.vae.budget import Budget
from hollowpde.bench.vae.checkpoint import file_of, save, saved
from hollowpde.bench.vae.images import Images, load, split
from hollowpde.bench.vae.judge import judge
from hollowpde.bench.vae.pictures import drawn
from hollowpde.bench.vae.settings import Settings
from hollowpde.bench.vae.train import Training

# Seconds between two checkpoints, each of which is told of.
_EVERY = 30.0


@dataclass(frozen=True)
class Trained:
    """What became of a posterior; or why there is nothing.

    Arguments:
        seconds, bounds: of training so far, and -ELBO of validation images, after each epoch.
        bound: -ELBO of the test images, with the weights of the least of these.
        nll: of test images, by importance sampling.
        evaluations: of the velocity in a solve to tolerances.
        parameters: of the whole autoencoder.
    """

    seconds: Sequence[float] = ()
    bounds: Sequence[float] = ()
    bound: float = 0.0
    nll: float = 0.0
    evaluations: float = 0.0
    parameters: int = 0
    failure: str = ""

    def __str__(self) -> str:
        return (
            f"-ELBO {self.bound:.2f}, NLL {self.nll:.2f} after {len(self.bounds)} epochs in "
            f"{self.seconds[-1]:.0f} s"
        )


def cells(images: Sequence[Images], kinds: Sequence[str], budget: Budget) -> Iterator[Cell]:
    """All that is to be trained, data set by data set and seed by seed."""
    for one in images:
        settings = str(Settings.of(one, budget))
        for seed in range(budget.seeds):
            for kind in kinds:
                yield Cell(one.name, seed, kind, None, None, settings)


def tell(text: str) -> None:
    """To the terminal at once, from whatever process."""
    print(text, flush=True)


@dataclass(frozen=True)
class Measure:
    """Trains and judges cells, in this process or in another.

    Arguments:
        paths: of the images, by name.
        out: the folder of checkpoints; None keeps none.
        device: a torch device.
        say: is told how far a training is.
    """

    paths: Mapping[str, str]
    out: Path | None
    device: str
    say: Callable[[str], None] = tell

    def __call__(self, cell: Cell) -> Trained:
        """The outcome of a cell; a posterior that fails does not end the benchmark."""
        try:
            return self._trained(cell)
        except Exception as error:
            return Trained(failure=f"{type(error).__name__}: {error}")

    def _trained(self, cell: Cell) -> Trained:
        settings = Settings.read(cell.settings)
        data = split(load(self.paths[cell.case]), cell.seed)
        training = Training(cell.rival, data, settings, cell.seed, self.device)
        file = None if self.out is None else file_of(self.out, cell)
        before = None if file is None else saved(file, cell.settings, self.device)
        if before is not None:
            training.restore(before)
            self.say(f"{cell}: goes on after epoch {training.epochs}")
        self._train(training, cell, file)
        training.vae.load_state_dict(training.best)
        test = data.test.to(training.device)
        worth = judge(training.vae, test, settings.draws, settings.tested)
        if file is not None:
            save(file, training.state() | {"pictures": drawn(training.vae, test)})
        return Trained(
            training.seconds,
            [round(value, 4) for value in training.bounds],
            round(worth.bound, 4),
            round(worth.nll, 4),
            round(worth.evaluations, 1),
            sum(p.numel() for p in training.vae.parameters()),
        )

    def _train(self, training: Training, cell: Cell, file: Path | None) -> None:
        last = time.monotonic()
        epochs = training.settings.epochs
        while training.epochs < epochs:
            training.epoch()
            over = training.epochs == epochs
            if not over and time.monotonic() - last < _EVERY:
                continue
            last = time.monotonic()
            if file is not None:
                save(file, training.state())
            if not over:
                self.say(
                    f"{cell}: epoch {training.epochs}/{epochs}, -ELBO of validation images "
                    f"{training.bounds[-1]:.2f}, {training.seconds[-1]:.0f} s"
                )
