"""The declaration of an SDE problem."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from hollowpde.data import (
    SDE,
    Data,
    Simulated,
    Split,
    Standardisation,
    Steady,
    Trajectories,
    check_sde,
)
from hollowpde.errors import InputError, UnsupportedError, nearest
from hollowpde.nets import Constant, Hollow, Linear, MaskedMLP, SharedMLP, silu
from hollowpde.problem.base import Compute, Problem
from hollowpde.problem.sde.bootstrap import Bootstrap
from hollowpde.problem.sde.coefficient_fit import TransitionFit
from hollowpde.problem.sde.density_fit import DensityFit
from hollowpde.problem.sde.fit import SDEFit
from hollowpde.problem.sde.forms import Form, NetworkSpec, Place, as_form
from hollowpde.problem.sde.learned import LearnedSDE
from hollowpde.problem.sde.matching import Further, Matching, WeakForm
from hollowpde.problem.sde.matching_fit import rounds
from hollowpde.problem.sde.model import SDEModel
from hollowpde.problem.sde.observation import ObservationNoise
from hollowpde.problem.sde.snapshot_fit import SnapshotFit
from hollowpde.problem.stage import Adam, EarlyStop

log = logging.getLogger(__name__)

# Fewer paths than these are cut into blocks, so that some can be held out.
_FEWEST_PATHS = 10
_BLOCKS = 20
# Fewer observations than these say nothing of a marginal that changes.
_FEWEST_SNAPSHOTS = 100

_SUPPORTS = ("real", "positive")

# Of paths, from which held-out likelihood chooses.
_DIFFUSIONS_OF_PATHS: tuple[NetworkSpec, ...] = (
    Linear(
        plus=Hollow(MaskedMLP(hidden=(32,), features=8), SharedMLP(hidden=(16,), activation=silu))
    ),
    Linear(),
    Constant(),
)
# Of snapshots, which tell far less of it: what is simplest first, and the rest if it does not fit.
_DIFFUSIONS_OF_SNAPSHOTS: tuple[NetworkSpec, ...] = (Constant(), Linear())


@dataclass(frozen=True)
class JointFit:
    """An optional last stage: everything at once.

    It is kept only if the held-out NLL, of transitions and density together, does not rise.
    """

    batch: int = 2048
    optimiser: Adam = Adam(steps=0, lr=5e-4)
    stop: EarlyStop = EarlyStop()

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise InputError(f"batch must be at least 1, but is {self.batch}.")


@dataclass(frozen=True, kw_only=True)
class SDEProblem(Problem):
    r"""Learn drift, diffusion and density of `dX = f dt + g dW` (Ito, diagonal) from data.

    From paths, drift and squared diffusion are fitted by a transition likelihood; from snapshots,
    of which no two observations are of one path, by the Fokker-Planck equation that the marginals
    satisfy. The density is fitted by its likelihood and the Fokker-Planck equation of the two.

    Arguments:
        data: anything with `.load()`: `Simulated(...)`, `Table(...)` or `Trajectories`. Fewer
            than ten paths are cut into blocks. With `paired=False` they are snapshots.
        also: further experiments with the same equation, snapshots or `Steady(...)`: the moment
            equations of theirs are fitted too. Their densities are not.
        truth: the true SDE, in the torchsde protocol, where it is known: to compare with only.
        drift: a hollow network, `Linear()`, `Gradient()`, a `Known` part and what is to be added
            to it, or a `Parametric` module.
        diffusion: the squared diffusion D = g^2: a hollow network, `Constant()`, `Known(...)` or
            `Parametric(...)`. Of several candidates held-out likelihood chooses; for snapshots the
            first is taken whose chi-square is no misfit. By default of paths a network, a linear
            or a constant one, and of snapshots a constant one or else a linear one.
        autonomous: networks of drift and diffusion do not depend on time.
        noiseless: names of the coordinates without noise, such as a position whose velocity is
            another coordinate.
        support: "real" or "positive", of all coordinates or one for each. Where it is positive,
            the SDE of the logarithm is fitted, and given back by Ito's formula.
        observation: the noise of the observations; none by default.
        uncertainty: how many members an ensemble has; none by default.
        split: shares of the paths for training, validation and test.
        transition: how paths are fitted.
        matching: how snapshots are: `WeakForm()`, `FluxForm()` or `StrongForm()`.
        density, joint: how these stages are fitted.

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
    # SiLU goes on growing where the data end, tanh levels off: that halves the error of a drift
    # that steepens there, and of the diffusion that would otherwise make up for it.
    drift: Form | NetworkSpec = Linear(
        plus=Hollow(
            MaskedMLP(hidden=(32, 32), features=8), SharedMLP(hidden=(32, 32), activation=silu)
        )
    )
    diffusion: Form | NetworkSpec | tuple[Form | NetworkSpec, ...] | None = None
    also: tuple[Data, ...] = ()
    autonomous: bool = True
    noiseless: tuple[str, ...] = ()
    support: str | tuple[str, ...] = "real"
    observation: ObservationNoise = ObservationNoise()
    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    transition: TransitionFit = TransitionFit()
    matching: Matching = WeakForm()
    density: DensityFit = DensityFit()
    joint: JointFit = JointFit()
    uncertainty: Bootstrap = Bootstrap()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(getattr(self.data, "load", None)):
            raise InputError(
                "data must be hp.Simulated(...), hp.Table(...) or hp.Trajectories(...), something "
                f"with .load(), but is a {type(self.data).__name__}."
            )
        if not isinstance(self.observation, ObservationNoise):
            raise InputError(
                "observation must be hp.ObservationNoise(...), but is a "
                f"{type(self.observation).__name__}."
            )
        as_form(self.drift)
        if not self._diffusions(True):
            raise InputError("diffusion must hold at least one candidate, but is empty.")
        for given in (self.support,) if isinstance(self.support, str) else self.support:
            if given not in _SUPPORTS:
                raise InputError(f"support {given!r} is unknown: {nearest(given, _SUPPORTS)}")

    def begin(self, compute: Compute) -> SDEFit | SnapshotFit:
        data = self.data.load()
        if self.truth is not None:
            check_sde(self.truth, data.t[0], data.x[:2], name="truth")
        if data.paired:
            data = self._checked_paths(data)
        else:
            self._check_snapshots(data)
        positive = self._positive(data.dim)
        split = data.split(self.split, compute.seed)
        logarithmic = Split(*(_logarithms(part, positive) for part in split))
        if data.paired:
            _check_transitions(split)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(compute.seed)
            model = self._model(self._noisy(data.names), positive, data.paired)
        units = model.standardisation
        units.measure(logarithmic.train)
        if data.paired:
            pairs = units.pairs(logarithmic.train, torch.float64)
            for k in range(len(model.coefficients)):
                model.pair(k).start_from(pairs, units.scale)
        points = units.points(logarithmic.train, torch.float64).x.numpy()
        for components in self.density.components:
            model.candidate(components).start_from(points[:: 1 + len(points) // 20_000], 0)
        model.to_dtype(compute.dtype)
        model.to(device=compute.device)
        further = self._further(model, data, compute.dtype)
        if data.paired:
            return SDEFit(self, split, logarithmic, further, model, compute)
        return SnapshotFit(self, split, logarithmic, further, model, compute)

    def restore(self, state: Mapping[str, Any]) -> LearnedSDE:
        noisy = tuple(state["noisy"].tolist())
        with torch.random.fork_rng(devices=[]):
            model = self._model(noisy, self._positive(len(noisy)), bool(state["paired"]))
        model.to_dtype(next(v.dtype for k, v in state.items() if k.startswith("densities.")))
        model.load_state_dict(dict(state))
        learned = LearnedSDE(model.eval())
        model.requires_grad_(False)
        return learned

    def summary(self) -> Mapping[str, str]:
        if isinstance(self.data, Simulated):
            t = self.data.times
            what = "simulated paths" if self.data.paired else "simulated states at each time"
            data = f"{self.data.paths} {what}, {len(t)} times in [{t[0]:g}, {t[-1]:g}]"
        else:
            data = repr(self.data)
        source = "paths" if getattr(self.data, "paired", True) else "snapshots"
        return {
            "kind": f"SDE: drift, diffusion and density from {source}",
            "data": data,
            "truth": "unknown" if self.truth is None else type(self.truth).__name__,
        }

    def _diffusions(self, paired: bool) -> tuple[Form | NetworkSpec, ...]:
        if self.diffusion is None:
            return _DIFFUSIONS_OF_PATHS if paired else _DIFFUSIONS_OF_SNAPSHOTS
        return self.diffusion if isinstance(self.diffusion, tuple) else (self.diffusion,)

    def _checked_paths(self, data: Trajectories) -> Trajectories:
        """Paths; those of few cut into blocks."""
        if data.paths >= _FEWEST_PATHS:
            return data
        log.info(
            "%d %s cut into blocks, %d each, to be dealt for training, validation and test",
            data.paths, "path is" if data.paths == 1 else "paths are", _BLOCKS,
        )  # fmt: skip
        return data.blocks(_BLOCKS)

    def _check_snapshots(self, data: Trajectories) -> None:
        if len(data) < _FEWEST_SNAPSHOTS:
            raise InputError(
                f"data: no path has two observations, and {len(data)} observations in all are too "
                f"few for snapshots, which need at least {_FEWEST_SNAPSHOTS}: say which belong to "
                "one path, or give more."
            )
        if self.observation:
            raise UnsupportedError(
                "observation: noise is told apart along paths, and there are snapshots only: "
                "leave it out."
            )
        if self.uncertainty.members:
            raise UnsupportedError(
                "uncertainty: an ensemble resamples paths, and there are snapshots only: leave it "
                "out. How well scales are known is on the page."
            )

    def _further(
        self, model: SDEModel, data: Trajectories, dtype: torch.dtype
    ) -> tuple[Further, ...]:
        """Further experiments, in the units of the first."""
        out = []
        for k, source in enumerate(self.also):
            loaded = source.load()
            if loaded.dim != data.dim:
                raise InputError(
                    f"also[{k}] must have the {data.dim} coordinates of data, but has "
                    f"{loaded.dim}."
                )
            if loaded.paired:
                raise InputError(
                    f"also[{k}] must be snapshots, but holds paths: put paths into data, or "
                    "forget what belongs together with .unpaired()."
                )
            logarithmic = _logarithms(loaded, model.place.positive)
            points = model.standardisation.points(logarithmic, dtype)
            out.append(Further(points, isinstance(source, Steady)))
        return tuple(out)

    def _noisy(self, names: Sequence[str]) -> tuple[bool, ...]:
        for name in self.noiseless:
            if name not in names:
                raise InputError(f"noiseless: no coordinate {name!r}: {nearest(name, names)}")
        noisy = tuple(name not in self.noiseless for name in names)
        if not any(noisy):
            raise InputError("noiseless must leave at least one coordinate with noise.")
        return noisy

    def _positive(self, dim: int) -> tuple[bool, ...]:
        support = (self.support,) * dim if isinstance(self.support, str) else self.support
        if len(support) != dim:
            raise InputError(
                f"support must be one word, or one for each of {dim} coordinates, but is "
                f"{support}."
            )
        return tuple(word == "positive" for word in support)

    def _model(
        self, noisy: tuple[bool, ...], positive: tuple[bool, ...], paired: bool
    ) -> SDEModel:
        place = Place(Standardisation(len(noisy)), self.autonomous, noisy, positive)
        diffusions = [as_form(given) for given in self._diffusions(paired)]
        ridges = self.transition.ridge if paired else self.matching.ridge
        return SDEModel(
            place,
            as_form(self.drift),
            diffusions,
            self.density.build(len(noisy)),
            len(ridges),
            self.uncertainty.members,
            self.observation,
            paired,
            # Of paths, only where there are moment equations to weigh besides.
            (len(ridges) + 1 if self.also else 0) if paired else rounds(len(ridges)),
        )


def _check_transitions(split: Split) -> None:
    for name, part in split._asdict().items():
        if not part.paired:
            raise InputError(
                f"data: no path of the {name} part has two observations, so there is no "
                "transition: give more paths of at least two."
            )


def _logarithms(data: Trajectories, positive: tuple[bool, ...]) -> Trajectories:
    """The data with the logarithms of positive coordinates taken.

    Raises:
        InputError: a value of such a coordinate is not positive.
    """
    if not any(positive):
        return data
    x = data.x.clone()
    for j, name in enumerate(data.names):
        if not positive[j]:
            continue
        bad = int((x[:, j] <= 0).sum())
        if bad:
            raise InputError(
                f'support="positive", but {bad} values of {name!r} are zero or negative: leave '
                "support out, or these rows."
            )
        x[:, j] = x[:, j].log()
    return Trajectories(data.t, x, data.path, data.names)
