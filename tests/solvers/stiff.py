"""Stiff systems of the literature, as shipped in `problems`, each with its diagonal."""

from dataclasses import dataclass
from typing import Any

import torch

import hollowpde as hp
from tests.quick import PROBLEMS

DOUBLE = torch.float64
CLASSICS = hp.load_problems(PROBLEMS / "stiff_classics.py")
RELAXATION = hp.load_problems(PROBLEMS / "stiff_relaxation.py")


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


def classic(name, end=None):
    problem = CLASSICS[name]
    end = problem.t_span[1] if end is None else end
    return Case(problem.f, problem.diagonal, problem.y0[0], end, problem.floor)


def robertson(end=1e4):
    return classic("rober", end)


def fitzhugh_nagumo(eps=1e-3):
    """With another ratio of times than the shipped one, 1e-3."""
    case = classic("fitzhugh_nagumo")
    ratio = torch.tensor([1e-3 / eps, 1.0], dtype=DOUBLE)
    return Case(
        lambda t, y: case.f(t, y) * ratio.to(y),
        lambda t, y: case.diagonal(t, y) * ratio.to(y),
        case.y0,
        case.end,
    )


def relaxation(dim=10):
    """Each component relaxes, at a rate of its own, to a function of all others."""
    system = type(RELAXATION["d10"].f.__self__).drawn(dim)
    return Case(system.f, system.diagonal, system.y0, 2.0)


CASES = {
    "van der Pol": classic("van_der_pol_1000"),
    "Robertson to 1e4": robertson(),
    "Robertson to 1e10": robertson(1e10),
    "HIRES": classic("hires"),
    "Oregonator": classic("orego", 100.0),
    "pollution": classic("pollution"),
    "FitzHugh-Nagumo": fitzhugh_nagumo(),
    "Brusselator": classic("brusselator"),
    "relaxation": relaxation(),
}
