"""Maximum likelihood with the true functional form: what the best informed could get."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import optimize
from torch import Tensor

from hollowpde.bench.sde import exact
from hollowpde.bench.sde.cases import Estimate, Task
from hollowpde.bench.sde.exact import Equation, Steps
from hollowpde.errors import InputError

Density = Callable[[Equation, Steps], Tensor]

_CHUNK = 4096
# In place of a likelihood that is not finite: worse than any.
_HOPELESS = 1e10


@dataclass(frozen=True)
class Form:
    """An equation but for the values of its parameters.

    Arguments:
        equation: given the parameters.
        start: their values to start from, none of them true.
        density: the log density of a transition.
        smooth: whether autograd goes through the density.
    """

    equation: Callable[[Tensor], Equation]
    start: tuple[float, ...]
    density: Density
    smooth: bool = True


def oracle(task: Task, steps: int | None) -> Estimate:
    """Maximum likelihood over the training paths, from a start away from the truth."""
    pairs = task.split.train.double().pairs()
    rows = Steps(pairs.x, pairs.x_next, float(pairs.step.mean()))
    if task.case.problem not in FORMS:
        raise InputError(f"the oracle does not know the form of {task.case.problem!r}.")
    form = FORMS[task.case.problem]
    parameters = _by_gradients(form, exact.euler, rows, np.array(form.start))
    search = _by_gradients if form.smooth else _by_simplex
    parameters = search(form, form.density, rows, parameters)
    equation = form.equation(torch.as_tensor(parameters))
    return Estimate(lambda t, x: equation.drift(x), lambda t, x: equation.diffusion(x))


def _by_gradients(form: Form, density: Density, rows: Steps, start: np.ndarray) -> np.ndarray:
    def value(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        theta = torch.as_tensor(parameters).requires_grad_()
        total = 0.0
        for x, x_next in zip(rows.x.split(_CHUNK), rows.x_next.split(_CHUNK), strict=True):
            log_p = density(form.equation(theta), Steps(x, x_next, rows.dt))
            nll = -log_p.sum() / len(rows.x)
            if not torch.isfinite(nll):
                return _HOPELESS, np.zeros_like(parameters)
            nll.backward()
            total += float(nll.detach())
        assert theta.grad is not None
        return total, theta.grad.numpy()

    found = optimize.minimize(
        value, start, jac=True, method="L-BFGS-B", options={"ftol": 1e-11, "gtol": 1e-6}
    )
    return np.asarray(found.x)


@torch.no_grad()
def _by_simplex(form: Form, density: Density, rows: Steps, start: np.ndarray) -> np.ndarray:
    def value(parameters: np.ndarray) -> float:
        nll = -float(density(form.equation(torch.as_tensor(parameters)), rows).mean())
        return nll if np.isfinite(nll) else _HOPELESS

    found = optimize.minimize(
        value, start, method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-8}
    )
    return np.asarray(found.x)


def _ou(p: Tensor) -> Equation:
    return Equation(lambda x: -p[0] * x, lambda x: p[1].square().expand_as(x))


def _double_well(p: Tensor) -> Equation:
    return Equation(lambda x: p[0] * x - p[1] * x**3, lambda x: p[2].square().expand_as(x))


def _gbm(p: Tensor) -> Equation:
    return Equation(lambda x: p[0] * x, lambda x: (p[1] * x).square())


def _cir(p: Tensor) -> Equation:
    """Logarithms, since all three are positive."""
    speed, level, squared = p.exp()
    return Equation(lambda x: speed * (level - x), lambda x: squared * x)


def _ou_2d(p: Tensor) -> Equation:
    A = p[:4].reshape(2, 2)
    return Equation(lambda x: x @ A.T, lambda x: p[4:].square().expand_as(x))


def _van_der_pol(p: Tensor) -> Equation:
    def drift(x: Tensor) -> Tensor:
        x1, x2 = x.unbind(-1)
        return torch.stack([p[0] * x2, p[1] * (1 - x1**2) * x2 - p[2] * x1], dim=-1)

    return Equation(drift, lambda x: p[3:].square().expand_as(x))


def _chain(p: Tensor) -> Equation:
    def drift(x: Tensor) -> Tensor:
        return p[0] * x - p[1] * x**3 + p[2] * (x.roll(1, -1) + x.roll(-1, -1) - 2 * x)

    return Equation(drift, lambda x: p[3].square() + p[4].square() / (1 + x**2))


FORMS = {
    "ou_process": Form(_ou, (0.5, 1.0), exact.linear),
    "double_well": Form(_double_well, (0.5, 0.5, 1.0), exact.on_grid, smooth=False),
    "gbm": Form(_gbm, (0.1, 0.6), exact.lognormal),
    "cir": Form(_cir, (0.0, 0.4, 0.0), exact.square_root, smooth=False),
    "ou_2d": Form(_ou_2d, (-0.5, 0.0, 0.0, -0.5, 0.8, 0.8), exact.linear),
    "van_der_pol": Form(_van_der_pol, (0.5, 0.5, 0.5, 0.6, 0.6), exact.moments),
    "chain_10d": Form(_chain, (0.5, 0.5, 0.2, 0.6, 0.6), exact.moments),
}
