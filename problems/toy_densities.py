"""Densities in the plane, by continuous normalising flows: six toys to look at.

Where the entropy is known, `nll_gap` says how far the fit is above it. One is chosen by its name,
as in `python -m hollowpde fit problems/toy_densities.py:checkerboard`.
"""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

import hollowpde as hp


def uniform(n: int, generator: Generator) -> Tensor:
    return torch.rand(n, generator=generator)


def normal(n: int, generator: Generator) -> Tensor:
    return torch.randn(n, 2, generator=generator)


def choice(n: int, among: int, generator: Generator) -> Tensor:
    return torch.randint(among, (n,), generator=generator)


def on_circle(angle: Tensor) -> Tensor:
    return torch.stack([angle.cos(), angle.sin()], dim=-1)


def moons(n: int, generator: Generator) -> Tensor:
    """Two half circles that reach into each other."""
    which = choice(n, 2, generator)
    arc = on_circle(math.pi * uniform(n, generator)) * (1 - 2 * which).unsqueeze(-1)
    shift = which.unsqueeze(-1) * torch.tensor([1.0, 0.5])
    return arc + shift + 0.1 * normal(n, generator)


def pinwheel(n: int, generator: Generator) -> Tensor:
    """Five arms, each a narrow normal density that is bent."""
    arm = choice(n, 5, generator) * (2 * math.pi / 5)
    radial, tangential = (normal(n, generator) * torch.tensor([0.3, 0.1])).unbind(-1)
    turned = arm + 0.25 * (radial + 1).exp()
    return 2 * (
        (radial + 1).unsqueeze(-1) * on_circle(turned)
        + tangential.unsqueeze(-1) * on_circle(turned + math.pi / 2)
    )


EIGHT_WIDTH = 0.35


def eight_gaussians(n: int, generator: Generator) -> Tensor:
    """Eight normal densities on a circle, six widths apart."""
    centre = 2.8 * on_circle(choice(n, 8, generator) * (math.pi / 4))
    return centre + EIGHT_WIDTH * normal(n, generator)


def checkerboard(n: int, generator: Generator) -> Tensor:
    """Uniform on eight of sixteen squares of side 2."""
    square = choice(n, 8, generator)
    row = square // 2
    column = 2 * (square % 2) + row % 2
    corner = torch.stack([column, row], dim=-1) * 2.0 - 4.0
    return corner + 2 * torch.rand(n, 2, generator=generator)


def two_spirals(n: int, generator: Generator) -> Tensor:
    """Two arms that wind once and a half round each other."""
    angle = 3 * math.pi * uniform(n, generator).sqrt()
    arm = (1 - 2 * choice(n, 2, generator)).unsqueeze(-1)
    return arm * angle.unsqueeze(-1) / 3 * on_circle(angle) + 0.1 * normal(n, generator)


RADII, RING_WIDTH = (1.0, 2.0, 3.0, 4.0), 0.08


def rings(n: int, generator: Generator) -> Tensor:
    """Four circles, as many samples on each; the distance from the centre is normal on each."""
    radius = torch.tensor(RADII)[choice(n, len(RADII), generator)]
    radius = radius + RING_WIDTH * torch.randn(n, generator=generator)
    return radius.unsqueeze(-1) * on_circle(2 * math.pi * uniform(n, generator))


def entropy_of_rings() -> float:
    """log 4, the entropy of a normal distance, and the mean of log(2 pi r): polar coordinates."""
    distance = 0.5 * (1 + math.log(2 * math.pi * RING_WIDTH**2))
    # E log(m + s z) = log m - s^2 / (2 m^2) - 3 s^4 / (4 m^4), to 1e-5.
    logs = [
        math.log(m) - RING_WIDTH**2 / (2 * m**2) - 3 * RING_WIDTH**4 / (4 * m**4) for m in RADII
    ]
    return math.log(4) + distance + math.log(2 * math.pi) + sum(logs) / 4


# Edges of a density are sharp in time and space: the velocity is as deep as it is narrow.
VELOCITY = hp.Hollow(
    hp.MaskedMLP(hidden=(32, 32), features=8), hp.SharedMLP(hidden=(64, 64, 64, 64))
)


def toy(draw: Callable[[int, Generator], Tensor], entropy: float | None = None) -> None:
    hp.register(
        hp.DensityProblem(
            name=draw.__name__,
            data=hp.Samples(draw),
            entropy=entropy,
            velocity=VELOCITY,
            matching=hp.FlowMatching(optimiser=hp.Adam(steps=8000, lr=8e-3)),
            likelihood=hp.Likelihood(
                solver=hp.RK4(8),
                batch=256,
                optimiser=hp.Adam(steps=300, lr=3e-3, averaging=0.98),
            ),
        )
    )


# Entropies in nats; those with four decimals are by quadrature of the density.
toy(moons, 1.0076)
toy(pinwheel)
toy(eight_gaussians, 2.8114)
toy(checkerboard, math.log(32))
toy(two_spirals, 2.5406)
toy(rings, entropy_of_rings())
