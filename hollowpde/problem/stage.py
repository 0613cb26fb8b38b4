"""Stages: what the trainer runs, one after another, knowing nothing of the problem behind."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor, nn

from hollowpde import optim
from hollowpde.errors import InputError


def derived_seed(seed: int, purpose: str) -> int:
    """A seed for one purpose: what is drawn for one does not depend on, or repeat, another's.

    >>> derived_seed(0, "a") != derived_seed(0, "b")
    True
    """
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:7], "big")


@dataclass(frozen=True)
class Adam:
    """Adam with a linear warm-up and a cosine decay.

    Arguments:
        steps: how many; 0 leaves the stage out.
        lr: the highest learning rate.
        warmup: steps of warm-up.
        final: the last learning rate, as a share of the highest.
        clip: the largest norm of a gradient.
        averaging: forgetting factor of the moving average of the weights, which is what is
            validated and kept; 0 keeps the last weights.
    """

    steps: int = 3000
    lr: float = 3e-3
    warmup: int = 50
    final: float = 0.005
    clip: float = 10.0
    averaging: float = 0.995

    def __post_init__(self) -> None:
        for name in ("lr", "clip"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be positive, but is {getattr(self, name)}.")
        for name in ("final", "averaging"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} must lie in [0, 1], but is {getattr(self, name)}.")
        if self.steps < 0 or self.warmup < 0:
            raise InputError(
                f"steps and warmup must not be negative, but are {self.steps} and {self.warmup}."
            )

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        progress = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.lr * (self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * progress)))

    def build(self, parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=self.lr, fused=True)


@dataclass(frozen=True)
class LBFGS:
    """L-BFGS with a line search, for losses of all the data at once.

    Arguments:
        steps: how many; 0 leaves the stage out.
        iterations: in a step; each takes about one evaluation of the loss.
        memory: how many past iterations are kept.

    Source:
        Liu and Nocedal, On the limited memory BFGS method (1989).
    """

    steps: int = 20
    iterations: int = 5
    memory: int = 20

    # What Adam does besides, and L-BFGS does not.
    averaging: ClassVar[float] = 0.0
    clip: ClassVar[float] = math.inf
    lr: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        if self.steps < 0 or self.iterations < 1 or self.memory < 1:
            raise InputError(
                "steps must not be negative, iterations and memory at least 1, but they are "
                f"{self.steps}, {self.iterations} and {self.memory}."
            )

    def rate(self, step: int) -> float:
        """The learning rate of a step: a line search needs none."""
        return self.lr

    def build(self, parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.LBFGS(
            parameters,
            max_iter=self.iterations,
            max_eval=3 * self.iterations,
            history_size=self.memory,
            line_search_fn="strong_wolfe",
        )


@dataclass(frozen=True)
class GaussNewton:
    """Gauss-Newton steps with Levenberg and Marquardt's damping, for losses that are squares.

    Far fewer and dearer steps than Adam's: each takes the Jacobian of all residuals by all
    parameters, so that it is for networks of up to some ten thousand of them.

    Arguments:
        steps: how many; 0 leaves the stage out.
        damping: the first damping, relative to the mean of the matrix's diagonal.

    Source:
        Marquardt, An Algorithm for Least-Squares Estimation of Nonlinear Parameters (1963).
    """

    steps: int = 100
    damping: float = 1e-3

    averaging: ClassVar[float] = 0.0
    clip: ClassVar[float] = math.inf
    lr: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise InputError(f"steps must not be negative, but is {self.steps}.")
        if not self.damping > 0:
            raise InputError(f"damping must be positive, but is {self.damping}.")

    def rate(self, step: int) -> float:
        """The learning rate of a step: damping takes its place."""
        return self.lr

    def build(self, parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
        return optim.GaussNewton(parameters, self.damping)


@dataclass(frozen=True)
class EarlyStop:
    """Validate every so many steps; stop when so many in a row were worse than the best."""

    every: int = 100
    patience: int = 15

    def __post_init__(self) -> None:
        if self.every < 1 or self.patience < 1:
            raise InputError(
                f"every and patience must be positive, but are {self.every} and {self.patience}."
            )


@dataclass(frozen=True)
class Stage:
    """One optimisation: its parameters, where batches come from, and what is made small.

    The weights that validate best are kept, the latest among those that tie. Those that the stage
    starts from compete too: no stage makes its own validation value worse by more than a tie.

    Arguments:
        name: unique within a fit; resuming goes by it.
        module: the parameters to optimise.
        batches: a batch, from a generator and the progress of the stage in [0, 1).
        losses: named losses of a batch and the progress; their sum is minimised.
        validate: the value on held-out data by which weights are chosen, lower is better.
        tie: values that exceed the best by no more are as good: the later, more settled weights
            are preferred.
        optimiser: how.
        stop: how often to validate, and when to give up.
        linearise: for `GaussNewton`: residuals of a batch `(n,)`, whose squares add up to the sum
            of the losses, and their Jacobian `(n, P)` by the parameters of `module`.
        monitor: figures to note in the history at each validation, beside its value.
    """

    name: str
    module: nn.Module
    batches: Callable[[torch.Generator, float], Any]
    losses: Callable[[Any, float], Mapping[str, Tensor]]
    validate: Callable[[], float]
    optimiser: Adam | LBFGS | GaussNewton
    stop: EarlyStop = EarlyStop()
    tie: float = 0.0
    linearise: Callable[[Any], tuple[Tensor, Tensor]] | None = None
    monitor: Callable[[], Mapping[str, float]] | None = None


@dataclass(frozen=True)
class SideBySide:
    """Stages that do not depend on each other, trained in several processes where they can be.

    They can if they are picklable: no lambdas, nor functions of a file that cannot be imported.

    Arguments:
        stages: each with parameters of its own.
        processes: how many at a time; with 1 the stages are run one after another.
    """

    stages: Sequence[Stage]
    processes: int


@dataclass(frozen=True)
class Together:
    """Stages of the same form that are trained at once, their parameters stacked.

    Each keeps an optimiser and a pace of its own; only losses and gradients are evaluated for all
    in one go. That is cheaper where a batch is small, and Python the most of the work.

    Arguments:
        stages: each with a module of its own, all with the same parameters but for their values.
        losses: of such a module and a batch, that of one stage; what `torch.func.vmap` takes.
    """

    stages: Sequence[Stage]
    losses: Callable[[Any, Any], Mapping[str, Tensor]]


Group: TypeAlias = Stage | SideBySide | Together
