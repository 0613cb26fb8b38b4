"""The declaration of a score problem."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from hollowpde.data import Data, Simulated, Standardisation, Trajectories
from hollowpde.errors import InputError
from hollowpde.nets import Hollow, MaskedMLP, SharedMLP, silu
from hollowpde.nets.structured.moving_linear import MovingLinear
from hollowpde.nets.structured.specs import Spec
from hollowpde.problem.base import Compute, Problem
from hollowpde.problem.score.fit import ScoreFit, ScoreMatching
from hollowpde.problem.score.learned import LearnedScore, ScoreModel
from hollowpde.problem.score.metrics import TrueScore, truth_at

# Fewer paths than these are cut into blocks, so that some can be held out.
_FEWEST_PATHS = 10
_BLOCKS = 20


@dataclass(frozen=True, kw_only=True)
class ScoreProblem(Problem):
    r"""Learn the score `s(t, x) = grad log p(t, x)` of data, without a density.

    By exact implicit score matching: `E[|s|^2 / 2 + div s]` is least for the true score. The
    divergence of a hollow network is exact at a cost that does not grow with d.

    All observations are used as points at their times; paths matter only in that they are held
    out as a whole.

    Arguments:
        data: anything with `.load()`: `Simulated(...)`, `Table(...)` or `Trajectories`. Fewer
            than ten paths are cut into blocks.
        score: what is added to the score of a standard normal, in standardised units: a hollow
            network, `MovingLinear()`, `Linear()`, or `Gradient()` for one that is a gradient.
        truth: the true score, where it is known, called as `truth(t, x)` with a scalar t and x
            `(n, d)`: to compare with only.
        split: shares of the paths for training, validation and test.
        fit: how it is fitted.

    Raises:
        InputError: an argument of the wrong kind, or a truth of the wrong shape.

    Source:
        Hyvarinen, Estimation of Non-Normalized Statistical Models by Score Matching (2005).

    Example:
        >>> data = hp.Trajectories.from_dense(torch.arange(3.0), torch.randn(10, 3, 1))
        >>> ScoreProblem(name="noise", data=data).summary()["truth"]
        'unknown'
    """

    data: Data
    score: Spec = MovingLinear(
        symmetric=True,
        plus=Hollow(
            MaskedMLP(hidden=(32, 32), features=8), SharedMLP(hidden=(32, 32), activation=silu)
        ),
    )
    truth: TrueScore | None = None
    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    fit: ScoreMatching = ScoreMatching()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(getattr(self.data, "load", None)):
            raise InputError(
                "data must be hp.Simulated(...), hp.Table(...) or hp.Trajectories(...), something "
                f"with .load(), but is a {type(self.data).__name__}."
            )
        if not callable(getattr(self.score, "build", None)):
            raise InputError(
                "score must be hp.Hollow(...), hp.Linear(...), hp.Gradient() or the like, but is "
                f"a {type(self.score).__name__}."
            )
        if self.truth is not None and not callable(self.truth):
            raise InputError(
                f"truth must be called as truth(t, x), but is a {type(self.truth).__name__}."
            )

    def begin(self, compute: Compute) -> ScoreFit:
        data = self.data.load()
        if self.truth is not None:
            truth_at(self.truth, data.select(torch.arange(min(2, len(data)))))
        _check_spread(data)
        if data.paths < _FEWEST_PATHS:
            data = data.blocks(_BLOCKS)
        split = data.split(self.split, compute.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(compute.seed)
            model = self._model(data.dim)
        _measure(model.standardisation, split.train)
        model.field.to(dtype=compute.dtype)
        model.to(device=compute.device)
        return ScoreFit(self, split, model, compute)

    def restore(self, state: Mapping[str, Any]) -> LearnedScore:
        with torch.random.fork_rng(devices=[]):
            model = self._model(len(state["standardisation.shift"]))
        own = [v.dtype for k, v in state.items() if k.startswith("field.")]
        model.field.to(dtype=next((dtype for dtype in own if dtype.is_floating_point), None))
        model.load_state_dict(dict(state))
        model.requires_grad_(False)
        return LearnedScore(model.eval())

    def summary(self) -> Mapping[str, str]:
        if isinstance(self.data, Simulated):
            t = self.data.times
            data = f"{self.data.paths} simulated paths, {len(t)} times in [{t[0]:g}, {t[-1]:g}]"
        else:
            data = repr(self.data)
        return {
            "kind": "Score: grad log p(t, x) from points",
            "data": data,
            "truth": "unknown" if self.truth is None else "known",
        }

    def _model(self, dim: int) -> ScoreModel:
        return ScoreModel(self.score.build(dim), dim)


def _check_spread(data: Trajectories) -> None:
    """Refuse times at which several paths are all at one place: there is no density there.

    Raises:
        InputError: a coordinate takes one value at such a time.
    """
    times, label, count = data.t.unique(return_inverse=True, return_counts=True)
    index = label.unsqueeze(-1).expand_as(data.x)
    low, high = (
        data.x.new_zeros(len(times), data.dim).scatter_reduce(
            0, index, data.x, how, include_self=False
        )
        for how in ("amin", "amax")
    )
    bad = (low == high) & (count > 1).unsqueeze(-1)
    if bad.any():
        row, column = bad.nonzero()[0].tolist()
        raise InputError(
            f"x: at t = {float(times[row]):g} the coordinate {data.names[column]!r} is the same "
            f"in all {int(count[row])} observations, so that it has no density and no score: "
            "leave that time out."
        )


def _measure(units: Standardisation, data: Trajectories) -> None:
    """Take the units of data, which may be at one time only."""
    if data.t.min() < data.t.max():
        units.measure(data)
        return
    # As if seen at one time unit before and after.
    times = torch.cat([data.t - 1, data.t + 1])
    path = torch.cat([data.path, data.path + data.path.max() - data.path.min() + 1])
    units.measure(Trajectories(times, data.x.repeat(2, 1), path, data.names))
