"""A flow that stiffens as it is trained, and what explicit and implicit solvers take for it.

Maximum likelihood on a thin curve, without smoothing and without any penalty on weights: the
sharper the density becomes, the larger the derivatives of the velocity. At every validation the
same weights are solved by four methods, all at the same tolerances; the page shows how many
evaluations each takes, and how stiff the velocity is (h rho: below about 3, an explicit method is
held back by accuracy alone, and an implicit one has nothing to win).

    python -m hollowpde fit problems/stiff_cnf.py --seed 0
"""

import math

import torch

import hollowpde as hp

WIDTH = 0.01


def ring(n: int, generator: torch.Generator) -> torch.Tensor:
    """A circle of radius 1 and width .01."""
    angle = 2 * math.pi * torch.rand(n, generator=generator)
    radius = 1 + WIDTH * torch.randn(n, generator=generator)
    return radius[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1)


RTOL = ATOL = 1e-5
ADAMS = hp.AdamsMoulton(inner=hp.FunctionalIteration())

hp.register(
    hp.DensityProblem(
        name="stiff_cnf",
        data=hp.Samples(ring, samples=10_000),
        # Of the radius, normal, and of the angle: log r is 0 on average to 1e-4.
        entropy=0.5 * (1 + math.log(2 * math.pi * WIDTH**2)) + math.log(2 * math.pi),
        velocity=hp.Hollow(hp.MaskedMLP(hidden=(32, 32), features=8), hp.SharedMLP((32, 32))),
        matching=hp.FlowMatching(optimiser=hp.Adam(steps=0)),
        likelihood=hp.Likelihood(
            solver=hp.Dopri5(1e-4, 1e-4),
            batch=128,
            optimiser=hp.Adam(steps=1500, lr=1e-2, final=0.1, averaging=0.0),
            stop=hp.EarlyStop(every=75, patience=1000),
        ),
        stiffness=hp.Stiffness(
            {
                "RK45": hp.Dopri5(RTOL, ATOL),
                "Adams, functional": hp.SolveIVP(ADAMS, RTOL, ATOL),
                "Adams, Jacobi-Newton": hp.SolveIVP(hp.AdamsMoulton(), RTOL, ATOL),
                "BDF, Jacobi-Newton": hp.SolveIVP(hp.JacobiNewtonBDF(), RTOL, ATOL),
            },
            explicit="RK45",
        ),
    )
)
