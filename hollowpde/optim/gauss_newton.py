"""The Gauss-Newton method with Levenberg and Marquardt's damping."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

# A step that does not lower the loss is tried again with more damping, so often at most.
_TRIES = 8
_LEAST, _MOST = 1e-15, 1e12
# Columns of a symmetric product that are taken at once.
_BLOCK = 128


class GaussNewton(torch.optim.Optimizer):
    r"""Least squares by their own curvature: a damped Gauss-Newton step on all parameters.

    $$ \delta = -(J^\top J + \lambda \mu I)^{-1} J^\top r
             = -J^\top (J J^\top + \lambda \mu I)^{-1} r $$

    with mu the mean of the diagonal of the matrix. The smaller of the two matrices is factored:
    the cost is J, n x P, and `min(n, P)^2 max(n, P)` operations. lambda follows the ratio of the
    actual to the predicted gain; a step that does not lower the loss is not taken.

    Arguments:
        params: all parameters, of one dtype; their order is that of the columns of J.
        damping: the first lambda.

    Source:
        Marquardt, An Algorithm for Least-Squares Estimation of Nonlinear Parameters (1963); the
        rule for lambda: Nielsen, Damping Parameter in Marquardt's Method (1999); for residuals of
        differential equations: Mueller and Zeinhofer, Achieving High Accuracy with PINNs via
        Energy Natural Gradients (2023).

    Example:
        >>> w = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
        >>> A = torch.tensor([[1.0, 0], [1, 1], [1, 2]], dtype=torch.float64)
        >>> b = torch.tensor([1.0, 3, 5], dtype=torch.float64)
        >>> optimiser = GaussNewton([w], damping=1e-9)
        >>> optimiser.step(lambda: (A @ w - b).square().sum(), lambda: (A @ w - b, A))
        >>> w.detach().round(decimals=5).tolist()
        [1.0, 2.0]
    """

    def __init__(self, params: Iterable[Tensor], damping: float = 1e-3) -> None:
        super().__init__(params, {"damping": damping, "growth": 4.0, "stalled": 0})
        if len(self.param_groups) != 1:
            raise ValueError("GaussNewton takes all parameters as one group.")

    @torch.no_grad()
    def step(  # type: ignore[override]
        self,
        loss: Callable[[], Tensor],
        linear: Callable[[], tuple[Tensor, Tensor]],
    ) -> None:
        """One step.

        Arguments:
            loss: the sum of the squared residuals at the current parameters.
            linear: the residuals `(n,)` and their Jacobian `(n, P)` there.
        """
        (group,) = self.param_groups
        r, J = linear()
        r, J = r.detach(), J.detach()
        parameters: list[Tensor] = group["params"]
        before = [p.clone() for p in parameters]
        dual = len(r) < J.shape[1]
        matrix = _gram(J.T if dual else J)
        right = r if dual else J.T @ r
        now, mean = float(r.square().sum()), float(matrix.diagonal().mean())
        first = group["damping"]
        for _ in range(_TRIES):
            shift = group["damping"] * mean
            delta = _solve(matrix, shift, right)
            if delta is not None:
                if dual:
                    delta = J.T @ delta
                _add(parameters, before, -delta)
                value = float(loss())
                # What the model of least squares loses: its residuals are r - J delta.
                predicted = now - float((r - J @ delta).square().sum())
                if value < now and predicted > 0:
                    gain = (now - value) / predicted
                    shrink = max(1 / 3, 1 - (2 * gain - 1) ** 3)
                    group["damping"] = max(group["damping"] * shrink, _LEAST)
                    group["growth"], group["stalled"] = 4.0, 0
                    return
            group["damping"] = min(group["damping"] * group["growth"], _MOST)
            group["growth"] *= 2
        # Other points may tell more: begin there with little more damping than here.
        torch._foreach_copy_(parameters, before)
        group["damping"], group["growth"] = min(4 * first, _MOST), 4.0
        group["stalled"] += 1


def _gram(A: Tensor) -> Tensor:
    """`A^T A`: the products on and above the diagonal in blocks, those below are the same."""
    n = A.shape[1]
    out = A.new_empty(n, n)
    for begin in range(0, n, _BLOCK):
        end = min(begin + _BLOCK, n)
        torch.mm(A[:, begin:end].T, A[:, begin:], out=out[begin:end, begin:])
        out[end:, begin:end] = out[begin:end, end:].T
    return out


def _solve(matrix: Tensor, shift: float, right: Tensor) -> Tensor | None:
    """`(M + shift I)^-1 b`, or None where the sum is not positive definite in this precision."""
    damped = matrix.clone()
    damped.diagonal().add_(shift)
    factor, failed = torch.linalg.cholesky_ex(damped)
    if failed or not torch.isfinite(factor.diagonal()).all():
        return None
    return torch.cholesky_solve(right.unsqueeze(-1), factor).squeeze(-1)


def _add(parameters: list[Tensor], before: list[Tensor], delta: Tensor) -> None:
    parts = delta.split([p.numel() for p in parameters])
    for p, old, part in zip(parameters, before, parts, strict=True):
        p.copy_(old + part.view_as(p))
