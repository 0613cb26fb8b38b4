"""The declaration of an SDE problem."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from hollowpde.data import SDE, Data, Simulated, check_sde
from hollowpde.errors import InputError
from hollowpde.likelihoods import LocalLinearization, TransitionLikelihood
from hollowpde.nets import Hollow, SharedMLP, silu
from hollowpde.problem.base import Compute, Problem
from hollowpde.problem.sde.fit import SDEFit
from hollowpde.problem.sde.model import LearnedSDE, SDEModel, dim_of
from hollowpde.problem.stage import Adam, EarlyStop


def _check_batch(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise InputError(f"{name} must be at least 1, but is {size}.")


@dataclass(frozen=True)
class TransitionFit:
    """How drift and diffusion are fitted.

    Arguments:
        likelihood: of the transitions; Euler-Maruyama for the first `euler_share` of the steps.
        batch, late_batch: pairs in a batch, and in the last third of the steps.
        optimiser, stop: see `Adam` and `EarlyStop`.
    """

    likelihood: TransitionLikelihood = LocalLinearization()
    euler_share: float = 0.2
    batch: int = 512
    late_batch: int = 4096
    optimiser: Adam = Adam(steps=4000, lr=1e-2)
    stop: EarlyStop = EarlyStop()

    def __post_init__(self) -> None:
        _check_batch(batch=self.batch, late_batch=self.late_batch)
        if not 0 <= self.euler_share <= 1:
            raise InputError(f"euler_share must lie in [0, 1], but is {self.euler_share}.")


@dataclass(frozen=True)
class DensityFit:
    """How the density is fitted.

    Arguments:
        components: sizes of mixture to try; held-out NLL chooses.
        batch: observations in a batch.
        optimiser, stop: of each mixture, by negative log-likelihood.
        refine: of the chosen one, with the Fokker-Planck residual added; no steps leave it out.
        residual_weight: of the mean squared residual, in standardised units.
    """

    components: tuple[int, ...] = (1, 2, 3, 5, 8)
    batch: int = 2048
    optimiser: Adam = Adam(steps=1000, lr=5e-3)
    stop: EarlyStop = EarlyStop()
    refine: Adam = Adam(steps=1000, lr=2e-3)
    residual_weight: float = 0.03

    def __post_init__(self) -> None:
        if not self.components or min(self.components) < 1:
            raise InputError(
                f"components must hold at least one size, all positive, but is {self.components}."
            )
        _check_batch(batch=self.batch)
        if self.residual_weight < 0:
            raise InputError(
                f"residual_weight must not be negative, but is {self.residual_weight}."
            )


@dataclass(frozen=True)
class JointFit:
    """An optional last stage: everything at once.

    It is kept only if the held-out NLL, of transitions and density together, does not rise.
    """

    batch: int = 2048
    optimiser: Adam = Adam(steps=0, lr=5e-4)
    stop: EarlyStop = EarlyStop()

    def __post_init__(self) -> None:
        _check_batch(batch=self.batch)


@dataclass(frozen=True, kw_only=True)
class SDEProblem(Problem):
    r"""Learn drift, diffusion and density of `dX = f dt + g dW` (Ito, diagonal) from paths.

    Drift and squared diffusion are hollow networks fitted by a transition likelihood; then the
    density is fitted by its likelihood and the Fokker-Planck equation of the two.

    Arguments:
        data: anything with `.load()`: `Simulated(...)` or `Trajectories`.
        truth: the true SDE, in the torchsde protocol, where it is known: to compare with only.
        autonomous: drift and diffusion do not depend on time.
        drift, diffusion: the sizes of the hollow networks of drift and squared diffusion.
        split: shares of the paths for training, validation and test.
        transition, density, joint: how each stage is fitted.

    Raises:
        InputError: an argument of the wrong kind, or a truth of the wrong shape.
        UnsupportedError: a truth that is not Ito, or whose noise is not diagonal.

    Source:
        Chen and Duvenaud, Neural Networks with Cheap Differential Operators (2019).

    Example:
        >>> data = hp.Trajectories.from_dense(torch.arange(3.0), torch.randn(10, 3, 1))
        >>> hp.SDEProblem(name="noise", data=data).summary()["data"]
        'Trajectories(10 paths, 30 observations, d=1, t=[0, 2])'
    """

    data: Data
    truth: SDE | None = None
    autonomous: bool = True
    # SiLU goes on growing where the data end, tanh levels off: that halves the error of a drift
    # that steepens there, and of the diffusion that would otherwise make up for it.
    drift: Hollow = Hollow(transformer=SharedMLP(hidden=(32, 32), activation=silu))
    diffusion: Hollow = Hollow(transformer=SharedMLP(hidden=(16,), activation=silu))
    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    transition: TransitionFit = TransitionFit()
    density: DensityFit = DensityFit()
    joint: JointFit = JointFit()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(getattr(self.data, "load", None)):
            raise InputError(
                "data must be hp.Simulated(...) or hp.Trajectories(...), something with .load(), "
                f"but is a {type(self.data).__name__}."
            )

    def begin(self, compute: Compute) -> SDEFit:
        data = self.data.load()
        if self.truth is not None:
            check_sde(self.truth, data.t[0], data.x[:2], name="truth")
        split = data.split(self.split, compute.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(compute.seed)
            model = self._model(data.dim)
        model.standardisation.measure(split.train)
        for name, part in split._asdict().items():
            if not len(part.pairs().t):
                raise InputError(
                    f"data: no path of the {name} part has two observations, so there is no "
                    "transition: give more paths of at least two."
                )
        pairs = model.standardisation.pairs(split.train, torch.float64)
        model.start_from(pairs)
        points = model.standardisation.points(split.train, torch.float64).x.numpy()
        for components in self.density.components:
            model.candidate(components).start_from(points[:: 1 + len(points) // 20_000], 0)
        for part in (model.drift, model.diffusion, model.densities):
            part.to(dtype=compute.dtype)
        model.to(device=compute.device)
        return SDEFit(self, split, model, compute)

    def restore(self, state: Mapping[str, Any]) -> LearnedSDE:
        with torch.random.fork_rng(devices=[]):
            model = self._model(dim_of(state))
        dtype = state["drift.scale"].dtype
        for part in (model.drift, model.diffusion, model.densities):
            part.to(dtype=dtype)
        model.load_state_dict(dict(state))
        return LearnedSDE(model.eval().requires_grad_(False))

    def summary(self) -> Mapping[str, str]:
        if isinstance(self.data, Simulated):
            t = self.data.times
            data = f"{self.data.paths} simulated paths, {len(t)} times in [{t[0]:g}, {t[-1]:g}]"
        else:
            data = repr(self.data)
        return {
            "kind": "SDE: drift, diffusion and density from paths",
            "data": data,
            "truth": "unknown" if self.truth is None else type(self.truth).__name__,
        }

    def _model(self, dim: int) -> SDEModel:
        return SDEModel(dim, self.drift, self.diffusion, self.density.components, self.autonomous)
