"""Continuous flows with a hollow velocity."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hollowpde.bench.vae.posteriors.base import Posterior
from hollowpde.densities.cnf import RK4, Along, ExactTrace, Solver, Trace
from hollowpde.nets import HollowNet, MaskedMLP, SharedMLP

# Of the velocity; and RK4's steps in training.
CONDITIONER = MaskedMLP(hidden=(128, 128), features=4)
TRANSFORMER = SharedMLP(hidden=(16,))
CONTEXT, STEPS = 32, 2


class Continuous(Posterior):
    r"""Codes are carried along a velocity from time 0 to 1, their density by its divergence.

    $$ \frac{dz}{dt} = v(t, z, c(x)), \quad \frac{d}{dt} \log q = - \nabla \cdot v $$

    c is linear in the features and enters the first layers of the conditioner and of the
    transformer: it moves the biases of these layers from image to image. (FFJORD moves those of
    all layers, and the weights by matrices of low rank.)

    Arguments:
        features, dim: as in `Posterior`.
        trace: how the divergence is found in training.
        solver: by which the equation is solved in training.

    Source:
        Grathwohl et al., FFJORD (2019); Chen and Duvenaud, Neural Networks with Cheap Differential
        Operators (2019).
    """

    def __init__(
        self,
        features: int,
        dim: int,
        trace: Trace | None = None,
        solver: Solver | None = None,
    ) -> None:
        super().__init__(features, dim)
        self.context = nn.Linear(features, CONTEXT)
        self.velocity = HollowNet(
            dim, context=CONTEXT, conditioner=CONDITIONER, transformer=TRANSFORMER
        )
        #: Both may be replaced: they are no part of what is learned.
        self.trace: Trace = trace or ExactTrace()
        self.solver: Solver = solver or RK4(STEPS)

    def carry(
        self, features: Tensor, z: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, int]:
        context = self.context(features)
        # In one row of samples, whose contexts are repeated.
        rows = z.flatten(0, -2)
        velocity = self.velocity.given(context.expand(*z.shape[:-1], CONTEXT).flatten(0, -2))
        estimate = self.trace.begin(rows, generator)
        flow = Along(velocity, 0.0, rows.new_ones(()), estimate)
        start = (rows, rows.new_zeros(len(rows)))
        end, divergence = self.solver.integrate(flow, start, (0.0, 1.0))
        return end.view_as(z), divergence.view(z.shape[:-1]), flow.evaluations
