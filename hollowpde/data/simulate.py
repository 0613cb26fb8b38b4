"""Trajectories simulated by torchsde."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torchsde
from rich.console import Console
from rich.progress import track
from torch import Tensor

from hollowpde.data.trajectories import Trajectories
from hollowpde.errors import InputError, UnsupportedError

log = logging.getLogger(__name__)

Start = Tensor | Callable[[int, torch.Generator], Tensor]

# Integration steps in one interval between observations, when no step is given.
_STEPS_PER_INTERVAL = 10


class SDE(Protocol):
    """The torchsde protocol: f and g are called with a scalar t and y (paths, d)."""

    noise_type: str
    sde_type: str

    def f(self, t: Tensor, y: Tensor) -> Tensor: ...

    def g(self, t: Tensor, y: Tensor) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Simulated:
    """Data to be simulated when it is first needed; declaring it computes nothing.

    Arguments:
        sde: an Ito SDE with diagonal noise, in the torchsde protocol.
        x0: starts: `(d,)`, `(paths, d)`, or a function of (paths, generator).
        times: observation times, increasing, `(T,)`.
        paths: how many paths.
        seed: of starts and noise.
        step: the longest internal integration step; a tenth of the shortest interval between
            observations by default.
        method: a torchsde method; "srk" (strong order 1.5) by default.
        paired: each path is seen at all times; otherwise each at one time only, and `paths` of
            them at each time, with starts of their own.

    Example:
        >>> class OU(torchsde.SDEIto):
        ...     def f(self, t, y):
        ...         return -y
        ...     def g(self, t, y):
        ...         return 0.7 * torch.ones_like(y)
        >>> data = hp.Simulated(OU("diagonal"), torch.tensor([2.0]), torch.linspace(0, 1, 3), 5)
        >>> data.load()
        Trajectories(5 paths, 15 observations, d=1, t=[0, 1])
    """

    sde: SDE
    x0: Start
    times: Tensor
    paths: int
    seed: int = 0
    step: float | None = None
    method: str | None = None
    paired: bool = True

    def load(self) -> Trajectories:
        return simulate(
            self.sde, self.x0, self.times, self.paths, self.seed, self.step, self.method,
            self.paired,
        )  # fmt: skip


@torch.no_grad()
def simulate(
    sde: SDE,
    x0: Start,
    times: Tensor,
    paths: int,
    seed: int = 0,
    step: float | None = None,
    method: str | None = None,
    paired: bool = True,
) -> Trajectories:
    """Simulate paths of an SDE and observe them at `times`; the arguments are `Simulated`'s.

    Every interval between observations is cut into equal steps no longer than `step`, so that
    the values observed are solver states and not interpolated.

    Raises:
        UnsupportedError: the SDE is not Ito, or its noise is not diagonal.
        InputError: an argument or a value of f or g has the wrong shape, or paths leave the
            range of floating-point numbers.
    """
    if paths < 1:
        raise InputError(f"paths must be at least 1, but is {paths}.")
    times = torch.as_tensor(times)
    if times.ndim != 1 or len(times) < 2 or not (times[1:] > times[:-1]).all():
        raise InputError(
            "times must be an increasing sequence of at least 2 observation times, but has shape "
            f"{tuple(times.shape)} and starts {times.flatten()[:3].tolist()}."
        )
    generator = torch.Generator().manual_seed(seed)
    groups = 1 if paired else len(times)
    y = torch.cat([_starts(x0, paths, generator) for _ in range(groups)])
    times = times.to(torch.float64)
    logarithms: Logarithms | None = getattr(sde, "logarithms", None)
    if logarithms is not None and (y[:, logarithms.positive] <= 0).any():
        raise InputError("x0 must be positive in the coordinates that the SDE keeps positive.")
    check_sde(sde, times[0].to(y.dtype), y)
    gaps = times.diff()
    longest = float(gaps.min()) / _STEPS_PER_INTERVAL if step is None else step
    if not longest > 0:
        raise InputError(f"step must be positive, but is {step}.")
    method = method or "srk"
    # The noise has a fixed number of rows: that of unpaired paths, which are dropped once they are
    # observed, is made anew for each interval.
    seeds = [seed] if paired else torch.randint(2**62, gaps.shape, generator=generator).tolist()
    log.info(
        "simulating %d paths %s %d times by torchsde (%s, internal step at most %g)",
        paths, "at" if paired else "for each of", len(times), method, longest,
    )  # fmt: skip
    observed = [y[:paths].clone()]
    # On a terminal, a bar for whatever takes more than a moment; otherwise silence.
    console = Console(stderr=True)
    quiet = not console.is_terminal or y.numel() * float(times[-1] - times[0]) / longest < 1e6
    for k in track(range(len(gaps)), "simulating", console=console, disable=quiet, transient=True):
        start, stop = float(times[k]), float(times[k + 1])
        if not paired:
            y = y[paths:]
        if k == 0 or not paired:
            end = float(times[-1]) if paired else stop
            integrator = Integrator(sde, y, start, end, seeds[k], longest, method)
        y = integrator.advance(y, start, stop)
        if not torch.isfinite(y).all():
            raise InputError(
                f"sde: {int((~torch.isfinite(y)).any(-1).sum())} of {len(y)} paths are not finite "
                f"at t = {stop:g}: use a smaller step than {longest:g}, or check f "
                "and g there."
            )
        observed.append(y[:paths].clone())
    if not paired:
        return Trajectories.from_snapshots(times, observed)
    return Trajectories.from_dense(times, torch.stack(observed, dim=1))


@dataclass(frozen=True, eq=False)
class Logarithms:
    """The SDE of the logarithms of some coordinates, in which those stay positive.

    An SDE that has one as its attribute `logarithms` is simulated by it.

    Arguments:
        sde: of the logarithms, in the torchsde protocol.
        positive: of which coordinates, `(d,)`.
    """

    sde: SDE
    positive: Tensor

    def of(self, y: Tensor) -> Tensor:
        return torch.where(self.positive.to(y.device), y.log(), y)

    def undone(self, z: Tensor) -> Tensor:
        return torch.where(self.positive.to(z.device), z.exp(), z)


class Integrator:
    """Carries a batch of paths of an SDE from one time to the next, by torchsde.

    Arguments:
        sde: in the torchsde protocol.
        like: a tensor of the shape, dtype and device of the paths, `(paths, d)`.
        start, stop: between which paths will be carried.
        seed: of the noise.
        longest: the longest step.
        method: a torchsde method.

    Raises:
        InputError: torchsde does not take the method.
    """

    def __init__(
        self,
        sde: SDE,
        like: Tensor,
        start: float,
        stop: float,
        seed: int,
        longest: float,
        method: str,
    ) -> None:
        self.logarithms: Logarithms | None = getattr(sde, "logarithms", None)
        inner = sde if self.logarithms is None else self.logarithms.sde
        self.sde, self.longest, self.method = _InDtype(inner, like.dtype), longest, method
        # Times in double precision, whatever the paths are in: rounded to single, a step ends
        # just short of its interval and leaves a sliver, for which torchsde refines its tree of
        # noise to no end.
        self.noise = torchsde.BrownianInterval(
            t0=start,
            t1=stop,
            size=tuple(like.shape),
            dtype=like.dtype,
            device=like.device,
            entropy=seed,
            dt=longest,
            levy_area_approximation="space-time" if method == "srk" else "none",
        )

    def advance(self, y: Tensor, start: float, stop: float) -> Tensor:
        """The paths y at `stop`, from those at `start`, in equal steps."""
        steps = math.ceil((stop - start) / self.longest - 1e-6)
        # A step a rounding error too long, so that no sliver is left at the end of the interval.
        dt = (stop - start) / steps * (1 + 1e-6)
        times = torch.tensor([start, stop], dtype=torch.float64, device=y.device)
        if self.logarithms is not None:
            y = self.logarithms.of(y)
        try:
            paths = torchsde.sdeint(self.sde, y, times, bm=self.noise, method=self.method, dt=dt)
        except ValueError as error:
            raise InputError(f"torchsde refuses: {error}") from error
        return paths[-1] if self.logarithms is None else self.logarithms.undone(paths[-1])


class _InDtype:
    """An SDE whose f and g get the time in the dtype of the state."""

    def __init__(self, sde: SDE, dtype: torch.dtype) -> None:
        self.sde, self.dtype = sde, dtype
        self.noise_type, self.sde_type = sde.noise_type, sde.sde_type

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        return self.sde.f(t.to(self.dtype), y)

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        return self.sde.g(t.to(self.dtype), y)


def check_sde(sde: Any, t: Tensor, y: Tensor, name: str = "sde") -> None:
    """Check that an SDE is of the kind that is supported, by one evaluation of f and g at (t, y).

    Raises:
        UnsupportedError: it is not Ito, or its noise is not diagonal.
        InputError: f or g is missing, or returns another shape than that of y.
    """
    for part in ("f", "g", "noise_type", "sde_type"):
        if not hasattr(sde, part):
            raise InputError(
                f"{name} must follow the torchsde protocol, but has no {part!r}: derive it from "
                "torchsde.SDEIto(noise_type='diagonal')."
            )
    if sde.sde_type != "ito":
        raise UnsupportedError(
            f"{name} is a {sde.sde_type} SDE, and only Ito SDEs are supported: add the drift "
            "correction 0.5 g dg/dx and declare it as torchsde.SDEIto."
        )
    if sde.noise_type != "diagonal":
        raise UnsupportedError(
            f"{name} has {sde.noise_type} noise, and only diagonal noise is supported: other "
            "noise puts mixed second derivatives into the Fokker-Planck equation, which hollow "
            "networks do not give."
        )
    for part in ("f", "g"):
        value = getattr(sde, part)(t, y)
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        if shape != tuple(y.shape):
            role = "drift" if part == "f" else "diffusion"
            raise InputError(
                f"{name}.{part} (the {role}) must return the shape {tuple(y.shape)} of y, but "
                f"returned {shape}: use torch.ones_like(y) or expand_as(y) for constants."
            )


def _starts(x0: Start, paths: int, generator: torch.Generator) -> Tensor:
    y = x0(paths, generator) if callable(x0) else torch.as_tensor(x0)
    if y.ndim == 1 and not callable(x0):
        y = y.expand(paths, -1)
    if y.ndim != 2 or len(y) != paths:
        raise InputError(
            f"x0 must give shape (d,) or ({paths}, d), one row for each path, but gave "
            f"{tuple(y.shape)}."
        )
    if not y.is_floating_point():
        raise InputError(f"x0 must be floating-point, but is {y.dtype}: use x0.float().")
    if not torch.isfinite(y).all():
        raise InputError("x0 must be finite, but holds NaN or infinite values.")
    return y.contiguous()
