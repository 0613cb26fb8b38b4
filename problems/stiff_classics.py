"""Stiff systems of the literature, each with the diagonal of its Jacobian.

One is chosen by its name, as in `python -m hollowpde fit problems/stiff_classics.py:hires`.

Sources: Hairer and Wanner, Solving Ordinary Differential Equations II (1996); Mazzia and
Magherini, Test Set for Initial Value Problem Solvers (2008).
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

import hollowpde as hp

DOUBLE = torch.float64
Function = Callable[[Tensor, Tensor], Tensor]


def classic(
    name: str,
    f: Function,
    diagonal: Function,
    y0: Sequence[float] | Tensor,
    end: float,
    floor: float = 1e-3,
    log_time: bool = False,
) -> None:
    """A system from t = 0 to its end; components below the floor are noise, relative to rtol."""
    start = -10 if log_time else -2
    times = torch.logspace(start, 0, 11 if log_time else 9, dtype=DOUBLE) * end
    hp.register(
        hp.ODEProblem(
            name=name,
            f=f,
            diagonal=diagonal,
            y0=torch.as_tensor(y0, dtype=DOUBLE),
            t_span=(0.0, end),
            t_eval=(*times.tolist()[:-1], end),
            rtol=1e-5,
            atol=1e-5 * floor,
        )
    )


# A relaxation oscillator: slow along its branches, a thousandfold faster from one to the other.
MU = 1000.0


def van_der_pol(t: Tensor, y: Tensor) -> Tensor:
    a, b = y.unbind(1)
    return torch.stack([b, MU * (1 - a**2) * b - a], 1)


def van_der_pol_diagonal(t: Tensor, y: Tensor) -> Tensor:
    return torch.stack([torch.zeros_like(t), MU * (1 - y[:, 0] ** 2)], 1)


classic("van_der_pol_1000", van_der_pol, van_der_pol_diagonal, [2.0, 0.0], MU)


# Robertson's reactions: A -> B, 2 B -> B + C, B + C -> A + C. Their sum is conserved.
def rober(t: Tensor, y: Tensor) -> Tensor:
    a, b, c = y.unbind(1)
    one, two, three = 0.04 * a, 1e4 * b * c, 3e7 * b**2
    return torch.stack([two - one, one - two - three, three], 1)


def rober_diagonal(t: Tensor, y: Tensor) -> Tensor:
    a, b, c = y.unbind(1)
    return torch.stack([torch.full_like(a, -0.04), -1e4 * c - 6e7 * b, torch.zeros_like(a)], 1)


classic("rober", rober, rober_diagonal, [1.0, 0.0, 0.0], 1e10, floor=1e-6, log_time=True)


# High irradiance responses of photomorphogenesis: how plants grow under light.
def hires(t: Tensor, y: Tensor) -> Tensor:
    a, b, c, d, e, g, h, i = y.unbind(1)
    p = 280 * g * i
    return torch.stack(
        [
            -1.71 * a + 0.43 * b + 8.32 * c + 0.0007,
            1.71 * a - 8.75 * b,
            -10.03 * c + 0.43 * d + 0.035 * e,
            8.32 * b + 1.71 * c - 1.12 * d,
            -1.745 * e + 0.43 * g + 0.43 * h,
            -p + 0.69 * d + 1.71 * e - 0.43 * g + 0.69 * h,
            p - 1.81 * h,
            -p + 1.81 * h,
        ],
        1,
    )


def hires_diagonal(t: Tensor, y: Tensor) -> Tensor:
    linear = y.new_tensor([-1.71, -8.75, -10.03, -1.12, -1.745, -0.43, -1.81, 0.0])
    slope = linear.repeat(len(y), 1)
    slope[:, 5] -= 280 * y[:, 7]
    slope[:, 7] -= 280 * y[:, 5]
    return slope


classic("hires", hires, hires_diagonal, [1.0, *[0.0] * 6, 0.0057], 321.8122)


# The Oregonator: the oscillating reaction of Belousov and Zhabotinsky.
S, Q, W = 77.27, 8.375e-6, 0.161


def orego(t: Tensor, y: Tensor) -> Tensor:
    a, b, c = y.unbind(1)
    return torch.stack([S * (b + a * (1 - Q * a - b)), (c - (1 + a) * b) / S, W * (a - c)], 1)


def orego_diagonal(t: Tensor, y: Tensor) -> Tensor:
    a, b, _ = y.unbind(1)
    return torch.stack([S * (1 - 2 * Q * a - b), -(1 + a) / S, torch.full_like(a, -W)], 1)


classic("orego", orego, orego_diagonal, [1.0, 2.0, 3.0], 360.0)


# Chemistry of air pollution: 25 reactions of 20 species, as rate: educts > products.
REACTIONS = """
    0.35: 1 > 2 3       26.6: 2 4 > 1          12300: 5 2 > 6 1     8.6e-4: 7 > 5 5 8
    8.2e-4: 7 > 5 8     15000: 7 6 > 5 8       1.3e-4: 9 > 5 8 10   24000: 9 6 > 11
    16500: 11 2 > 10 1 12   9000: 11 1 > 13    0.022: 13 > 11 1     12000: 10 2 > 14 1
    1.88: 14 > 7 5      16300: 1 6 > 15        4.8e6: 3 > 4         3.5e-4: 4 > 16 16
    0.0175: 4 > 3       1e8: 16 > 6 6          4.44e11: 16 > 3      1240: 17 6 > 18 5
    2.1: 19 > 2         5.78: 19 > 1 3         0.0474: 1 4 > 19     1780: 19 1 > 20
    3.12: 20 > 1 19
"""


def parsed(text: str) -> tuple[Tensor, Tensor, Tensor]:
    """Rates (R,), two educts of each reaction (R, 2), gains of all species (R, 20)."""
    rates, educts, gains = [], [], []
    words = text.split()
    starts = [k for k, word in enumerate(words) if word.endswith(":")] + [len(words)]
    for begin, end in pairwise(starts):
        rule = words[begin:end]
        arrow = rule.index(">")
        into, out = [[int(w) - 1 for w in part] for part in (rule[1:arrow], rule[arrow + 1 :])]
        gain = torch.zeros(20, dtype=DOUBLE)
        for i in into:
            gain[i] -= 1
        for i in out:
            gain[i] += 1
        rates.append(float(rule[0][:-1]))
        # A single educt meets a species that there is always one of.
        educts.append([*into, 20][:2])
        gains.append(gain)
    return torch.tensor(rates, dtype=DOUBLE), torch.tensor(educts), torch.stack(gains)


RATES, EDUCTS, GAINS = parsed(REACTIONS)


def educts_of(y: Tensor) -> Tensor:
    """The concentrations of both educts, (2, n, R)."""
    with_one = torch.cat([y, torch.ones_like(y[:, :1])], 1)
    return with_one[:, EDUCTS].permute(2, 0, 1)


def pollution(t: Tensor, y: Tensor) -> Tensor:
    one, other = educts_of(y)
    return (RATES.to(y) * one * other) @ GAINS.to(y)


def pollution_diagonal(t: Tensor, y: Tensor) -> Tensor:
    # Each educt is used up in proportion to itself: the slope is what it meets.
    slope = y.new_zeros(len(y), 21)
    educts = educts_of(y)
    for k in (0, 1):
        own = torch.cat([GAINS, torch.zeros(len(GAINS), 1)], 1).gather(1, EDUCTS[:, k : k + 1])
        slope = slope.index_add(1, EDUCTS[:, k], RATES.to(y) * own[:, 0].to(y) * educts[1 - k])
    return slope[:, :20]


POLLUTED = torch.zeros(20, dtype=DOUBLE)
POLLUTED[[1, 3, 6, 7, 8, 16]] = torch.tensor([0.2, 0.04, 0.1, 0.3, 0.01, 0.007], dtype=DOUBLE)

classic("pollution", pollution, pollution_diagonal, POLLUTED, 60.0, floor=1e-6)


# A nerve cell that fires: FitzHugh and Nagumo.
EPSILON = 1e-3


def fitzhugh_nagumo(t: Tensor, y: Tensor) -> Tensor:
    v, w = y.unbind(1)
    return torch.stack([(v - v**3 / 3 - w + 0.5) / EPSILON, v + 0.7 - 0.8 * w], 1)


def fitzhugh_nagumo_diagonal(t: Tensor, y: Tensor) -> Tensor:
    return torch.stack([(1 - y[:, 0] ** 2) / EPSILON, torch.full_like(t, -0.8)], 1)


classic("fitzhugh_nagumo", fitzhugh_nagumo, fitzhugh_nagumo_diagonal, [-1.0, 1.0], 2.0)


# Reaction and diffusion of two species on a line of 50 cells.
CELLS, ALPHA = 50, 0.02
RATE = ALPHA * (CELLS + 1) ** 2


def diffusion(u: Tensor, at_ends: float) -> Tensor:
    ends = torch.full_like(u[:, :1], at_ends)
    padded = torch.cat([ends, u, ends], 1)
    return RATE * (padded[:, 2:] - 2 * u + padded[:, :-2])


def brusselator(t: Tensor, y: Tensor) -> Tensor:
    u, v = y[:, :CELLS], y[:, CELLS:]
    return torch.cat(
        [1 + u**2 * v - 4 * u + diffusion(u, 1.0), 3 * u - u**2 * v + diffusion(v, 3.0)], 1
    )


def brusselator_diagonal(t: Tensor, y: Tensor) -> Tensor:
    u, v = y[:, :CELLS], y[:, CELLS:]
    return torch.cat([2 * u * v - 4 - 2 * RATE, -(u**2) - 2 * RATE], 1)


PLACE = torch.arange(1, CELLS + 1, dtype=DOUBLE) / (CELLS + 1)

classic(
    "brusselator",
    brusselator,
    brusselator_diagonal,
    torch.cat([1 + torch.sin(2 * torch.pi * PLACE), 3 + 0 * PLACE]),
    10.0,
)
