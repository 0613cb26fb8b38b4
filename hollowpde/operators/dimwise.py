"""Exact dimension-wise operators on fields; brute force, said once, on anything else."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from hollowpde.errors import InputError, UnsupportedError
from hollowpde.operators import reference
from hollowpde.operators.field import Field, as_time, check_points
from hollowpde.operators.reference import FieldLike

NO_MIXED_DERIVATIVES = (
    "the mixed second derivatives d_ij u are not dimension-wise derivatives, which are all that "
    "the structure of a field gives. For a constant matrix write the field in the coordinates of "
    "its eigenvectors, where the matrix is diagonal; v^T H v along one direction v is an "
    "hp.hutchinson.laplacian with v as its probe; for small d there is hp.reference.hessian."
)


class BruteForceWarning(UserWarning):
    """A field without dimension-wise structure is differentiated one dimension at a time.

    Python shows it once for each class of field.
    """


def dimwise(
    field: Field | FieldLike, t: Tensor | float, x: Tensor, *, order: int = 1
) -> tuple[Tensor, ...]:
    r"""The value of a field and its dimension-wise derivatives, all dimensions at once.

    $$ D_{\dim}^k f(x) = [\partial^k f_1 / \partial x_1^k, \dots,
       \partial^k f_d / \partial x_d^k] $$

    Exact, and at a cost that does not grow with d for a `HollowNet` (any order) and the
    densities; any other `nn.Module` or callable is differentiated by brute force, with a warning.

    Arguments:
        field: called as `field(t, x)`; returns `(..., d)` (vector) or `(...)` (scalar).
        t: time, scalar or `(...)`.
        x: points, `(..., d)`, float32 or float64.
        order: highest derivative, at least 0.

    Returns:
        `(value, d1, ..., dk)`; the derivatives have the shape of `x`.

    Raises:
        InputError: x, t or order have the wrong shape or type.

    Source:
        Chen and Duvenaud, Neural Networks with Cheap Differential Operators (2019).

    Example:
        >>> net = hp.HollowNet(3)
        >>> x = torch.randn(5, 3)
        >>> value, d1, d2 = hp.dimwise(net, 0.0, x, order=2)
        >>> d2.shape
        torch.Size([5, 3])
    """
    _check(x, order)
    if isinstance(field, Field):
        return field.dimwise(as_time(t, x), x, order)
    _warn_of_brute_force(field)
    return reference.dimwise(field, t, x, order=order)


def dimwise_in_time(
    field: Field | FieldLike, t: Tensor | float, x: Tensor, *, order: int = 0
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    r"""What `dimwise` gives, and the time derivative of each part at fixed x.

    $$ (f, D_{\dim} f, \dots, D_{\dim}^k f) \quad \text{and} \quad
       (\partial_t f, \partial_t D_{\dim} f, \dots, \partial_t D_{\dim}^k f) $$

    Exact, in one forward-mode pass through the derivatives of a `Field`; by brute force for any
    other module, with a warning.

    Arguments:
        field: called as `field(t, x)`; returns `(..., d)` (vector) or `(...)` (scalar).
        t: time, scalar or `(...)`.
        x: points, `(..., d)`, float32 or float64.
        order: highest derivative, at least 0.

    Returns:
        `((value, d1, ..., dk), (dt_value, dt_d1, ..., dt_dk))`.

    Raises:
        InputError: x, t or order have the wrong shape or type.

    Example:
        >>> net = hp.HollowNet(3)
        >>> values, slopes = hp.dimwise_in_time(net, 0.0, torch.randn(5, 3), order=2)
        >>> slopes[2].shape
        torch.Size([5, 3])
    """
    _check(x, order)
    if isinstance(field, Field):
        return field.in_time(as_time(t, x), x, order)
    _warn_of_brute_force(field)
    return reference.dimwise_in_time(field, t, x, order=order)


def divergence(field: Field | FieldLike, t: Tensor | float, x: Tensor) -> Tensor:
    r"""The divergence `sum_i d f_i / dx_i` of a vector field, exactly; shape `(...)`.

    >>> net = hp.HollowNet(3)
    >>> hp.divergence(net, 0.0, torch.randn(5, 3)).shape
    torch.Size([5])
    """
    value, d1 = dimwise(field, t, x, order=1)
    if value.shape != x.shape:
        raise UnsupportedError(
            "divergence needs a vector field, of shape (..., d); this field is scalar: "
            "use gradient or laplacian."
        )
    return d1.sum(-1)


def laplacian(
    field: Field | FieldLike, t: Tensor | float, x: Tensor, weights: Tensor | None = None
) -> Tensor:
    r"""The Laplacian of a scalar field, or an anisotropic one, exactly.

    $$ \sum_i a_i \, \partial_{ii} u $$

    Arguments:
        field: called as `field(t, x)`; returns `(...)`.
        t: time, scalar or `(...)`.
        x: points, `(..., d)`, float32 or float64.
        weights: a, `(d,)` or one row per point `(..., d)`, of any sign; all one if left out. With
            d points `(d, d)` is one row per point too: it cannot be told from a matrix.

    Returns:
        `(...)`.

    Raises:
        InputError: x, t or weights have the wrong shape or type.
        UnsupportedError: the field is a vector field, or weights is a matrix.

    Example:
        >>> density = hp.GaussianMixture(dim=3, components=2)
        >>> x = torch.randn(5, 3)
        >>> hp.laplacian(density, 0.0, x, weights=torch.tensor([1.0, 0.5, 0.0])).shape
        torch.Size([5])
    """
    return with_laplacian(field, t, x, weights)[2]


def with_laplacian(
    field: Field | FieldLike, t: Tensor | float, x: Tensor, weights: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The value `(...)`, gradient `(..., d)` and `laplacian` `(...)` of a scalar field at once.

    >>> density = hp.GaussianMixture(dim=3, components=2)
    >>> [y.shape for y in with_laplacian(density, 0.0, torch.zeros(3))]
    [torch.Size([]), torch.Size([3]), torch.Size([])]
    """
    check_points(x)
    if weights is not None:
        check_weights(weights, x)
    if isinstance(field, Field):
        value, d1, total = field.with_laplacian(as_time(t, x), x, weights)
    else:
        _warn_of_brute_force(field)
        value, d1, d2 = reference.dimwise(field, t, x, order=2)
        total = (d2 if weights is None else weights * d2).sum(-1)
    if value.shape != x.shape[:-1]:
        raise UnsupportedError(
            "laplacian needs a scalar field, of shape (...). For a vector field the Laplacian of "
            "each component holds d_jj f_i with j != i, which hollow structure does not give; "
            "the dimension-wise d_ii f_i are dimwise(field, t, x, order=2)[2]."
        )
    return value, d1, total


def check_weights(weights: Tensor, x: Tensor) -> None:
    """Refuse weights of second derivatives that are not `(d,)` or the shape of x."""
    d = x.shape[-1]
    if not isinstance(weights, Tensor):
        raise InputError(f"weights must be a tensor, but is {type(weights).__name__}.")
    if weights.shape not in ((d,), x.shape):
        if weights.shape[-2:] == (d, d):
            raise UnsupportedError(f"weights is a {d} x {d} matrix, but {NO_MIXED_DERIVATIVES}")
        raise InputError(
            f"weights must have the shape ({d},) or that of x, {tuple(x.shape)}, but has "
            f"{tuple(weights.shape)}."
        )
    if weights.dtype != x.dtype:
        raise InputError(f"weights must be {x.dtype} as x, but is {weights.dtype}.")


def gradient(field: Field | FieldLike, t: Tensor | float, x: Tensor) -> Tensor:
    """The gradient of a scalar field, exactly; shape `(..., d)`.

    >>> density = hp.GaussianMixture(dim=3, components=2)
    >>> hp.gradient(density, 0.0, torch.randn(5, 3)).shape
    torch.Size([5, 3])
    """
    value, d1 = dimwise(field, t, x, order=1)
    if value.shape != x.shape[:-1]:
        raise UnsupportedError(
            "gradient needs a scalar field, of shape (...); this field is a vector field: "
            "use dimwise for its diagonal derivatives or jvp for a directional one."
        )
    return d1


def jvp(
    field: Field | FieldLike,
    t: Tensor | float,
    x: Tensor,
    direction: Tensor,
    *,
    time: float = 0.0,
) -> tuple[Tensor, Tensor]:
    r"""The value and the directional derivative `time * df/dt + (df/dx) v`, by one forward pass.

    Every dependence is followed, the off-diagonal one too. With `direction = f(t, x)` and
    `time = 1` it is the total derivative of f along its own flow.

    Arguments:
        field: called as `field(t, x)`.
        t: time, scalar or `(...)`.
        x: points, `(..., d)`.
        direction: v, the shape of `x`.
        time: the component of the direction along t.

    >>> value, slope = hp.jvp(lambda t, x: t[..., None] * x, 2.0, torch.ones(1, 2),
    ...                       torch.tensor([[1.0, 0.0]]), time=1.0)
    >>> slope
    tensor([[3., 1.]])
    """
    if direction.shape != x.shape:
        raise InputError(
            f"direction must have the shape {tuple(x.shape)} of x, but has "
            f"{tuple(direction.shape)}."
        )
    # Forward mode writes a tangent of the layout of x, which must not be an expanded one.
    s, x = as_time(t, x), x.contiguous()
    if time == 0.0:
        result = torch.func.jvp(lambda y: field(s, y), (x,), (direction,))
    else:
        result = torch.func.jvp(field, (s, x), (torch.full_like(s, time), direction))
    return result[0], result[1]


def time_derivative(field: Field | FieldLike, t: Tensor | float, x: Tensor) -> Tensor:
    """df/dt at fixed x, exactly, in the shape of the value: one forward-mode pass.

    >>> time_derivative(lambda t, x: t[..., None] ** 2 * x, 3.0, torch.ones(1, 1))
    tensor([[6.]])
    """
    if isinstance(field, Field):
        return field.in_time(as_time(t, x), x, 0)[1][0]
    return jvp(field, t, x, torch.zeros_like(x), time=1.0)[1]


def _check(x: Tensor, order: int) -> None:
    check_points(x)
    if isinstance(order, bool) or not isinstance(order, int) or order < 0:
        raise InputError(f"order must be an integer of at least 0, but is {order!r}.")


def _warn_of_brute_force(field: FieldLike) -> None:
    # Always from this line: Python shows a text once for each line that it comes from, so that a
    # class is named once, wherever its fields are used.
    warnings.warn(
        f"{type(field).__name__} has no dimension-wise structure: its derivatives are taken by "
        "brute force, at a cost of d reverse passes per order. A HollowNet gives them in one; "
        "hp.hutchinson estimates a divergence or a Laplacian.",
        BruteForceWarning,
        stacklevel=1,
    )
