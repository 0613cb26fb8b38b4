"""Components that relax, each at a rate of its own from 1 to 10^4, to a function of all others.

dy_i/dt = -k_i (y_i - tanh((W y)_i + a_i + sin 3t)) with W_ii = 0: the diagonal of the Jacobian is
-k, and dominates its rows. In 10, 100 and 1000 dimensions, chosen by name, as in
`python -m hollowpde fit problems/stiff_relaxation.py:d100`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

import hollowpde as hp

DOUBLE = torch.float64


@dataclass(frozen=True, eq=False)
class Relaxation:
    """The system: rates k (d,), couplings W (d, d), offsets a (d,), and where it starts (d,)."""

    k: Tensor
    W: Tensor
    a: Tensor
    y0: Tensor

    @classmethod
    def drawn(
        cls, dim: int, seed: int = 0, coupling: float = 0.9, fastest: float = 4
    ) -> "Relaxation":
        """One at random, with rates up to 10^fastest."""
        generator = torch.Generator().manual_seed(seed)
        W, a, y0 = (
            torch.randn(*size, generator=generator, dtype=DOUBLE)
            for size in ((dim, dim), (dim,), (dim,))
        )
        W.fill_diagonal_(0)
        W *= coupling / W.abs().sum(1, keepdim=True)
        return cls(torch.logspace(0, 4, dim, dtype=DOUBLE), W, a, y0)

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        target = torch.tanh(y @ self.W.to(y).T + self.a.to(y) + torch.sin(3 * t)[:, None])
        return -self.k.to(y) * (y - target)

    def diagonal(self, t: Tensor, y: Tensor) -> Tensor:
        return -self.k.to(y).expand_as(y)


def relaxation(dim: int) -> None:
    system = Relaxation.drawn(dim)
    hp.register(
        hp.ODEProblem(
            name=f"d{dim}",
            f=system.f,
            diagonal=system.diagonal,
            y0=system.y0,
            t_span=(0.0, 2.0),
            rtol=1e-6,
            atol=1e-9,
        )
    )


relaxation(10)
relaxation(100)
relaxation(1000)
