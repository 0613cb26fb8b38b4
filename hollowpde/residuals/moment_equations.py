"""The weak form of the Fokker-Planck equation, on samples: moment equations and their noise."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.interpolate import make_interp_spline
from torch import Tensor

from hollowpde.errors import InputError
from hollowpde.operators.reference import FieldLike
from hollowpde.residuals.nodes import Nodes
from hollowpde.residuals.test_functions import TestFunctions

log = logging.getLogger(__name__)

# Distinct times up to which each is an instant of its own, and instants otherwise.
_MOST_TIMES = 60
_BINS = 30
# Added to the variance of every test function, which is one over all samples: where a function
# is next to zero at some time, few samples tell how little it varies.
_FLOOR = 0.03
_JITTER = 1e-4
# Share of the slopes of test functions at all times that is added to those of each.
_ELSEWHERE = 0.1
_CHUNK = 16384


@dataclass(frozen=True)
class _Instant:
    """One time: its samples, and where the coefficients are that stand for them."""

    x: Tensor  # (n, d)
    nodes: Nodes
    rows: slice  # of the samples of `nodes`
    where: slice  # of the points of the equations
    table: Tensor | None  # (M, P 2d): the mean of L phi, from f and D at the nodes


class MomentEquations:
    r"""Equations that drift and diffusion satisfy on samples of the marginals, without densities.

    For every test function phi the weak form of the Fokker-Planck equation says

    $$ \frac{d}{dt} E\,\phi(X_t) = E\,L\phi(X_t), \quad
       L\phi = f \cdot \nabla\phi + \tfrac12 \sum_i D_i \, \partial_{ii} \phi $$

    Integrated from each time to the next, with expectations replaced by means over all samples
    and the right side integrated over the cubic spline through the times, it is linear in f and
    D. What is left over has a covariance that the samples tell, `weigh`; by it the leftovers are
    whitened, so that their squares sum to a chi-square of `len(self)` where f and D are right.

    Arguments:
        t: times of the samples, `(n,)`; those of more than 60 distinct ones are gathered in 30
            intervals.
        x: samples, `(n, d)`, in standardised units.
        tests: test functions.
        autonomous: drift and diffusion do not depend on time.
        steady: the samples are of the steady state: E L phi = 0, whatever their times.

    Raises:
        InputError: one time only, unless they are of the steady state.

    Source:
        Generalised method of moments: Hansen, Large sample properties of generalized method of
        moments estimators (1982); Hansen and Scheinkman, Back to the future: generating moment
        implications for continuous-time Markov processes (1995).

    Example:
        >>> from hollowpde.residuals import MomentEquations, RandomCosines, Whitened
        >>> t, x = torch.tensor([0.0, 1.0]).repeat(500), torch.randn(1000, 1).double()
        >>> tests = Whitened(RandomCosines(20).draw(x, torch.Generator().manual_seed(0)), x)
        >>> equations = MomentEquations(t, x, tests, autonomous=True)
        >>> values = torch.cat([-equations.x, 2 + 0 * equations.x], dim=1)  # f = -x, D = 2
        >>> equations.weigh(values)
        >>> bool(equations.whitened(values).square().sum() < 2 * len(equations))
        True
    """

    def __init__(
        self,
        t: Tensor,
        x: Tensor,
        tests: TestFunctions,
        *,
        autonomous: bool,
        steady: bool = False,
    ) -> None:
        self.tests, self.dim = tests, x.shape[1]
        groups, self.times = ([torch.arange(len(t))], t[:1].double()) if steady else _gathered(t)
        if len(groups) < 2 and not steady:
            raise InputError(
                "t: all samples are of one time: at least two are needed, or samples that are "
                "known to be of the steady state."
            )
        self.counts = torch.tensor([len(g) for g in groups], dtype=torch.float64)
        self._difference, self._integral = _in_time(self.times, steady)
        self._instants, t_points, x_points = self._gather(x, groups, autonomous)
        # Where drift and diffusion are to be evaluated.
        self.t, self.x = t_points.to(x.dtype), x_points
        means = [_mean(tests.value, i.x) for i in self._instants]
        self._left = self._difference @ torch.stack(means)
        self._factor: Tensor | None = None
        self._pull = torch.zeros(())

    def __len__(self) -> int:
        return self._left.numel()

    def values(self, drift: FieldLike, diffusion: FieldLike, dtype: torch.dtype) -> Tensor:
        """f and D side by side at the points, `(P, 2 d)`."""
        t, x = self.t.to(dtype), self.x.to(dtype)
        return torch.cat([drift(t, x), diffusion(t, x)], dim=-1)

    def leftover(self, values: Tensor) -> Tensor:
        """The left minus the right side of every equation, one after another."""
        rates = torch.stack([self._rate(i, values[i.where]) for i in self._instants])
        return (self._left - self._integral @ rates.double()).reshape(-1)

    def whitened(self, values: Tensor) -> Tensor:
        """The leftovers, made independent of variance one where f and D are right, `(R,)`."""
        if self._factor is None:
            raise RuntimeError("equations must be weighed before.")
        left = self.leftover(values).unsqueeze(-1)
        return torch.linalg.solve_triangular(self._factor, left, upper=False).squeeze(-1)

    def nats(self, values: Tensor) -> Tensor:
        r"""Half the chi-square, less what smaller coefficients would gain by smaller noise.

        The means of L phi have noise too, which grows with f and D: by half the chi-square alone
        both come out too small. The gradient of its expected value, at the f and D that the
        equations were weighed by, is taken out.
        """
        return 0.5 * self.whitened(values).square().sum() - self.pull(values)

    def pull(self, values: Tensor) -> Tensor:
        """How much of half the chi-square, to first order in f and D, is expected of noise."""
        return (self._pull.to(values.dtype) * values).sum()

    @torch.no_grad()
    def weigh(self, values: Tensor) -> None:
        """Take the covariance of the leftovers from the samples, for some f and D."""
        self._factor = self._noise(values)
        self._pull = self._expected_pull(values)

    def _noise(self, values: Tensor) -> Tensor:
        """The lower factor of the covariance of the leftovers, `(R, R)`.

        The means of phi and of L phi come from the same samples and are not independent.
        """
        k, m = self._left.shape
        total = torch.zeros(k, m, k, m, dtype=torch.float64, device=self._left.device)
        for j, instant in enumerate(self._instants):
            spread = self._covariance(instant, values[instant.where]) / self.counts[j]
            a, w = self._difference[:, j], -self._integral[:, j]
            for left, right, block in (
                (a, a, spread[:m, :m]), (a, w, spread[:m, m:]),
                (w, a, spread[m:, :m]), (w, w, spread[m:, m:]),
            ):  # fmt: skip
                total += torch.einsum("k,l,mn->kmln", left, right, block)
        covariance = total.reshape(k * m, k * m)
        size = covariance.diagonal().sqrt()
        correlation = covariance / size / size.unsqueeze(1)
        correlation.diagonal().add_(_JITTER)
        return torch.linalg.cholesky(correlation) * size.unsqueeze(1)

    @torch.no_grad()
    def weigh_as_flux(self, values: Tensor, scale: Tensor) -> None:
        r"""Take instead the size of the least flux that would make up for the leftovers.

        Of those between two times, over the span of the test functions,

        $$ e^\top \Big( \int E[\nabla \varphi_m \cdot \nabla \varphi_n] \, dt \Big)^{-1} e $$

        in such a unit that the noise alone makes as large a sum of squares as `weigh`.

        Arguments:
            values: f and D, by which the noise is told.
            scale: units of length in which x is given, `(d,)`.
        """
        grams = torch.stack([self._gram_of_slopes(i, scale) for i in self._instants])
        # A function that is next to flat at two times need not be so between them.
        grams += _ELSEWHERE * grams.mean(0)
        if len(grams) > 1:
            lengths = (self.times[1:] - self.times[:-1]).view(-1, 1, 1)
            grams = lengths * (grams[1:] + grams[:-1]) / 2
        factor = torch.block_diag(*torch.linalg.cholesky(grams))
        white = torch.linalg.solve_triangular(factor, self._noise(values), upper=False)
        self._factor = factor * (white.square().sum() / len(self)).sqrt()
        self._pull = self._expected_pull(values)

    def _gram_of_slopes(self, instant: _Instant, scale: Tensor) -> Tensor:
        """Mean products of the gradients of test functions over an instant, `(M, M)`."""

        def products(x: Tensor) -> Tensor:
            slopes = self.tests.weights(x)[..., : self.dim] / scale
            return torch.einsum("nai,nbi->ab", slopes, slopes)

        parts = [products(x) for x in instant.x.split(_CHUNK)]
        return torch.stack(parts).sum(0) / len(instant.x)

    def _expected_pull(self, values: Tensor) -> Tensor:
        """The gradient, at f and D, of half the expected chi-square of pure noise, `(P, 2 d)`.

        Half the trace of `C^-1 Cov(e)`, a sum over samples of quadratics in their phi and L phi.
        """
        assert self._factor is not None
        m = self._left.shape[1]
        eye = torch.eye(m, dtype=torch.float64, device=self._factor.device)
        total = torch.zeros(len(self.x), 2 * self.dim, dtype=torch.float64, device=eye.device)
        for j, instant in enumerate(self._instants):
            effect = torch.cat(
                [torch.kron(self._difference[:, j : j + 1], eye),
                 torch.kron(-self._integral[:, j : j + 1], eye)], dim=1,
            )  # fmt: skip
            white = torch.linalg.solve_triangular(self._factor, effect, upper=False)
            form = white[:, m:].T @ white  # of L phi, with phi and L phi
            own = values[instant.where].double()
            mean = torch.cat([_mean(self.tests.value, instant.x), self._rate(instant, own)])
            for s in range(0, len(instant.x), _CHUNK):
                x = instant.x[s : s + _CHUNK]
                rows = slice(instant.rows.start + s, instant.rows.start + s + len(x))
                at = instant.nodes.at_samples(own, rows)
                both = torch.cat([self.tests.value(x), self.tests.generator(x, at)], dim=1)
                slope = (both - mean) @ form.T / self.counts[j] ** 2
                pull = torch.einsum("nmi,nm->ni", self.tests.weights(x), slope)
                total[instant.where] += instant.nodes.from_samples(pull, rows)
        return total

    def changing(self) -> tuple[float, int]:
        """The chi-square of the hypothesis that no test function changes its mean, and its size.

        Of differences from the common mean, by the covariance within the times.
        """
        within = torch.zeros(())
        means = torch.stack([_mean(self.tests.value, i.x) for i in self._instants])
        for count, instant in zip(self.counts, self._instants, strict=True):
            values = torch.zeros(len(instant.nodes), 2 * self.dim, dtype=torch.float64)
            block = self._covariance(instant, values)[: means.shape[1], : means.shape[1]]
            within = within + count / self.counts.sum() * block
        common = (self.counts.unsqueeze(1) * means).sum(0) / self.counts.sum()
        away = self.counts.sqrt().unsqueeze(1) * (means - common)
        white = torch.linalg.solve_triangular(torch.linalg.cholesky(within), away.T, upper=False)
        return float(white.square().sum()), means.shape[1] * (len(means) - 1)

    def principal_axes(self) -> tuple[Tensor, Tensor, Tensor]:
        """The mean, and a root of the covariance within the times with its inverse."""
        total = float(self.counts.sum())
        mean = torch.cat([i.x for i in self._instants]).mean(0)
        within = torch.stack(
            [
                n / total * torch.cov(i.x.T)
                for n, i in zip(self.counts, self._instants, strict=True)
            ]
        ).sum(0)
        variance, axes = torch.linalg.eigh(within)
        return mean, axes * variance.sqrt(), (axes / variance.sqrt()).T

    def moved_by(self, velocity: Callable[[Tensor], Tensor]) -> tuple[float, int]:
        """The chi-square of the hypothesis that a velocity leaves all marginals as they are.

        That `E[v . grad phi]` is zero at all times for all test functions; and its size.
        """
        total, size = 0.0, 0
        for count, instant in zip(self.counts, self._instants, strict=True):
            v = velocity(instant.nodes.points)
            values = torch.cat([v, torch.zeros_like(v)], dim=1)
            m = self._left.shape[1]
            spread = self._covariance(instant, values)[m:, m:]
            spread.diagonal().add_(_FLOOR * spread.diagonal().mean())
            mean = self._rate(instant, values)
            white = torch.linalg.solve_triangular(
                torch.linalg.cholesky(spread), mean.unsqueeze(1), upper=False
            )
            total += float(count * white.square().sum())
            size += m
        return total, size

    def _gather(
        self, x: Tensor, groups: list[Tensor], autonomous: bool
    ) -> tuple[list[_Instant], Tensor, Tensor]:
        instants: list[_Instant] = []
        ordered = [x[g].double() for g in groups]
        shared = Nodes(torch.cat(ordered)) if autonomous else None
        # In more dimensions each sample is a node, which only its own time needs.
        apart = shared is None or len(shared) == len(x)
        points: list[Tensor] = []
        start = place = 0
        for own in ordered:
            if shared is None or apart:
                nodes, rows = Nodes(own), slice(0, len(own))
                where = slice(place, place + len(nodes))
                points.append(nodes.points)
            else:
                nodes, rows = shared, slice(start, start + len(own))
                where = slice(0, len(nodes))
            table = self._table(own, nodes, rows) if self.dim <= 2 else None
            instants.append(_Instant(own, nodes, rows, where, table))
            start, place = start + len(own), place + len(nodes)
        if not apart and shared is not None:
            return instants, self.times.mean().expand(len(shared)), shared.points
        lengths = torch.tensor([len(p) for p in points], device=self.times.device)
        return instants, self.times.repeat_interleave(lengths), torch.cat(points)

    def _table(self, x: Tensor, nodes: Nodes, rows: slice) -> Tensor:
        """The mean of L phi over samples as a matrix for f and D at the nodes, `(M, P 2d)`."""
        total: Tensor | float = 0.0
        m = self.tests.value(x[:1]).shape[1]
        for s in range(0, len(x), _CHUNK):
            part = self.tests.weights(x[s : s + _CHUNK]).flatten(1) / len(x)
            some = slice(rows.start + s, rows.start + s + len(part))
            total = total + nodes.from_samples(part, some)
        assert isinstance(total, Tensor)
        return total.unflatten(1, (m, 2 * self.dim)).transpose(0, 1).flatten(1)

    def _rate(self, instant: _Instant, values: Tensor) -> Tensor:
        """The mean of L phi over the samples of an instant, `(M,)`."""
        if instant.table is not None:
            return instant.table.to(values.dtype) @ values.flatten()
        return self.tests.generator(instant.x.to(values.dtype), values).mean(0)

    def _covariance(self, instant: _Instant, values: Tensor) -> Tensor:
        """Of phi and L phi, one above the other, over the samples of an instant."""
        first: Tensor | float = 0.0
        second: Tensor | float = 0.0
        n, values = len(instant.x), values.double()
        for s in range(0, n, _CHUNK):
            x = instant.x[s : s + _CHUNK]
            rows = slice(instant.rows.start + s, instant.rows.start + s + len(x))
            own = instant.nodes.at_samples(values, rows)
            both = torch.cat([self.tests.value(x), self.tests.generator(x, own)], dim=1)
            first, second = first + both.sum(0), second + both.T @ both
        assert isinstance(first, Tensor) and isinstance(second, Tensor)
        spread = second / n - torch.outer(first, first) / n**2
        m = len(first) // 2
        spread[:m, :m].diagonal().add_(_FLOOR)
        return spread


def _mean(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    parts = [function(part).sum(0) for part in x.split(_CHUNK)]
    return torch.stack(parts).sum(0) / len(x)


def _gathered(t: Tensor) -> tuple[list[Tensor], Tensor]:
    """The rows of each instant, and its time; many times are gathered in intervals."""
    t = t.double()
    times, label, count = t.unique(return_inverse=True, return_counts=True)
    if len(times) > _MOST_TIMES:
        label = (t.argsort(stable=True).argsort(stable=True) * _BINS) // len(t)
        count = torch.bincount(label)
        times = torch.bincount(label, t) / count
        log.info("samples of many times are gathered in %d intervals", len(times))
    return list(label.argsort(stable=True).split(count.tolist())), times


def _in_time(times: Tensor, steady: bool) -> tuple[Tensor, Tensor]:
    """Matrices that take values at the times to their differences and to integrals between."""
    if steady:
        return torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    n = len(times)
    at = times.cpu().numpy()
    spline = make_interp_spline(at, np.eye(n), k=min(3, n - 1)).antiderivative()
    integral = np.diff(spline(at), axis=0)
    eye = torch.eye(n, dtype=torch.float64)
    return (eye[1:] - eye[:-1]).to(times.device), torch.as_tensor(integral).to(times.device)
