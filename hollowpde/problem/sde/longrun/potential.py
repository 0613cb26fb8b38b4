"""Whether an SDE runs down an effective potential, and what that is."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hollowpde.data.simulate import SDE
from hollowpde.errors import InputError
from hollowpde.operators import reference

_NODES = 64


def rotational_share(sde: SDE, x: Tensor, t: float = 0.0) -> float:
    r"""The share of the thermodynamic force that no potential explains, from 0 to 1.

    $$ v_i = (2 f_i - \partial_i D_i) / D_i, \quad J_{ij} = s_i s_j \, \partial_j v_i, \quad
       \frac{\langle |J - J^T|^2 \rangle}{4 \langle |J|^2 \rangle} $$

    v is grad log p of the stationary density, if and only if its Jacobian is symmetric: then the
    process is reversible (in detailed balance). Where D is a constant multiple of the identity
    this asks whether the drift is a gradient. J is taken by brute force, so give a few hundred
    points at most; s are standard deviations of x, which make all coordinates count alike.

    Arguments:
        sde: in the torchsde protocol, such as `run.sde`.
        x: points, `(n, d)`.
        t: the time at which the coefficients are held.

    Raises:
        InputError: fewer than two points, or a coordinate without noise.

    Source:
        Gardiner, Handbook of Stochastic Methods (1985), section 5.3.3.

    Example:
        >>> class Spiral(torchsde.SDEIto):
        ...     def f(self, t, y):
        ...         return -y + torch.stack([-y[:, 1], y[:, 0]], dim=1)
        ...     def g(self, t, y):
        ...         return torch.ones_like(y)
        >>> round(rotational_share(Spiral("diagonal"), torch.randn(50, 2)), 1)
        0.5
    """
    if x.ndim != 2 or len(x) < 2:
        raise InputError(f"x must hold at least two points (n, d), but has {tuple(x.shape)}.")
    x = x.double()
    scale = x.std(0)
    # The graph of the derivative of D is kept, to be differentiated once more.
    with torch.enable_grad():
        J = reference.jacobian(lambda _, y: _force(sde, t, y), t, x).detach()
    J = J * scale.unsqueeze(-1) * scale
    size = 4 * J.square().sum()
    return float((J - J.mT).square().sum() / size) if size > 0 else 0.0


@torch.no_grad()
def effective_potential(
    sde: SDE, x: Tensor, origin: Tensor | None = None, t: float = 0.0
) -> Tensor:
    r"""The effective potential of an SDE in detailed balance, by integrals along straight lines.

    $$ -\log \frac{p(x)}{p(o)} = -\int_0^1 v(o + s (x - o)) \cdot (x - o) \, ds, \quad
       v_i = (2 f_i - \partial_i D_i) / D_i $$

    It means something only where `rotational_share` is small.

    Arguments:
        sde: in the torchsde protocol, such as `run.sde`.
        x: points, `(n, d)`.
        origin: where the potential is zero, `(d,)`; the mean of x by default.
        t: the time at which the coefficients are held.

    Returns:
        `(n,)`, in float64.

    Raises:
        InputError: x has another shape, or a coordinate is without noise.

    Example:
        >>> class OU(torchsde.SDEIto):
        ...     def f(self, t, y):
        ...         return -y
        ...     def g(self, t, y):
        ...         return torch.ones_like(y)
        >>> x = torch.tensor([[1.0, 2.0]])
        >>> round(effective_potential(OU("diagonal"), x, torch.zeros(2)).item(), 6)
        5.0
    """
    if x.ndim != 2:
        raise InputError(f"x must have shape (n, d), but has {tuple(x.shape)}.")
    x = x.double()
    o = x.mean(0) if origin is None else origin.double()
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    total = torch.zeros(len(x), dtype=torch.float64)
    for node, weight in zip(nodes, weights, strict=True):
        along = o + (node + 1) / 2 * (x - o)
        total -= weight / 2 * (_force(sde, t, along) * (x - o)).sum(-1)
    return total


def _force(sde: SDE, t: float, x: Tensor) -> Tensor:
    """(2 f_i - d_i D_i) / D_i, `(n, d)`."""
    now = torch.tensor(t, dtype=x.dtype)
    D, slope = reference.dimwise(lambda _, y: sde.g(now, y).square(), t, x, order=1)
    if not (D > 0).all():
        raise InputError(
            "sde.g must not vanish, but does: without noise of its own a coordinate has no "
            "effective potential of this kind."
        )
    return (2 * sde.f(now, x) - slope) / D
