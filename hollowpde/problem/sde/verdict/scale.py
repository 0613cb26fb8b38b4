"""The profile of the moment equations over the scale of D, with everything else free."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from hollowpde.nets import FromFunction, LinearField
from hollowpde.operators.field import Field
from hollowpde.operators.reference import FieldLike
from hollowpde.problem.sde.coefficients import Coefficients
from hollowpde.problem.sde.forms import DownhillField, downhill_part
from hollowpde.problem.sde.matching import WeakCriterion
from hollowpde.problem.sde.verdict.verdict import Profile

FACTORS = np.exp(np.linspace(-math.log(4), math.log(4), 401))

# What a network might have been besides: random features of a Gaussian process, so many of them,
# that vary over so many standard deviations and are of the size of the drift itself; where that is
# a gradient, gradients of such.
_FEATURES = 120
_LEAST_FEATURES = 20
_LENGTH = 0.7
# In sizes of the drift: how far what is linear or parametric may be off.
_WIDE = 10.0
# Of a parameter, for a difference quotient.
_STEP = 1e-3


@torch.no_grad()
def scale_profiles(
    criterion: WeakCriterion, pair: Coefficients, names: Sequence[str], noisy: Sequence[bool]
) -> list[Profile]:
    r"""For each coordinate with noise, how the chi-square grows when its D is scaled.

    Moment equations are linear in f and D. With the drift free to be anything smooth,

    $$ \chi^2(c) = \min_\delta \; |w + (c - 1) \, \tau + J \delta|^2 + |\delta|^2 $$

    in closed form (less the pull of noise, which is linear): w the leftovers of the fit, tau the
    response to one more D, J that to changes of the drift, of the other D and of the shape of
    this one. A network may change by smooth functions of the size of the drift; a parametric or
    linear drift by its parameters alone.

    Arguments:
        criterion: the moment equations.
        pair: the fitted coefficients.
        names, noisy: of the coordinates.
    """
    if not _free(pair.diffusion):
        return []
    criterion.weigh(pair.drift, pair.diffusion)
    start = _linear_parts(criterion, pair.drift, pair.diffusion)

    def to_drift(change: FieldLike) -> Tensor:
        changed = lambda t, x: pair.drift(t, x) + change(t, x)  # noqa: E731
        return _linear_parts(criterion, changed, pair.diffusion) - start

    def to_diffusion(change: FieldLike, i: int) -> Tensor:
        """Of a relative change of D_i."""

        def changed(t: Tensor, x: Tensor) -> Tensor:
            D = pair.diffusion(t, x).clone()
            D[:, i] *= 1 + change(t, x)[:, i]
            return D

        return _linear_parts(criterion, pair.drift, changed) - start

    size = criterion.size_of(pair.drift).tolist()
    dims = [i for i, has in enumerate(noisy) if has]
    free = [to_drift(change) for change in _drift_changes(pair, size)]
    free += [to_diffusion(shape, i) for i in dims for shape in _shapes(pair, i, len(size))]
    tau = [to_diffusion(_along(i, 1.0, _one), i) for i in dims]
    columns = torch.stack([*free, *tau], dim=1)
    J, pull, w = columns[:-1], columns[-1], start[:-1]
    prior = torch.ones(columns.shape[1], dtype=J.dtype, device=J.device)
    prior[len(free) :] = _WIDE**-2
    spread = torch.linalg.inv(J.T @ J + prior.diag())
    best = -spread @ (J.T @ w - pull)
    profiles = []
    for k, i in enumerate(dims, start=len(free)):
        excess = (FACTORS - 1 - float(best[k])) ** 2 / float(spread[k, k])
        profiles.append(Profile(f"the diffusion of {names[i]}", FACTORS, excess))
    return profiles


def _linear_parts(criterion: WeakCriterion, drift: FieldLike, diffusion: FieldLike) -> Tensor:
    """The leftovers, and below them the pull of noise: affine in f and D all, `(R + 1,)`."""
    left, pull = criterion.leftovers(drift, diffusion), criterion.pull(drift, diffusion)
    return torch.cat([left, pull.to(left).reshape(1)]).double()


def _drift_changes(pair: Coefficients, size: Sequence[float]) -> Iterator[FieldLike]:
    """What the drift may be besides, in units of what is likely."""
    d = len(size)
    if not _networks(pair, pair.drift):
        yield from _tangents(pair.drift)
        return
    gradient = downhill_part(pair.drift)
    if gradient is not None:
        yield from _gradients(gradient, torch.tensor(size))
        return
    count = max(_LEAST_FEATURES, _FEATURES // d)
    for i in range(d):
        yield _along(i, _WIDE * size[i], _one)
        for j in range(d):
            yield _along(i, _WIDE * size[i], partial(_coordinate, j))
        for wave in _waves(d, i, count):
            yield _along(i, size[i], wave)


def _gradients(drift: DownhillField, size: Tensor) -> Iterator[FieldLike]:
    """What a gradient may be besides: other gradients, of quadratic forms and of waves."""
    d = len(size)
    # What makes of a gradient by z a drift of z that is one in the user's units.
    factors = drift.units.scale.to(size) ** -2
    typical = float((size / factors).mean())
    for i in range(d):
        yield _along(i, _WIDE * typical * float(factors[i]), _one)
        for j in range(i + 1):
            yield partial(_quadratic, _WIDE * typical * factors, i, j)
    # Waves whose slopes are of size one.
    for wave in _waves(d, 0, _FEATURES):
        yield partial(_slope, _LENGTH * math.sqrt(d) * typical * factors, wave)


def _quadratic(factors: Tensor, i: int, j: int, t: Tensor, x: Tensor) -> Tensor:
    """The gradient of `x_i x_j`, each coordinate times its factor."""
    out = torch.zeros_like(x)
    out[:, i] += float(factors[i]) * x[:, j]
    if i != j:
        out[:, j] += float(factors[j]) * x[:, i]
    return out


def _slope(factors: Tensor, wave: Callable[[Tensor], Tensor], t: Tensor, x: Tensor) -> Tensor:
    """The gradient of a wave, each coordinate times its factor."""
    return factors.to(x) * torch.func.grad(lambda y: wave(y).sum())(x)


def _shapes(pair: Coefficients, i: int, d: int) -> Iterator[FieldLike]:
    """What the shape of D_i may be besides, in relation to itself."""
    if any(isinstance(part, FromFunction) for part in pair.diffusion.modules()):
        return  # the user's own is scaled as it is
    if any(isinstance(part, LinearField) for part in pair.diffusion.modules()):
        for j in range(d):
            yield _along(i, 1.0, partial(_coordinate, j))
    if _networks(pair, pair.diffusion):
        for wave in _waves(d, d + i, max(_LEAST_FEATURES, _FEATURES // d)):
            yield _along(i, 1.0, partial(_centred, wave))


def _along(i: int, size: float, value: Callable[[Tensor], Tensor]) -> FieldLike:
    """A field that is zero but along dimension i."""

    def field(t: Tensor, x: Tensor) -> Tensor:
        out = torch.zeros_like(x)
        out[:, i] = size * value(x)
        return out

    return field


def _one(x: Tensor) -> Tensor:
    return torch.ones_like(x[:, 0])


def _coordinate(j: int, x: Tensor) -> Tensor:
    return x[:, j]


def _wave(omega: Tensor, phase: float, size: float, x: Tensor) -> Tensor:
    return size * torch.cos(x @ omega.to(x) + phase)


def _centred(value: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Without its mean, which is a scale."""
    return value(x) - value(x).mean()


def _waves(d: int, seed: int, count: int) -> Iterator[Callable[[Tensor], Tensor]]:
    """Random features of a Gaussian process of variance one."""
    generator = torch.Generator().manual_seed(seed)
    omega = torch.randn(count, d, generator=generator) / (_LENGTH * math.sqrt(d))
    phase = 2 * math.pi * torch.rand(count, generator=generator)
    for k in range(count):
        yield partial(_wave, omega[k], float(phase[k]), math.sqrt(2 / count))


def _tangents(field: Field) -> Iterator[FieldLike]:
    """The change of a field with each of its parameters."""
    for parameter in _free(field):
        flat = parameter.view(-1)
        for k in range(len(flat)):
            yield _tangent(field, flat, k)


def _tangent(field: Field, flat: Tensor, k: int) -> FieldLike:
    size = max(1.0, abs(float(flat[k])))

    def tangent(t: Tensor, x: Tensor) -> Tensor:
        kept = flat[k].clone()
        flat[k] = kept + _STEP * size
        above = field(t, x)
        flat[k] = kept - _STEP * size
        below = field(t, x)
        flat[k] = kept
        return _WIDE * (above - below) / (2 * _STEP)

    return tangent


def _free(field: Field) -> list[Tensor]:
    return [p for p in field.parameters() if p.requires_grad]


def _networks(pair: Coefficients, field: Field) -> bool:
    """Whether a field has networks in it, that may be of any shape."""
    return bool({id(p) for p in field.parameters()} & {id(w) for w in pair.weights})
