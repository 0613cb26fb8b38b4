"""A time-dependent mixture of products of one-dimensional Gaussians."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor, nn

from hollowpde import taylor
from hollowpde.densities.base import Density
from hollowpde.errors import InputError
from hollowpde.nets.scalar.sums import along_each
from hollowpde.operators.field import as_time


class GaussianMixture(Density):
    r"""A normalised density whose score and diagonal derivatives of any order are closed-form.

    $$ p(t, x) = \sum_r w_r(t) \prod_j N(x_j; \mu_{rj}(t), \sigma_{rj}(t)^2) $$

    Weights, means and log standard deviations are constants plus a small network of t. Along x_j
    each component is a quadratic in the exponent, so that log p is a logarithm of a sum of
    exponentials of short Taylor series. A product cannot hold correlation between dimensions:
    several components together approximate it.

    Arguments:
        dim: d.
        components: the number of products.
        hidden: width of the two hidden layers of the network of t.

    Raises:
        InputError: dim or components below 1.

    Source:
        Bishop, Mixture Density Networks (1994).

    Example:
        >>> density = hp.GaussianMixture(dim=2, components=3)
        >>> density.log_prob(0.5, torch.zeros(4, 2)).shape
        torch.Size([4])
        >>> density.sample(0.5, 10).shape
        torch.Size([10, 2])
    """

    def __init__(self, dim: int, components: int, hidden: int = 32) -> None:
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
            nn.Linear(hidden, components * (1 + 2 * dim)),
        )
        self.logits = nn.Parameter(torch.zeros(components))
        self.means = nn.Parameter(torch.randn(components, dim))
        self.log_scales = nn.Parameter(torch.zeros(components, dim))

    def dimwise(self, t: Tensor, x: Tensor, order: int) -> tuple[Tensor, ...]:
        joint, z, scales = self._joint(*self._at(t), x)
        if order == 0:
            return (joint.logsumexp(-1),)
        # Along x_j, component r is multiplied by exp(e), e = -(z / sigma) s - s^2 / (2 sigma^2).
        slopes = (-z / scales, -0.5 / scales.square(), *([None] * (order - 2)))
        return along_each(_log_sum_exp, joint.unsqueeze(-1), [*slopes[:order]], x)

    def with_laplacian(
        self, t: Tensor, x: Tensor, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        # The sum over j before that over the components: no second derivative of its own is kept.
        joint, z, scales = self._joint(*self._at(t), x)
        value = joint.logsumexp(-1)
        responsibility = (joint - value.unsqueeze(-1)).exp()
        slopes = -z / scales
        gradient = (responsibility.unsqueeze(-1) * slopes).sum(-2)
        spread = (slopes - gradient.unsqueeze(-2)).square() - scales.square().reciprocal()
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
        log_weights, means, log_scales = moved[0]
        joint, z, scales = self._joint(log_weights, means, log_scales, x)
        log_weights_dt, means_dt, log_scales_dt = moved[1]
        # d/dt log N(x; mu, sigma) = z mu' / sigma + (z^2 - 1) sigma' / sigma
        slope = z / scales * means_dt + (z.square() - 1.0) * log_scales_dt
        dt = (joint.softmax(-1) * (log_weights_dt + slope.sum(-1))).sum(-1)
        return (joint.logsumexp(-1),), (dt,)

    def sample(
        self, t: Tensor | float, n: int, generator: torch.Generator | None = None
    ) -> Tensor:
        time = torch.as_tensor(t, dtype=self.means.dtype, device=self.means.device)
        log_weights, means, log_scales = self._at(time)
        flat = log_weights.exp().reshape(-1, self.components)
        chosen = torch.multinomial(flat, n, replacement=True, generator=generator)  # (m, n)
        index = chosen.T.reshape(n, *time.shape, 1, 1).expand(n, *time.shape, 1, self.dim)
        mean, scale = (
            y.expand(n, *time.shape, self.components, self.dim).gather(-2, index).squeeze(-2)
            for y in (means, log_scales.exp())
        )
        noise = torch.randn(mean.shape, dtype=mean.dtype, device=mean.device, generator=generator)
        return mean + scale * noise

    def marginal_log_prob(self, t: Tensor | float, x: Tensor) -> Tensor:
        """log p_j(t, x_j) of each coordinate alone, `(..., d)`: products integrate by factors."""
        log_weights, means, log_scales = self._at(as_time(t, x))
        z = (x.unsqueeze(-2) - means) / log_scales.exp()
        log_normal = -0.5 * z.square() - log_scales - 0.5 * math.log(2 * math.pi)
        return (log_weights.unsqueeze(-1) + log_normal).logsumexp(-2)

    def noisy_log_prob(self, t: Tensor, y: Tensor, variance: Tensor) -> Tensor:
        """log p of `y = x + N(0, variance)`, `(...)`; variance `(d,)` of independent noise."""
        log_weights, means, log_scales = self._at(as_time(t, y))
        log_scales = 0.5 * torch.logaddexp(2 * log_scales, variance.log())
        return self._joint(log_weights, means, log_scales, y)[0].logsumexp(-1)

    @torch.no_grad()
    def start_from(self, x: np.ndarray, seed: int) -> None:
        """Place the components on the clusters of samples x `(n, d)`, at every time alike."""
        centres, label = kmeans2(x, self.components, minit="++", seed=seed)
        for r in range(self.components):
            members = x[label == r]
            spread = members.std(0) if len(members) > 1 else x.std(0)
            self.means[r] = torch.as_tensor(centres[r])
            self.log_scales[r] = torch.as_tensor(np.log(np.maximum(spread, 1e-3)))
            self.logits[r] = math.log(max(len(members), 1) / len(x))
        last = self.of_time[-1]
        if isinstance(last, nn.Linear):
            last.weight.mul_(0.1)
            last.bias.zero_()

    def extra_repr(self) -> str:
        return f"dim={self.dim}, components={self.components}"

    def _at(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights (..., R), means (..., R, d) and log standard deviations (..., R, d) at t."""
        size = self.components * self.dim
        logits, means, log_scales = self.of_time(t.unsqueeze(-1)).split(
            [self.components, size, size], dim=-1
        )
        shape = (self.components, self.dim)
        return (
            (self.logits + logits).log_softmax(-1),
            self.means + means.unflatten(-1, shape),
            self.log_scales + log_scales.unflatten(-1, shape),
        )

    def _joint(
        self, log_weights: Tensor, means: Tensor, log_scales: Tensor, x: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """log(w_r N_r(x)) (..., R), standardised z (..., R, d) and scales (..., R, d)."""
        if x.shape[-1] != self.dim:
            raise InputError(
                f"x must have {self.dim} columns, the dim of this density, but has shape "
                f"{tuple(x.shape)}."
            )
        scales = log_scales.exp()
        z = (x.unsqueeze(-2) - means) / scales
        log_normal = -0.5 * z.square() - log_scales - 0.5 * math.log(2 * math.pi)
        return log_weights + log_normal.sum(-1), z, scales


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
