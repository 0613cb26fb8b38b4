r"""Stochastic estimates of a divergence or a Laplacian, by random probes: asked for by name.

With `E[v v^T] = I`, `E[v^T A v] = tr A`: one product with the Jacobian or the Hessian gives an
estimate without bias, whatever the field. The exact operators have no variance.

Source:
    Hutchinson, A stochastic estimator of the trace of the influence matrix (1990); for the
    divergence: Grathwohl et al., FFJORD (2019); for the Laplacian: Hu et al., Hutchinson trace
    estimation for high-dimensional and high-order physics-informed neural networks (2024).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hollowpde.errors import InputError, UnsupportedError
from hollowpde.operators.field import as_time
from hollowpde.operators.reference import FieldLike

Distribution = Callable[[Tensor, torch.Generator | None], Tensor]


def rademacher(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Independent signs in the shape of x: of all distributions the one of least variance.

    >>> rademacher(torch.zeros(4)).abs()
    tensor([1., 1., 1., 1.])
    """
    coins = torch.randint(0, 2, x.shape, generator=generator, dtype=x.dtype, device=x.device)
    return 2 * coins - 1


def gaussian(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Independent standard normal numbers in the shape of x."""
    return torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)


def divergence(
    field: FieldLike,
    t: Tensor | float,
    x: Tensor,
    *,
    probes: int = 1,
    generator: torch.Generator | None = None,
    distribution: Distribution = rademacher,
) -> Tensor:
    r"""An unbiased estimate of the divergence of a vector field, by vector-Jacobian products.

    $$ \frac1n \sum_{v} v^T \frac{\partial f}{\partial x} v \approx \sum_i \partial_i f_i $$

    Arguments:
        field: called as `field(t, x)`; any module, `(..., d)`.
        t: time, scalar or `(...)`.
        x: points, `(..., d)`.
        probes: n, each one reverse pass; every point has its own.
        generator: of the probes; torch's own if left out.
        distribution: `rademacher`, `gaussian`, or any function `(x, generator) -> v` with
            `E[v v^T] = I`.

    Returns:
        `(...)`; it can be differentiated by the parameters and x, the probes held fixed.

    Raises:
        InputError: x, t or probes are wrong.
        UnsupportedError: the field is scalar.

    Example:
        >>> net = torch.nn.Linear(3, 3)
        >>> hp.hutchinson.divergence(lambda t, x: net(x), 0.0, torch.randn(5, 3), probes=2).shape
        torch.Size([5])
    """
    time = as_time(t, x)
    result = torch.func.vjp(lambda y: field(time, y), x)
    value, pull = result[0], result[1]
    if value.shape != x.shape:
        raise UnsupportedError(
            "divergence needs a vector field, of shape (..., d); this field is scalar: "
            "use hutchinson.laplacian."
        )

    def estimate() -> Tensor:
        v = distribution(x, generator)
        return (v * pull(v)[0]).sum(-1)

    return _mean(estimate, probes)


def laplacian(
    field: FieldLike,
    t: Tensor | float,
    x: Tensor,
    *,
    probes: int = 1,
    generator: torch.Generator | None = None,
    distribution: Distribution = rademacher,
) -> Tensor:
    r"""An unbiased estimate of the Laplacian of a scalar field, by Hessian-vector products.

    $$ \frac1n \sum_{v} v^T \frac{\partial^2 u}{\partial x \, \partial x^T} v
       \approx \sum_i \partial_{ii} u $$

    Arguments:
        field: called as `field(t, x)`; any module, `(...)`.
        t, x, probes, generator, distribution: as in `divergence`; each probe is a forward-mode
            pass through a reverse one. A distribution with `E[v v^T] = A` estimates
            `sum_ij A_ij d_ij u`, mixed derivatives too.

    Returns:
        `(...)`; it can be differentiated by the parameters and x, the probes held fixed.

    Raises:
        InputError: x, t or probes are wrong.
        UnsupportedError: the field is a vector field.

    Example:
        >>> x = torch.randn(5, 3)
        >>> hp.hutchinson.laplacian(lambda t, x: x.square().sum(-1), 0.0, x)
        tensor([6., 6., 6., 6., 6.])
    """
    time, x = as_time(t, x), x.contiguous()

    def total(y: Tensor) -> Tensor:
        value = field(time, y)
        if value.shape != y.shape[:-1]:
            raise UnsupportedError(
                "laplacian needs a scalar field, of shape (...); this field is a vector field: "
                "use hutchinson.divergence."
            )
        return value.sum()

    def estimate() -> Tensor:
        v = distribution(x, generator)
        product = torch.func.jvp(torch.func.grad(total), (x,), (v,))[1]
        return (v * product).sum(-1)

    return _mean(estimate, probes)


def _mean(estimate: Callable[[], Tensor], probes: int) -> Tensor:
    if isinstance(probes, bool) or not isinstance(probes, int) or probes < 1:
        raise InputError(f"probes must be an integer of at least 1, but is {probes!r}.")
    return torch.stack([estimate() for _ in range(probes)]).mean(0)
