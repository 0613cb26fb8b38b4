"""What the closures by points share: the flow of the drift, and the times when noise comes in."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from hollowpde.likelihoods.phi import phi
from hollowpde.operators.dimwise import dimwise
from hollowpde.operators.field import Field

_STAGE = 2 / 3
_FASTEST_GROWTH = 1.0


def flow(drift: Field, t: Tensor, x: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    r"""The points after following the drift for a while, and a = D_dim f at the start.

    One step of an exponential Runge-Kutta rule.

    With `N(x) = f(x) - a x`, stage `U = x + c h \phi_1(c h a) f`, c = 2/3,

    $$ x' = x + h \phi_1(h a) f + \tfrac{h}{c} \phi_2(h a) (N(t + c h, U) - N(t, x)) $$

    of order two, and three where dimensions do not interact; stable however fast they decay.
    """
    t, h = t.expand(x.shape[:-1]), step.unsqueeze(-1)
    f, a = dimwise(drift, t, x, order=1)
    # Any a gives order two; one that grows over the step would only overflow.
    ha = (h * a).clamp(max=_FASTEST_GROWTH)
    stage = x + _STAGE * h * phi(_STAGE * ha, 1) * f
    change = h * (drift(t + _STAGE * step, stage) - f) - ha * (stage - x)
    return x + h * phi(ha, 1) * f + phi(ha, 2) * change / _STAGE, a


@lru_cache
def gauss_legendre(nodes: int) -> tuple[list[float], list[float]]:
    """Nodes and weights on [0, 1]: when noise comes in, and its share."""
    at, weights = np.polynomial.legendre.leggauss(nodes)
    return ((at + 1) / 2).tolist(), (weights / 2).tolist()


def missed(ha: Tensor, nodes: int) -> Tensor:
    r"""What the nodes miss of the noise where it decays: it belongs to the end of the step.

    $$ \varphi_1(2 h a) - \sum_k w_k \, e^{2 h a (1 - c_k)} $$

    never negative, since all derivatives of exp are positive, and of order `2 nodes`.
    """
    z = 2 * ha.clamp(max=_FASTEST_GROWTH)
    at, weights = gauss_legendre(nodes)
    seen = [w * ((1 - c) * z).exp() for c, w in zip(at, weights, strict=True)]
    return (phi(z, 1) - torch.stack(seen).sum(0)).clamp(min=0)
