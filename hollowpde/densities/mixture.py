"""What mixtures of normal distributions share: all but the shapes of their components."""

from __future__ import annotations

import math
from abc import abstractmethod

import numpy as np
import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor, nn

from hollowpde import taylor
from hollowpde.densities.base import DensityModel
from hollowpde.errors import InputError
from hollowpde.nets.scalar.sums import along_each
from hollowpde.operators.field import as_time


class Mixture(DensityModel):
    r"""A normalised sum of normal distributions, weighted, moved and shaped by t.

    $$ p(t, x) = \sum_r w_r(t) N(x; \mu_r(t), (W_r(t)^\top W_r(t))^{-1}) $$

    Weights, means and shapes are constants plus a small network of t. Along x_j each component is
    a quadratic in the exponent, so that log p is a logarithm of a sum of exponentials of short
    Taylor series: its derivatives of any order are closed-form. A subclass says what W is, through
    the numbers that shape a component and the factor that stands for W.

    Arguments:
        dim: d.
        components: the number of normals.
        hidden: width of the two hidden layers of the network of t.
        numbers: how many shape a component.

    Raises:
        InputError: dim or components below 1.
    """

    def __init__(self, dim: int, components: int, hidden: int, numbers: int) -> None:
        super().__init__()
        if dim < 1 or components < 1:
            raise InputError(
                f"dim and components must be at least 1, but they are {dim} and {components}."
            )
        self.dim, self.components = dim, components
        self.of_time = nn.Sequential(
            nn.Linear(1, hidden),
            nn.Tanh(),
            nn.Linear(hidden, hidden),
            nn.Tanh(),
            nn.Linear(hidden, components * (1 + dim + numbers)),
        )
        self.logits = nn.Parameter(torch.zeros(components))
        self.means = nn.Parameter(torch.randn(components, dim))

    @property
    @abstractmethod
    def _shapes(self) -> nn.Parameter:
        """The constant part of the numbers that shape each component, `(R, numbers)`."""

    @abstractmethod
    def _shape_of(self, members: np.ndarray) -> np.ndarray:
        """The numbers `(numbers,)` that fit samples `(n, d)`, of which there are two at least."""

    @abstractmethod
    def _factors(self, shapes: Tensor) -> tuple[Tensor, Tensor]:
        """`-log W_jj` `(..., R, d)`, and what stands for W: a factor with the axes `(..., R)`."""

    @abstractmethod
    def _noisy_factors(self, shapes: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """The same for the covariances with variance `(d,)` added to their diagonals."""

    @abstractmethod
    def _marginal_log_scales(self, shapes: Tensor) -> Tensor:
        """Log standard deviations of each coordinate alone, `(..., R, d)`."""

    @abstractmethod
    def _whiten(self, factor: Tensor, gap: Tensor) -> Tensor:
        """`W gap`."""

    @abstractmethod
    def _colour(self, factor: Tensor, z: Tensor) -> Tensor:
        """`W^{-1} z`."""

    @abstractmethod
    def _slopes(self, factor: Tensor, z: Tensor) -> Tensor:
        """`-W^T z`: of log N along every x_j."""

    @abstractmethod
    def _precisions(self, factor: Tensor) -> Tensor:
        """`sum_i W_ij^2`: less the second derivative of log N along x_j."""

    @abstractmethod
    def _rates(
        self, factor: Tensor, gap: Tensor, z: Tensor, means_dt: Tensor, shapes_dt: Tensor
    ) -> Tensor:
        """d/dt log N of which the sum is to be taken over the last axis, `(..., R, d)`."""

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        joint, _, z, factor = self._joint(self._at(t), x)
        if order == 0:
            return (joint.logsumexp(-1),)
        # Along x_j, component r is multiplied by exp(e), e = -(W^T z)_j s - (W^T W)_jj s^2 / 2.
        series: taylor.Series = [self._slopes(factor, z)]
        if order > 1:
            series += [-0.5 * self._precisions(factor), *([None] * (order - 2))]
        return along_each(_log_sum_exp, joint.unsqueeze(-1), series, x)

    def with_laplacian(
        self, t: Tensor, x: Tensor, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        # The sum over j before that over the components: no second derivative of its own is kept.
        joint, _, z, factor = self._joint(self._at(t), x)
        value = joint.logsumexp(-1)
        responsibility = (joint - value.unsqueeze(-1)).exp()
        slopes = self._slopes(factor, z)
        gradient = (responsibility.unsqueeze(-1) * slopes).sum(-2)
        spread = (slopes - gradient.unsqueeze(-2)).square() - self._precisions(factor)
        each = spread if weights is None else weights.unsqueeze(-2) * spread
        return value, gradient, (responsibility * each.sum(-1)).sum(-1)

    def in_time(
        self, t: Tensor, x: Tensor, order: int
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        if order > 0:
            return super().in_time(t, x, order)
        # Of the value alone: only the network of t is differentiated forward, not the mixture.
        t = as_time(t, x)
        moved = torch.func.jvp(self._at, (t,), (torch.ones_like(t),))
        joint, gap, z, factor = self._joint(moved[0], x)
        log_weights_dt, means_dt, shapes_dt = moved[1]
        rates = self._rates(factor, gap, z, means_dt, shapes_dt)
        dt = (joint.softmax(-1) * (log_weights_dt + rates.sum(-1))).sum(-1)
        return (joint.logsumexp(-1),), (dt,)

    def sample(
        self, t: Tensor | float, n: int, generator: torch.Generator | None = None
    ) -> Tensor:
        time = torch.as_tensor(t, dtype=self.means.dtype, device=self.means.device)
        log_weights, means, shapes = self._at(time)
        flat = log_weights.exp().reshape(-1, self.components)
        chosen = torch.multinomial(flat, n, replacement=True, generator=generator)  # (m, n)
        axis = time.ndim + 1
        mean, factor = (
            y.unsqueeze(0)
            .take_along_dim(chosen.T.reshape(n, *time.shape, *([1] * (y.ndim + 1 - axis))), axis)
            .squeeze(axis)
            for y in (means, self._factors(shapes)[1])
        )
        noise = torch.randn(mean.shape, dtype=mean.dtype, device=mean.device, generator=generator)
        return mean + self._colour(factor, noise)

    def marginal_log_prob(self, t: Tensor | float, x: Tensor) -> Tensor:
        """log p_j(t, x_j) of each coordinate alone, `(..., d)`: those of normals are normal."""
        log_weights, means, shapes = self._at(as_time(t, x))
        log_scales = self._marginal_log_scales(shapes)
        z = (x.unsqueeze(-2) - means) / log_scales.exp()
        return (log_weights.unsqueeze(-1) + _log_normal(z, log_scales)).logsumexp(-2)

    def marginal_cdf(self, t: Tensor | float, x: Tensor) -> Tensor:
        """P(X_j <= x_j) at t, of each coordinate alone, `(..., d)`."""
        log_weights, means, shapes = self._at(as_time(t, x))
        z = (x.unsqueeze(-2) - means) / self._marginal_log_scales(shapes).exp()
        return (log_weights.exp().unsqueeze(-1) * torch.special.ndtr(z)).sum(-2)

    def noisy_log_prob(self, t: Tensor | float, y: Tensor, variance: Tensor) -> Tensor:
        """log p of `y = x + N(0, variance)`, `(...)`; variance `(d,)` of independent noise."""
        log_weights, means, shapes = self._at(as_time(t, y))
        log_scales, factor = self._noisy_factors(shapes, variance)
        z = self._whiten(factor, self._gap(means, y))
        return (log_weights + _log_normal(z, log_scales).sum(-1)).logsumexp(-1)

    @torch.no_grad()
    def start_from(self, x: np.ndarray, seed: int) -> None:
        """Place the components on the clusters of samples x `(n, d)`, at every time alike."""
        centres, label = kmeans2(x, self.components, minit="++", seed=seed)
        for r in range(self.components):
            members = x[label == r]
            self.means[r] = torch.as_tensor(centres[r])
            shape = self._shape_of(members if len(members) > 1 else x)
            self._shapes[r] = torch.as_tensor(shape)
            self.logits[r] = math.log(max(len(members), 1) / len(x))
        last = self.of_time[-1]
        if isinstance(last, nn.Linear):
            last.weight.mul_(0.1)
            last.bias.zero_()

    def extra_repr(self) -> str:
        return f"dim={self.dim}, components={self.components}"

    def _at(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights (..., R), means (..., R, d) and shapes (..., R, numbers) at t."""
        constants = self.logits, self.means, self._shapes
        moves = self.of_time(t.unsqueeze(-1)).split([c.numel() for c in constants], dim=-1)
        logits, means, shapes = (
            c + y.unflatten(-1, c.shape) for c, y in zip(constants, moves, strict=True)
        )
        return logits.log_softmax(-1), means, shapes

    def _gap(self, means: Tensor, x: Tensor) -> Tensor:
        if x.shape[-1] != self.dim:
            raise InputError(
                f"x must have {self.dim} columns, the dim of this density, but has shape "
                f"{tuple(x.shape)}."
            )
        return x.unsqueeze(-2) - means

    def _joint(
        self, at: tuple[Tensor, Tensor, Tensor], x: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """log(w_r N_r(x)) (..., R), x - mu (..., R, d), z = W (x - mu) (..., R, d) and factors."""
        log_weights, means, shapes = at
        gap = self._gap(means, x)
        log_scales, factor = self._factors(shapes)
        z = self._whiten(factor, gap)
        return log_weights + _log_normal(z, log_scales).sum(-1), gap, z, factor


def _log_normal(z: Tensor, log_scales: Tensor) -> Tensor:
    return -0.5 * z.square() - log_scales - 0.5 * math.log(2 * math.pi)


def _log_sum_exp(z: taylor.Series) -> taylor.Series:
    """The logarithm of the sum of exponentials over the components, `(..., R, d)`."""
    joint, *slopes = z
    if joint is None:
        raise ValueError("the components must have a value.")
    value = joint.logsumexp(-2)
    if not slopes:
        return [value]
    responsibility = (joint - value.unsqueeze(-2)).exp()
    # The mean of every coefficient is taken out and added to the logarithm: far from the means of
    # the components its powers would cancel down to rounding errors.
    shifts = [None if c is None else (responsibility * c).sum(-2) for c in slopes]
    centred: taylor.Series = [
        None if c is None or shift is None else c - shift.unsqueeze(-2)
        for c, shift in zip(slopes, shifts, strict=True)
    ]
    total: taylor.Series = [
        None if c is None else (responsibility * c).sum(-2)
        for c in taylor.exp([torch.zeros_like(joint), *centred])
    ]
    # The responsibilities sum to one, up to rounding, which the logarithm must not see.
    total[0] = torch.ones_like(value)
    return [value, *taylor.add(taylor.log(total)[1:], shifts)]
