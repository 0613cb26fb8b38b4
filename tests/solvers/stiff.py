"""Stiff systems of the literature, each with the diagonal of its Jacobian.

Sources: Hairer and Wanner, Solving Ordinary Differential Equations II (1996); Mazzia and
Magherini, Test Set for Initial Value Problem Solvers (2008).
"""

from dataclasses import dataclass
from typing import Any

import torch

DOUBLE = torch.float64


@dataclass(frozen=True)
class Case:
    f: Any
    diagonal: Any
    y0: Any
    end: float
    # Below which components are noise, relative to rtol.
    floor: float = 1e-3

    def start(self, dtype=DOUBLE):
        return torch.as_tensor(self.y0, dtype=dtype)[None]


def by_reverse_mode(f):
    """The diagonal of a Jacobian, the slow way."""

    def diagonal(t, y):
        jacobian = torch.func.vmap(torch.func.jacrev(lambda s, z: f(s[None], z[None])[0], 1))
        return jacobian(t, y).diagonal(dim1=-2, dim2=-1)

    return diagonal


def van_der_pol(mu=1000.0):
    def f(t, y):
        a, b = y.unbind(1)
        return torch.stack([b, mu * (1 - a**2) * b - a], 1)

    return Case(f, by_reverse_mode(f), [2.0, 0.0], mu)


def robertson(end=1e4):
    def f(t, y):
        a, b, c = y.unbind(1)
        one, two, three = 0.04 * a, 1e4 * b * c, 3e7 * b**2
        return torch.stack([two - one, one - two - three, three], 1)

    return Case(f, by_reverse_mode(f), [1.0, 0.0, 0.0], end, floor=1e-6)


def hires():
    def f(t, y):
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

    return Case(f, by_reverse_mode(f), [1.0, *[0.0] * 6, 0.0057], 321.8122)


def oregonator():
    s, q, w = 77.27, 8.375e-6, 0.161

    def f(t, y):
        a, b, c = y.unbind(1)
        return torch.stack([s * (b + a * (1 - q * a - b)), (c - (1 + a) * b) / s, w * (a - c)], 1)

    return Case(f, by_reverse_mode(f), [1.0, 2.0, 3.0], 100.0)


_RATES = [
    0.35, 26.6, 12300.0, 8.6e-4, 8.2e-4, 15000.0, 1.3e-4, 24000.0, 16500.0, 9000.0, 0.022,
    12000.0, 1.88, 16300.0, 4.8e6, 3.5e-4, 0.0175, 1e8, 4.44e11, 1240.0, 2.1, 5.78, 0.0474,
    1780.0, 3.12,
]  # fmt: skip


def pollution():
    # Of each reaction: educts, products.
    reactions = [
        ((1,), (2, 3)), ((2, 4), (1,)), ((5, 2), (6, 1)), ((7,), (5, 5, 8)), ((7,), (8,)),
        ((7, 6), (5, 8)), ((9,), (5, 8, 10)), ((9, 6), (11,)), ((11, 2), (10, 1, 12)),
        ((11, 1), (13,)), ((13,), (11, 1)), ((10, 2), (14, 1)), ((14,), (7, 5)), ((1, 6), (15,)),
        ((3,), (4,)), ((4,), (16, 16)), ((4,), (3,)), ((16,), (6, 6)), ((16,), (3,)),
        ((17, 6), (18, 5)), ((19,), (2,)), ((19,), (1, 3)), ((1, 4), (19,)), ((19, 1), (20,)),
        ((20,), (1, 19)),
    ]  # fmt: skip
    gain = torch.zeros(25, 20, dtype=DOUBLE)
    for row, (educts, products) in zip(gain, reactions, strict=True):
        for i in educts:
            row[i - 1] -= 1
        for i in products:
            row[i - 1] += 1
    rates = torch.tensor(_RATES, dtype=DOUBLE)

    def f(t, y):
        speed = torch.stack(
            [torch.stack([y[:, i - 1] for i in educts]).prod(0) for educts, _ in reactions], 1
        )
        return (speed * rates.to(y)) @ gain.to(y)

    y0 = [0.0] * 20
    for place, value in ((1, 0.2), (3, 0.04), (6, 0.1), (7, 0.3), (8, 0.01), (16, 0.007)):
        y0[place] = value
    return Case(f, by_reverse_mode(f), y0, 60.0, floor=1e-6)


def fitzhugh_nagumo(eps=1e-3):
    def f(t, y):
        v, w = y.unbind(1)
        return torch.stack([(v - v**3 / 3 - w + 0.5) / eps, v + 0.7 - 0.8 * w], 1)

    def diagonal(t, y):
        return torch.stack([(1 - y[:, 0] ** 2) / eps, torch.full_like(t, -0.8)], 1)

    return Case(f, diagonal, [-1.0, 1.0], 2.0)


def brusselator(n=50, alpha=0.02):
    c, x = alpha * (n + 1) ** 2, torch.arange(1, n + 1, dtype=DOUBLE) / (n + 1)

    def diffusion(u, at_ends):
        ends = torch.full_like(u[:, :1], at_ends)
        padded = torch.cat([ends, u, ends], 1)
        return c * (padded[:, 2:] - 2 * u + padded[:, :-2])

    def f(t, y):
        u, v = y[:, :n], y[:, n:]
        return torch.cat(
            [1 + u**2 * v - 4 * u + diffusion(u, 1.0), 3 * u - u**2 * v + diffusion(v, 3.0)], 1
        )

    def diagonal(t, y):
        u, v = y[:, :n], y[:, n:]
        return torch.cat([2 * u * v - 4 - 2 * c, -(u**2) - 2 * c], 1)

    y0 = torch.cat([1 + torch.sin(2 * torch.pi * x), 3 + 0 * x])
    return Case(f, diagonal, y0, 10.0)


def relaxation(dim=10, seed=0, coupling=0.9, end=2.0):
    """Each component relaxes, at a rate of its own, to a function of all others."""
    generator = torch.Generator().manual_seed(seed)
    k = torch.logspace(0, 4, dim, dtype=DOUBLE)
    W, a, y0 = (
        torch.randn(*size, generator=generator, dtype=DOUBLE)
        for size in ((dim, dim), (dim,), (dim,))
    )
    W.fill_diagonal_(0)
    W *= coupling / W.abs().sum(1, keepdim=True)

    def f(t, y):
        target = torch.tanh(y @ W.to(y).T + a.to(y) + torch.sin(3 * t)[:, None])
        return -k.to(y) * (y - target)

    def diagonal(t, y):
        return -k.to(y).expand_as(y)

    return Case(f, diagonal, y0, end)


CASES = {
    "van der Pol": van_der_pol(),
    "Robertson to 1e4": robertson(),
    "Robertson to 1e10": robertson(1e10),
    "HIRES": hires(),
    "Oregonator": oregonator(),
    "pollution": pollution(),
    "FitzHugh-Nagumo": fitzhugh_nagumo(),
    "Brusselator": brusselator(),
    "relaxation": relaxation(),
}
