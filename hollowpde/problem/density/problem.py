"""The declaration of a density problem."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from hollowpde.data.samples import DensityData, Samples, load
from hollowpde.densities.cnf import CNF
from hollowpde.errors import InputError
from hollowpde.nets import Hollow, MaskedMLP, SharedMLP
from hollowpde.nets.structured.specs import Spec
from hollowpde.problem.base import Compute, Problem
from hollowpde.problem.density.fit import DensityProblemFit
from hollowpde.problem.density.learned import FlowModel, LearnedDensity
from hollowpde.problem.density.settings import Evaluation, FlowMatching, Likelihood
from hollowpde.problem.density.stiffness import Stiffness


@dataclass(frozen=True, kw_only=True)
class DensityProblem(Problem):
    r"""Learn a normalised density of samples, by a flow whose divergence is exact.

    A standard normal is carried to the data along a velocity, by maximum likelihood; data are
    standardised, and all figures are in the user's units.

    Arguments:
        data: values `(n, d)` (tensor or array), a pandas frame with a column for each dimension,
            `hp.Samples(draw)`, or anything else with `.load()`.
        velocity: the sizes of the velocity, such as `hp.Hollow(...)`.
        entropy: of the true density in nats, where it is known: to compare with only.
        split: shares of the samples for training, validation and test.
        matching: the stage before the likelihood.
        likelihood: how the likelihood is made large.
        evaluation: how densities are computed for metrics and pictures.
        stiffness: solvers that are compared on the same weights as training goes on.
        image: height and width, where samples are images, row by row.

    Raises:
        InputError: an argument of the wrong kind.

    Source:
        Grathwohl et al., FFJORD (2019); Chen and Duvenaud, Neural Networks with Cheap
        Differential Operators (2019).

    Example:
        >>> DensityProblem(name="noise", data=torch.randn(100, 2)).summary()["kind"]
        'Density: a continuous normalising flow'
    """

    data: DensityData
    velocity: Spec = Hollow(MaskedMLP(hidden=(64, 64), features=16), SharedMLP(hidden=(64, 64)))
    entropy: float | None = None
    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    matching: FlowMatching = FlowMatching()
    likelihood: Likelihood = Likelihood()
    evaluation: Evaluation = Evaluation()
    stiffness: Stiffness = Stiffness()
    image: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        values = isinstance(self.data, torch.Tensor | np.ndarray | pd.DataFrame)
        if not values and not callable(getattr(self.data, "load", None)):
            raise InputError(
                "data must be values (n, d), a pandas frame, or something with .load() such as "
                f"hp.Samples(draw), but is a {type(self.data).__name__}."
            )
        if not callable(getattr(self.velocity, "build", None)):
            raise InputError(
                "velocity must be hp.Hollow(...) or the like, but is a "
                f"{type(self.velocity).__name__}."
            )
        if self.entropy is not None and not math.isfinite(self.entropy):
            raise InputError(f"entropy must be finite, but is {self.entropy}.")

    def begin(self, compute: Compute) -> DensityProblemFit:
        data = load(self.data)
        if self.image is not None and math.prod(self.image) != data.dim:
            raise InputError(
                f"image must have {data.dim} pixels, the dimension of the data, but is "
                f"{self.image}."
            )
        split = data.split(self.split, compute.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(compute.seed)
            model = self._model(data.dim)
        model.measure(split.train)
        model.flow.to(dtype=compute.dtype)
        model.to(device=compute.device)
        return DensityProblemFit(self, split, model, compute)

    def restore(self, state: Mapping[str, Any]) -> LearnedDensity:
        with torch.random.fork_rng(devices=[]):
            model = self._model(len(state["standardisation.shift"]))
        own = [v.dtype for k, v in state.items() if k.startswith("flow.")]
        model.flow.to(dtype=next((dtype for dtype in own if dtype.is_floating_point), None))
        model.load_state_dict(dict(state))
        model.requires_grad_(False)
        return LearnedDensity(model.eval())

    def summary(self) -> Mapping[str, str]:
        data = self.data
        if isinstance(data, Samples):
            text = f"{data.samples} samples"
        elif isinstance(data, torch.Tensor | np.ndarray | pd.DataFrame):
            text = " x ".join(map(str, data.shape)) + " values"
        else:
            text = repr(data)
        return {
            "kind": "Density: a continuous normalising flow",
            "data": text,
            "truth": "unknown" if self.entropy is None else "known entropy",
        }

    def _model(self, dim: int) -> FlowModel:
        setting = self.evaluation
        return FlowModel(
            CNF(
                self.velocity.build(dim),
                dim,
                trace=setting.trace,
                solver=setting.solver,
            )
        )
