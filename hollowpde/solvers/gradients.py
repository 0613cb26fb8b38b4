r"""Gradients through the solution of an equation, by the implicit function theorem.

Where `z = b + c f(t, z; theta)`, a gradient g with respect to z is turned into

$$ (I - c J)^\top \lambda = g, \quad
   \frac{\partial}{\partial b} = \lambda, \quad
   \frac{\partial}{\partial \theta} = c \, \lambda^\top \frac{\partial f}{\partial \theta} $$

The transposed system is solved by the same accelerated iteration, and contracts as the forward one
does; where that is too slow, by the whole matrix. Only z is kept of a step; f is evaluated anew.

Source:
    Chen, Rubanova, Bettencourt and Duvenaud, Neural Ordinary Differential Equations (2018), on
    discretise-then-optimise; Bai, Kolter and Koltun, Deep Equilibrium Models (2019).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hollowpde.errors import SolverError
from hollowpde.solvers.inner.anderson import Anderson
from hollowpde.solvers.inner.guard import DENSE
from hollowpde.solvers.system import System

_ITERATIONS = 60
# What a gradient is worth may be multiplied by the fastest rate of a stiff system.
_RELATIVE = 1e-12
_LEAST_DIAGONAL = 0.2


def leaves(f: Callable[[Tensor, Tensor], Tensor], t: Tensor, y: Tensor) -> list[Tensor]:
    """All that f depends on and that asks for a gradient, found by one evaluation."""
    with torch.enable_grad():
        value = f(t.detach(), y.detach())
    found: list[Tensor] = []
    seen, todo = set(), [value.grad_fn]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        todo += [parent for parent, _ in node.next_functions]
    return found


@dataclass(frozen=True)
class Relation:
    """`0 = z - b - c f(t, z)`, or `0 = F(z)` where c is None."""

    system: System
    t: Tensor
    c: Tensor | None

    def transposed(self, J: Callable[[Tensor], Tensor], v: Tensor) -> Tensor:
        return J(v) if self.c is None else v - J(self.c * v)

    def diagonal(self, z: Tensor) -> Tensor:
        if not self.system.knows_diagonal:
            return torch.ones_like(z)
        slope = self.system.with_diagonal(self.t, z)[1]
        out = slope if self.c is None else 1.0 - self.c * slope
        return torch.where(out.abs() < _LEAST_DIAGONAL * (self.c is not None), 1.0, out)

    def matrix(self, z: Tensor) -> Tensor:
        J = self.system.jacobian(self.t, z)
        if self.c is None:
            return J
        return torch.eye(z.shape[-1], dtype=z.dtype, device=z.device) - self.c.unsqueeze(-1) * J


class Implicit(torch.autograd.Function):
    """z as a function of b and of what f depends on; z itself is given."""

    @staticmethod
    def forward(ctx: Any, relation: Relation, z: Tensor, base: Tensor, *theta: Tensor) -> Tensor:
        ctx.relation, ctx.theta = relation, theta
        ctx.save_for_backward(z)
        return z.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        relation, theta = ctx.relation, ctx.theta
        (z,) = ctx.saved_tensors
        with torch.enable_grad():
            at = z.detach().requires_grad_()
            value = relation.system.f(relation.t, at)

        def product(v: Tensor) -> Tensor:
            (out,) = torch.autograd.grad(
                value, at, v, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            return out

        solution = _transposed(relation, product, z, g)
        weight = -solution if relation.c is None else relation.c * solution
        wanted = [k for k, needed in enumerate(ctx.needs_input_grad[3:]) if needed]
        grads: list[Tensor | None] = [None] * len(theta)
        if wanted:
            chosen = [theta[k] for k in wanted]
            found = torch.autograd.grad(
                value, chosen, weight, retain_graph=True, allow_unused=True
            )
            for k, grad in zip(wanted, found, strict=True):
                grads[k] = grad
        return None, None, solution if relation.c is not None else None, *grads


def _transposed(
    relation: Relation, product: Callable[[Tensor], Tensor], z: Tensor, g: Tensor
) -> Tensor:
    """Solve the transposed system, to near rounding."""
    size = torch.linalg.vector_norm(g, dim=-1, keepdim=True)
    scale = torch.where(size > 0, size, 1.0).expand_as(g)
    tolerance = max(_RELATIVE, 100 * relation.system.eps)
    if relation.system.knows_diagonal:
        inverse = relation.diagonal(z).reciprocal()
        mixer, x = Anderson(5, relation.system.eps), g * inverse
        r = (g - relation.transposed(product, x)) * inverse
        for _ in range(_ITERATIONS):
            # Of the system itself, not of what the diagonal leaves of it.
            rest = (r / inverse / scale).abs().amax()
            if float(rest) <= tolerance:
                return x
            step = mixer.step(r, scale)
            x = x + step
            new = (g - relation.transposed(product, x)) * inverse
            mixer.learn(step, new - r)
            r = new
    if z.shape[-1] <= DENSE:
        return torch.linalg.solve(relation.matrix(z).mT, g.unsqueeze(-1)).squeeze(-1)
    raise SolverError(
        "the gradient of an implicit step was not found: the transposed system contracts too "
        f"slowly, and d = {z.shape[-1]} is too large for a dense one. Take smaller tolerances."
    )
