"""Kernel regression of the increments: what needs no optimiser."""

from __future__ import annotations

import torch
from torch import Tensor

from hollowpde.bench.sde.cases import Estimate, Task
from hollowpde.data import Pairs

# In standard deviations of x.
_BANDWIDTHS = (0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.5, 0.8, 1.2, 2.0, 3.0, 5.0)
_CHUNK = 2048


def nadaraya_watson(task: Task, steps: int | None) -> Estimate:
    r"""Means over the training pairs (x, y), h apart, weighted by a Gaussian kernel K.

    $$ f(x) = E_K [(y - x) / h], \quad D(x) = E_K [(y - x - h f)^2 / h] $$

    Each coordinate of each of the two gets its own bandwidth, by the squared error and by the
    Gaussian likelihood of held-out increments.

    Source:
        Nadaraya (1964), Watson (1964); for diffusions: Bandi and Phillips (2003).
    """
    train, validation = (part.double().pairs() for part in task.split[:2])
    shift, scale = train.x.mean(0), train.x.std(0)
    kernel = _Kernel((train.x - shift) / scale)
    at = (validation.x - shift) / scale

    rates = _increment(train) / train.step.unsqueeze(1)
    observed = _increment(validation) / validation.step.unsqueeze(1)
    wrong = [(p - observed).square().mean(0) for p in kernel.means(at, rates, _BANDWIDTHS)]
    wide = torch.stack(wrong).argmin(0)
    # An increment must not judge the drift that it has a part in, or narrow kernels leave nothing.
    drift = kernel.own_means(rates, wide)
    squares = (_increment(train) - drift * train.step.unsqueeze(1)).square()
    squares = squares / train.step.unsqueeze(1)

    residual = (observed - kernel.chosen(at, rates, wide)).square() * validation.step.unsqueeze(1)
    nll = [
        (residual / variance + variance.log()).mean(0)
        for variance in (mean.clamp(min=1e-12) for mean in kernel.means(at, squares, _BANDWIDTHS))
    ]
    wide_squares = torch.stack(nll).argmin(0)

    def field(values: Tensor, choice: Tensor, x: Tensor) -> Tensor:
        return kernel.chosen((x - shift) / scale, values, choice)

    return Estimate(
        lambda t, x: field(rates, wide, x), lambda t, x: field(squares, wide_squares, x)
    )


class _Kernel:
    """Gaussian kernel means over points `(m, d)`; sums over all of them, without bins.

    In float32: what is averaged is noise, and the exponentials are most of the work.
    """

    def __init__(self, points: Tensor) -> None:
        self.points = points.float()

    def means(self, at: Tensor, values: Tensor, widths: tuple[float, ...]) -> list[Tensor]:
        """The means of values `(m, k)` around points `(n, d)`, for each bandwidth."""
        rows = []
        for part in at.float().split(_CHUNK):
            squared = torch.cdist(part, self.points).square()
            rows.append([self._mean(squared, width, values) for width in widths])
        return [torch.cat(column) for column in zip(*rows, strict=True)]

    def chosen(self, at: Tensor, values: Tensor, choice: Tensor) -> Tensor:
        """The means, with a bandwidth for each column of the values."""
        different, column = choice.unique(return_inverse=True)
        means = self.means(at, values, tuple(_BANDWIDTHS[k] for k in different.tolist()))
        return torch.stack(means)[column, :, torch.arange(len(column))].T

    def own_means(self, values: Tensor, choice: Tensor) -> Tensor:
        """The same at the points themselves, each left out of its own mean."""
        different, column = choice.unique(return_inverse=True)
        parts = []
        for start in range(0, len(self.points), _CHUNK):
            squared = torch.cdist(self.points[start : start + _CHUNK], self.points).square()
            rows = torch.arange(len(squared))
            squared[rows, start + rows] = torch.inf
            means = [self._mean(squared, _BANDWIDTHS[k], values) for k in different.tolist()]
            parts.append(torch.stack(means)[column, :, torch.arange(len(column))].T)
        return torch.cat(parts)

    @staticmethod
    def _mean(squared: Tensor, width: float, values: Tensor) -> Tensor:
        # A softmax is a kernel mean that goes over to the nearest point where there is no other.
        weights = torch.softmax(squared / (-2 * width**2), dim=1)
        return (weights @ values.float()).to(values)


def _increment(pairs: Pairs) -> Tensor:
    return pairs.x_next - pairs.x
