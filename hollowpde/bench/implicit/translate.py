"""A function of torch as one of JAX, operation by operation."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from hollowpde.errors import InputError
from hollowpde.solvers.system import RightHandSide


def to_jax(f: RightHandSide, dim: int) -> Callable[[Any, Any], Any]:
    """`f(t, y)` of one sample, t a number and y `(dim,)`, on arrays of JAX.

    Raises:
        InputError: f uses an operation that is not known here.
    """
    import jax.numpy as jnp

    known = _operations()
    example = (torch.zeros(1, dtype=torch.float64), torch.ones(1, dim, dtype=torch.float64))
    # A plain function of two arguments, whatever f is.
    traced = make_fx(lambda t, y: f(t, y))(*example)
    nodes = list(traced.graph.nodes)
    missing = sorted({_name(n) for n in nodes if n.op == "call_function"} - set(known))
    if missing:
        raise InputError(f"no translation into JAX of {', '.join(missing)}")
    constants = {
        n.name: jnp.asarray(_attribute(traced, n.target).detach().numpy())
        for n in nodes
        if n.op == "get_attr"
    }

    def g(t: Any, y: Any) -> Any:
        inputs = iter((jnp.reshape(t, (1,)), jnp.reshape(y, (1, dim))))
        values: dict[str, Any] = dict(constants)

        def given(argument: Any) -> Any:
            if isinstance(argument, torch.fx.Node):
                return values[argument.name]
            if isinstance(argument, list | tuple):
                return [given(part) for part in argument]
            return argument

        for node in nodes:
            if node.op == "placeholder":
                values[node.name] = next(inputs)
            elif node.op == "call_function":
                # Types and devices are the same everywhere.
                values[node.name] = known[_name(node)](*(given(a) for a in node.args))
            elif node.op == "output":
                return jnp.reshape(given(node.args[0]), (dim,))
        raise AssertionError("a graph without an output")

    return g


def _name(node: torch.fx.Node) -> str:
    return "getitem" if node.target is operator.getitem else str(node.target)


def _attribute(module: torch.nn.Module, name: object) -> Tensor:
    return getattr(module, str(name))


def _operations() -> Mapping[str, Callable[..., Any]]:
    import jax.numpy as jnp

    def same(x: Any, *_: Any) -> Any:
        return x

    def slice_(x: Any, axis: int = 0, start: int | None = None, end: int | None = None) -> Any:
        where = [slice(None)] * x.ndim
        where[axis] = slice(start, end)
        return x[tuple(where)]

    def add(x: Any, y: Any) -> Any:
        return x + y

    def subtract(x: Any, y: Any) -> Any:
        return x - y

    return {
        "getitem": operator.getitem,
        "aten.abs.default": jnp.abs,
        "aten._to_copy.default": same,
        "aten.add.Tensor": add,
        "aten.cat.default": jnp.concatenate,
        "aten.clone.default": same,
        "aten.cos.default": jnp.cos,
        "aten.detach.default": same,
        "aten.div.Tensor": operator.truediv,
        "aten.exp.default": jnp.exp,
        "aten.expand.default": _expand,
        "aten.full_like.default": jnp.full_like,
        "aten.index.Tensor": lambda x, at: x[tuple(slice(None) if k is None else k for k in at)],
        "aten.index_select.default": lambda x, axis, where: jnp.take(x, where, axis),
        "aten.lift_fresh_copy.default": same,
        "aten.mm.default": operator.matmul,
        "aten.mul.Tensor": operator.mul,
        "aten.neg.default": operator.neg,
        "aten.ones_like.default": jnp.ones_like,
        "aten.permute.default": jnp.transpose,
        "aten.pow.Tensor_Scalar": operator.pow,
        "aten.prod.dim_int": lambda x, axis: jnp.prod(x, axis),
        "aten.roll.default": jnp.roll,
        "aten.rsub.Scalar": lambda x, y: y - x,
        "aten.select.int": lambda x, axis, k: jnp.take(x, k, axis),
        "aten.sin.default": jnp.sin,
        "aten.slice.Tensor": slice_,
        "aten.square.default": jnp.square,
        "aten.stack.default": jnp.stack,
        "aten.sub.Tensor": subtract,
        "aten.t.default": jnp.transpose,
        "aten.tanh.default": jnp.tanh,
        "aten.transpose.int": jnp.swapaxes,
        "aten.unbind.int": lambda x, axis=0: [jnp.take(x, k, axis) for k in range(x.shape[axis])],
        "aten.unsqueeze.default": jnp.expand_dims,
        "aten.view.default": jnp.reshape,
        "aten.zeros_like.default": jnp.zeros_like,
    }


def _expand(x: Any, shape: list[int]) -> Any:
    import jax.numpy as jnp

    ahead = len(shape) - x.ndim
    sizes = [x.shape[k - ahead] if size == -1 else size for k, size in enumerate(shape)]
    return jnp.broadcast_to(x, sizes)
