"""Contract checks on fields."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.autograd.gradcheck import GradcheckError
from torch.func import functional_call

from hollowpde.densities.base import Density
from hollowpde.errors import InputError
from hollowpde.nets.hollow import HollowNet
from hollowpde.nets.transformers.base import Transformer
from hollowpde.operators import dimwise, jvp, reference, time_derivative
from hollowpde.operators.field import Field, as_time
from hollowpde.testing.common import (
    agree,
    bound,
    dimension,
    hollow_nets,
    points,
    random_context,
    redrawn,
)
from hollowpde.testing.densities import check_density

# Relative to the largest entry of the Jacobian: rounding stays below it, dependence above.
_BLIND = 1e-13
# Draws of the parameters, until every dimension has been seen by every other.
_DRAWS = 8

_IN_TIME, _ALONG = "the time derivative", "the derivative along a direction"


def check_field(
    field: Field,
    *,
    dim: int | None = None,
    order: int = 3,
    make: Callable[[], Field] | None = None,
    seed: int = 0,
) -> None:
    """All checks that apply to a field.

    Brute force costs d reverse passes per order: at large d run `check_hollow` and
    `check_coverage` alone.

    Arguments:
        field: any `Field`; a `HollowNet` inside it is checked to be hollow and to cover all
            neighbours, a `Density` to be normalised and to sample what it says.
        dim: d, needed when neither the field nor a part of it has an attribute `dim`.
        order: highest derivative.
        make: builds the same field anew, for the round trip through a file.
        seed: of the parameters and points.

    Raises:
        AssertionError: a part of the contract is broken.

    >>> from hollowpde.testing import check_field
    >>> check_field(hp.Positive(hp.HollowNet(2)))
    """
    nets = [net for net, _ in hollow_nets(field)]
    for net in nets:
        check_hollow(net, seed=seed)
    if nets:
        check_coverage(field, dim=dim, seed=seed)
    check_derivatives(field, order=order, dim=dim, seed=seed)
    check_gradients(field, dim=dim, seed=seed)
    check_gradgrad(field, dim=dim, seed=seed)
    check_roundtrip(field, make=make, dim=dim, seed=seed)
    if isinstance(field, Density):
        check_density(field, dim=dim, seed=seed)


def check_hollow(net: HollowNet, *, dims: int = 16, seed: int = 0) -> None:
    """Moving x_i leaves h_i unchanged bit for bit, in float32 and float64.

    Arguments:
        net: the network; its conditioner is what is checked.
        dims: how many i are tried, among them the first and the last.
        seed: of the parameters, the points and the choice of i.

    Raises:
        AssertionError: some h_i depends on x_i, is not finite or has the wrong shape.

    >>> from hollowpde.testing import check_hollow
    >>> check_hollow(hp.HollowNet(3))
    """
    d = net.dim
    chosen = torch.randperm(d, generator=torch.Generator().manual_seed(seed))[:dims].tolist()
    for dtype in (torch.float32, torch.float64):
        copy = redrawn(net, seed, dtype)
        t, x = points(d, (3,), seed, dtype)
        context = random_context(net, seed, dtype) if net.context else None
        with torch.no_grad():
            h = copy.hidden(t, x, context)
            shape = (3, d, copy.conditioner.features)
            if h.shape != shape:
                raise AssertionError(f"h has the shape {tuple(h.shape)}, but should have {shape}.")
            if not h.isfinite().all():
                raise AssertionError(f"h is not finite at points of order one in {dtype}.")
            for i in sorted({0, d - 1, *chosen}):
                # A large step too: sums that cancel x_i leave a rounding error of its size.
                for step in (1.0, 1e4):
                    moved = x.clone()
                    moved[:, i] += step
                    change = (copy.hidden(t, moved, context)[:, i] - h[:, i]).abs()
                    if not (change == 0).all():
                        raise AssertionError(
                            f"h_{i} changes by {change.max().item():.3g} when x_{i} moves by "
                            f"{step:g} (d = {d}, {dtype}): the conditioner is not hollow."
                        )


def check_coverage(
    field: Field, *, dim: int | None = None, samples: int = 2, seed: int = 0
) -> None:
    """Every `d f_i / dx_j` with j != i is nonzero: no dimension is cut off from another.

    Arguments:
        field: a vector field; at d = 1 there is nothing to check.
        dim: d, needed when the field does not say.
        samples: points of each draw of the parameters; an entry counts when it is nonzero at one
            of them.
        seed: of the parameters and points.

    Raises:
        AssertionError: some f_i does not depend on some x_j.

    >>> from hollowpde.testing import check_coverage
    >>> check_coverage(hp.HollowNet(40, conditioner=hp.MaskedMLP(hidden=(8, 8))))
    """
    d = dimension(field, dim)
    blind = ~torch.eye(d, dtype=torch.bool)
    # Who is cut off is so whatever the parameters are; a signal that only dies away on a long way,
    # between units that happen to saturate, is not.
    for draw in range(seed, seed + _DRAWS):
        copy = bound(redrawn(field, draw), draw)
        times, where = points(d, (samples,), draw)
        # Close to the origin, so that sums over many dimensions saturate nothing.
        for t, x in zip(times, where * d**-0.5, strict=True):
            jacobian = _jacobian(copy, t, x).abs()
            blind &= ~(jacobian > _BLIND * jacobian.max())
        if not blind.any():
            return
    i, j = (int(k) for k in blind.nonzero()[0])
    raise AssertionError(
        f"{int(blind.sum())} of {d * (d - 1)} off-diagonal derivatives are zero, first "
        f"d f_{i} / dx_{j}: f_{i} does not depend on x_{j} (d = {d})."
    )


def check_derivatives(
    field: Field, *, order: int = 3, dim: int | None = None, seed: int = 0
) -> None:
    """The derivatives are those of brute force: dimension-wise ones, in time, along a direction.

    Also under `torch.no_grad()`, for scalar and per-sample times and batches of any shape; and
    the two engines of a transformer agree.

    Arguments:
        field: any `Field`.
        order: highest derivative.
        dim: d, needed when the field does not say.
        seed: of the parameters and points.

    Raises:
        AssertionError: a derivative disagrees.

    >>> from hollowpde.testing import check_derivatives
    >>> check_derivatives(hp.GaussianMixture(dim=2, components=3), order=4)
    """
    d = dimension(field, dim)
    copy = bound(redrawn(field, seed), seed)
    for batch in ((), (3,), (2, 3)):
        t, x = points(d, batch, seed)
        where = f"for x of shape {tuple(x.shape)}"
        expected = _brute(copy, t, x, order)
        _compare(where, _exact(copy, t, x, order), expected)
        with torch.no_grad():
            _compare(f"{where} under no_grad", _exact(copy, t, x, order), expected)
    x = x.reshape(-1, d)
    expected = _brute(copy, 0.3, x, order)
    _compare("for t = 0.3", _exact(copy, 0.3, x, order), expected)
    for n, row in enumerate(x):
        agree(f"the value at row {n} of a batch, alone,", copy(0.3, row), expected["the value"][n])
    # Without gradients a network may work in blocks: enough samples that there are several.
    t, x = points(d, (max(3, 2500 // d),), seed)
    expected = _exact(copy, t, x, order)
    with torch.no_grad():
        _compare("of a large batch under no_grad", _exact(copy, t, x, order), expected)
    for net, context in hollow_nets(copy):
        _check_engines(net, context, order, seed)


def check_gradients(
    field: Field, *, order: int = 2, dim: int | None = None, seed: int = 0
) -> None:
    """Losses on the value and each derivative have the right gradient, for parameters, x and t.

    Compared with brute force on an independent copy, which would share a break in the graph of
    the value itself, and therefore with finite differences too.

    Arguments:
        field: any `Field`.
        order: highest derivative in the losses.
        dim: d, needed when the field does not say.
        seed: of the parameters, points and losses.

    Raises:
        AssertionError: a gradient disagrees.

    >>> from hollowpde.testing import check_gradients
    >>> check_gradients(hp.HollowNet(2))
    """
    d = dimension(field, dim)
    copy = bound(redrawn(field, seed), seed)
    twin = deepcopy(copy)
    t, x = points(d, (4,), seed)
    draw = _normal(seed + 1)
    inputs = _inputs(copy, t, x)
    values = _exact(copy, inputs["t"], inputs["x"], order)
    twin_inputs = _inputs(twin, t, x)
    brute = _brute(twin, twin_inputs["t"], twin_inputs["x"], order)
    weights = {name: draw(y) for name, y in values.items()}
    gradients = {}
    for name, y in values.items():
        gradients[name] = _gradient((weights[name] * y).sum(), inputs)
        expected = _gradient((weights[name] * brute[name]).sum(), twin_inputs)
        for wrt, g in gradients[name].items():
            agree(f"the gradient of a loss on {name} with respect to {wrt}", g, expected[wrt])

    step = 1e-5
    for wrt, tensor in inputs.items():
        direction = _unit(draw(tensor))
        start = tensor.detach().clone()
        with torch.no_grad():
            ends = []
            for sign in (1, -1):
                tensor.copy_(start + sign * step * direction)
                ends.append(_exact(copy, inputs["t"], inputs["x"], order))
            tensor.copy_(start)
        for name, weight in weights.items():
            slope = (weight * (ends[0][name] - ends[1][name])).sum() / (2 * step)
            scale = 1.0 + float(values[name].detach().abs().max())
            agree(
                f"the slope of a loss on {name} along a direction of {wrt}",
                (gradients[name][wrt] * direction).sum() / scale,
                slope / scale,
                1e-5,
            )


def check_gradgrad(field: Field, *, order: int = 2, dim: int | None = None, seed: int = 0) -> None:
    """`gradcheck` and `gradgradcheck` of all outputs with respect to x, t and the parameters.

    Arguments:
        field: any `Field`.
        order: highest derivative among the outputs.
        dim: d, needed when the field does not say.
        seed: of the parameters and points.

    Raises:
        AssertionError: a first or second derivative of an output disagrees with finite
            differences.

    >>> from hollowpde.testing import check_gradgrad
    >>> check_gradgrad(hp.HollowNet(2), order=1)
    """
    d = dimension(field, dim)
    module = _Outputs(bound(redrawn(field, seed), seed), order)
    start = {name: y.detach() for name, y in _inputs(module, *points(d, (2,), seed)).items()}
    draw = _normal(seed + 1)
    lines = {name: _unit(draw(y)) for name, y in start.items()}
    weights = [draw(y) for y in module(start["t"], start["x"])]

    def outputs(*steps: Tensor) -> tuple[Tensor, ...]:
        # All elements at once, along a line for each input and a functional for each output.
        moved = {
            name: y + step * lines[name]
            for (name, y), step in zip(start.items(), steps, strict=True)
        }
        t, x = moved.pop("t"), moved.pop("x")
        values = functional_call(module, moved, (t, x))
        nothing = 0.0 * torch.stack(steps).sum()  # so that a constant is differentiable too
        return tuple((w * y).sum() + nothing for w, y in zip(weights, values, strict=True))

    steps = [torch.zeros((), dtype=torch.float64, requires_grad=True) for _ in start]
    with torch.random.fork_rng(devices=[]):  # gradgradcheck draws from the global generator
        torch.manual_seed(seed)
        for check in (torch.autograd.gradcheck, torch.autograd.gradgradcheck):
            try:
                check(outputs, steps)
            except GradcheckError as error:
                raise AssertionError(
                    f"{check.__name__} fails for {type(field).__name__}, with the inputs "
                    f"{', '.join(start)}: {error}"
                ) from error


def check_roundtrip(
    field: Field,
    *,
    make: Callable[[], Field] | None = None,
    dim: int | None = None,
    seed: int = 0,
) -> None:
    """Weights saved and loaded (`weights_only=True`) give bitwise the same outputs; repr works.

    Arguments:
        field: any `Field`.
        make: builds the same field anew. Without it the weights are loaded into a deep copy,
            which also carries what a state_dict leaves out.
        dim: d, needed when the field does not say.
        seed: of the parameters and points.

    Raises:
        AssertionError: the outputs differ, or the repr says nothing.

    >>> from hollowpde.testing import check_roundtrip
    >>> check_roundtrip(hp.HollowNet(2), make=lambda: hp.HollowNet(2))
    """
    text, name = repr(field), type(field).__name__
    if not text.startswith(name) or " object at 0x" in text:
        raise AssertionError(f"repr must start with {name} and show the parts, but is {text!r}.")
    d = dimension(field, dim)
    dtype = next((p.dtype for p in field.parameters()), torch.float64)
    source = redrawn(field, seed, dtype)
    target = make().to("cpu", dtype).eval() if make else redrawn(field, seed + 1, dtype)
    file = io.BytesIO()
    torch.save(source.state_dict(), file)
    file.seek(0)
    try:
        target.load_state_dict(torch.load(file, weights_only=True))
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise AssertionError(f"the saved weights of {name} do not load: {error}") from error
    t, x = points(d, (4,), seed, dtype)
    before = dimwise(bound(source, seed), t, x, order=2)
    after = dimwise(bound(target, seed), t, x, order=2)
    for k, (a, b) in enumerate(zip(before, after, strict=True)):
        if not torch.equal(a, b):
            raise AssertionError(
                f"{_name(k)} differs by {(a - b).abs().max().item():.3g} after saving and loading."
            )


class _Outputs(nn.Module):
    """All that the operators give for a field, as the forward pass of one module."""

    def __init__(self, field: Field, order: int) -> None:
        super().__init__()
        self.field, self.order = field, order

    def forward(self, t: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        return (*dimwise(self.field, t, x, order=self.order), time_derivative(self.field, t, x))


def _exact(field: Field, t: Tensor | float, x: Tensor, order: int) -> dict[str, Tensor]:
    out = dimwise(field, t, x, order=order)
    if len(out) != order + 1:
        raise AssertionError(f"dimwise returns {len(out)} tensors for order {order}.")
    named = {_name(k): y for k, y in enumerate(out)}
    named[_IN_TIME] = time_derivative(field, t, x)
    named[_ALONG] = jvp(field, t, x, _direction(x), time=0.5)[1]
    return named


def _brute(field: Field, t: Tensor | float, x: Tensor, order: int) -> dict[str, Tensor]:
    """The same by reverse-mode autograd of the value alone; the graph is kept."""
    keep = x.requires_grad
    out = reference.dimwise(field, t, x, order=order)
    named = {_name(k): y for k, y in enumerate(out)}
    t = as_time(t, x)
    t = t if keep else t.detach().requires_grad_()
    x = x if keep else x.detach().requires_grad_()
    value = field(t, x)
    scalar = value.ndim < x.ndim
    in_time, along = [], []
    for y in (value,) if scalar else value.unbind(-1):
        dt, dx = _gradient(y.sum(), {"t": t, "x": x}).values()
        in_time.append(dt)
        along.append(0.5 * dt + (dx * _direction(x)).sum(-1))
    for name, parts in {_IN_TIME: in_time, _ALONG: along}.items():
        named[name] = parts[0] if scalar else torch.stack(parts, dim=-1)
    return named


def _normal(seed: int) -> Callable[[Tensor], Tensor]:
    """Standard normal draws in the shape of a tensor."""
    generator = torch.Generator().manual_seed(seed)
    return lambda like: torch.randn(like.shape, generator=generator, dtype=torch.float64)


def _unit(y: Tensor) -> Tensor:
    return y / y.norm()


def _direction(x: Tensor) -> Tensor:
    return torch.linspace(-1.0, 2.0, x.numel(), dtype=x.dtype).reshape(x.shape)


def _compare(where: str, got: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for name, y in expected.items():
        agree(f"{name} {where}", got[name], y)


def _name(k: int) -> str:
    return "the value" if k == 0 else f"the derivative of order {k}"


def _inputs(module: nn.Module, t: Tensor, x: Tensor) -> dict[str, Tensor]:
    """What a loss can be differentiated by, as leaves: t, x and the parameters."""
    leaves = {"t": t.clone().requires_grad_(), "x": x.clone().requires_grad_()}
    return leaves | {name: p for name, p in module.named_parameters() if p.requires_grad}


def _gradient(loss: Tensor, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    if not loss.requires_grad:  # constant
        return {name: torch.zeros_like(y) for name, y in inputs.items()}
    gradients = torch.autograd.grad(
        loss, list(inputs.values()), create_graph=True, materialize_grads=True
    )
    return dict(zip(inputs, gradients, strict=True))


def _jacobian(field: Field, t: Tensor, x: Tensor, rows: int = 32) -> Tensor:
    """The Jacobian at one point: the batch axis holds copies of it, one for each row."""
    d = len(x)
    parts = []
    for start in range(0, d, rows):
        block = torch.arange(start, min(start + rows, d))
        copies = x.expand(len(block), d).clone().requires_grad_()
        value = field(t, copies)
        if value.shape != copies.shape:
            raise InputError(
                f"coverage needs a vector field, but the value of {type(field).__name__} has "
                f"shape {tuple(value.shape)} for x of shape {tuple(copies.shape)}."
            )
        own = value[torch.arange(len(block)), block].sum()
        parts.append(_gradient(own, {"x": copies})["x"].detach())
    return torch.cat(parts)


def _check_engines(net: HollowNet, context: Tensor | None, order: int, seed: int) -> None:
    """The transformer's own derivatives against those by the modified backward graph."""
    t, x = points(net.dim, (4,), seed)
    c = net._covariates(t, x, context)
    h = net.conditioner(x, c)
    own = net.transformer.dimwise(x, h, c, order)
    base = Transformer.dimwise(net.transformer, x, h, c, order)
    for k, (a, b) in enumerate(zip(own, base, strict=True)):
        agree(f"{_name(k)} of the transformer (engines compared)", a, b)
