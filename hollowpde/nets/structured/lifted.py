"""Fields that meet a condition by their form: a known part, and a network times what vanishes."""

from __future__ import annotations

from math import comb

from torch import Tensor

from hollowpde.operators.field import Field


class Lifted(Field):
    r"""A scalar field that equals A wherever B vanishes, whatever the network N is.

    $$ u = A + B N, \quad \partial_i^k u = \partial_i^k A + \sum_l \binom{k}{l}
       \partial_i^l B \, \partial_i^{k-l} N, \quad
       \Delta u = \Delta A + B \Delta N + 2 \nabla B \cdot \nabla N + N \Delta B $$

    With B = (t - t_0) times the distance from the boundary, the initial values and the values on
    the boundary are those of A, exactly.

    Arguments:
        base: A, a scalar field.
        factor: B, a scalar field.
        network: N, a scalar field.

    Source:
        Lagaris, Likas and Fotiadis, Artificial Neural Networks for Solving Ordinary and Partial
        Differential Equations (1998).

    Example:
        >>> walls = hp.nets.KnownFunction(lambda t, x: (x * (1 - x)).prod(-1))
        >>> zero = hp.nets.KnownFunction(lambda t, x: 0 * x.sum(-1))
        >>> u = hp.nets.Lifted(zero, walls, hp.RidgeNet(2))
        >>> u(0.0, torch.tensor([[0.0, 0.3], [1.0, 0.7]])).abs().max().item()
        0.0
    """

    def __init__(self, base: Field, factor: Field, network: Field) -> None:
        super().__init__()
        self.base, self.factor, self.network = base, factor, network

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        A, B, N = (f.dimwise(t, x, order) for f in (self.base, self.factor, self.network))
        out = [A[0] + B[0] * N[0]]
        # Values are (...), derivatives (..., d).
        B, N = (B[0].unsqueeze(-1), *B[1:]), (N[0].unsqueeze(-1), *N[1:])
        for k in range(1, order + 1):
            out.append(A[k] + sum(comb(k, m) * B[m] * N[k - m] for m in range(k + 1)))
        return tuple(out)

    def with_laplacian(
        self, t: Tensor, x: Tensor, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        A, dA, LA = self.base.with_laplacian(t, x, weights)
        B, dB, LB = self.factor.with_laplacian(t, x, weights)
        N, dN, LN = self.network.with_laplacian(t, x, weights)
        both = dB * dN if weights is None else weights * dB * dN
        gradient = dA + B.unsqueeze(-1) * dN + N.unsqueeze(-1) * dB
        return A + B * N, gradient, LA + B * LN + 2.0 * both.sum(-1) + N * LB
