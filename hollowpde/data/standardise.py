"""Standardised coordinates: the units in which networks are trained."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from hollowpde.data.trajectories import Pairs, Trajectories
from hollowpde.errors import InputError


class Points(NamedTuple):
    """Observations without their paths: x at t."""

    t: Tensor  # (n,)
    x: Tensor  # (n, d)
    path: Tensor  # (n,)


class Standardisation(nn.Module):
    r"""The change of units `z = (x - shift) / scale`, `tau = (t - t_shift) / t_scale`.

    The observed times become [-1, 1] and every coordinate gets mean 0 and variance 1. The numbers
    are kept, and the subtraction is done, in float64, so that time stamps of 1e9 seconds lose
    nothing (if they are given in float64).
    """

    shift: Tensor
    scale: Tensor
    t_shift: Tensor
    t_scale: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        double = torch.float64
        self.register_buffer("shift", torch.zeros(dim, dtype=double))
        self.register_buffer("scale", torch.ones(dim, dtype=double))
        self.register_buffer("t_shift", torch.zeros((), dtype=double))
        self.register_buffer("t_scale", torch.ones((), dtype=double))

    @torch.no_grad()
    def measure(self, data: Trajectories) -> None:
        """Take the units of the data.

        Raises:
            InputError: a coordinate does not vary.
        """
        x, t = data.x.double(), data.t.double()
        spread = x.std(0)
        for name, s in zip(data.names, spread.tolist(), strict=True):
            if not s > 0:
                raise InputError(f"x: the coordinate {name!r} is constant: leave it out.")
        self.shift.copy_(x.mean(0))
        self.scale.copy_(spread)
        low, high = t.min(), t.max()
        if not high > low:
            raise InputError("t: all observations are at one time: at least two are needed.")
        self.t_shift.copy_((low + high) / 2)
        self.t_scale.copy_((high - low) / 2)

    def time(self, t: Tensor, dtype: torch.dtype) -> Tensor:
        return ((t.to(self.t_shift) - self.t_shift) / self.t_scale).to(dtype)

    def state(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        if x.shape[-1] != len(self.shift):
            raise InputError(
                f"x must have {len(self.shift)} columns, the dimension of the data, but has shape "
                f"{tuple(x.shape)}."
            )
        return ((x.to(self.shift) - self.shift) / self.scale).to(dtype)

    def pairs(self, data: Trajectories, dtype: torch.dtype) -> Pairs:
        """The pairs of the data in standardised units."""
        pairs = data.pairs()
        return Pairs(
            self.time(pairs.t, dtype),
            self.state(pairs.x, dtype),
            (pairs.step.to(self.t_scale) / self.t_scale).to(dtype),
            self.state(pairs.x_next, dtype),
            pairs.path.to(self.shift.device),
        )

    def points(self, data: Trajectories, dtype: torch.dtype) -> Points:
        """The observations in standardised units."""
        return Points(
            self.time(data.t, dtype),
            self.state(data.x, dtype),
            data.path.to(self.shift.device),
        )
