"""The local linearisation of Ozaki, with the exact diagonal of the drift's Jacobian."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hollowpde.likelihoods.base import TransitionLikelihood
from hollowpde.likelihoods.phi import phi
from hollowpde.likelihoods.transition import DiagonalNormal
from hollowpde.operators.dimwise import dimwise, jvp, time_derivative
from hollowpde.operators.field import Field


@dataclass(frozen=True)
class LocalLinearization(TransitionLikelihood):
    r"""A Gaussian transition of the SDE linearised at the start of the step.

    With `a = D_dim f` (the diagonal of the Jacobian, exact), `J f` one directional derivative
    and `phi1(z) = (e^z - 1) / z`, `phi2(z) = (e^z - 1 - z) / z^2`,

    $$ m = x + h \phi_1(ha) f + h^2 \phi_2(ha) (\partial_t f + J f - a f
         + \tfrac12 D \, \partial_{ii} f) $$
    $$ v_i = h D_i \phi_1(2 h a_i) \, e^{\tanh c_i}, \quad
       c_i = \tfrac{h^2}{3} (2 f_i \, \partial_{ii} f_i + D_i \, \partial_{iii} f_i) $$

    The diagonal of the drift is integrated exactly, and the linear coupling between dimensions to
    second order in h, so the mean needs no Jacobian. Left out are correlations between the noise
    of different dimensions (of order h^2), the change of D over the step (order h^2 in the
    variance), and the curvature of f_i along other dimensions.

    The curvature of the drift along each dimension enters as in Ito's formula: in the mean (Shoji
    and Ozaki) and, to the next order in h, in the variance, where it removes the bias of the
    diffusion in a curved drift; tanh bounds it where h is too large for an expansion.
    `curvature=False` leaves it out: Ozaki's original.

    Source:
        Ozaki, A bridge between nonlinear time series models and nonlinear stochastic dynamical
        systems (1992); Shoji and Ozaki, Estimation for nonlinear stochastic differential
        equations by a local linearization method (1998); expansion of the moments: Kessler,
        Estimation of an ergodic diffusion from discrete observations (1997).
    """

    curvature: bool = True

    def transition(
        self, drift: Field, diffusion: Field, t: Tensor, x: Tensor, step: Tensor
    ) -> DiagonalNormal:
        h = step.unsqueeze(-1)
        f, a, *curved = dimwise(drift, t, x, order=3 if self.curvature else 1)
        D = diffusion(t, x)
        bend = self._coupling(drift, t, x, f, a)
        variance = h * D * phi(2 * h * a, 1)
        if curved:
            f_ii, f_iii = curved
            bend = bend + 0.5 * D * f_ii
            variance = variance * (h.square() / 3 * (2 * f * f_ii + D * f_iii)).tanh().exp()
        mean = x + h * phi(h * a, 1) * f + h.square() * phi(h * a, 2) * bend
        return DiagonalNormal(mean, variance)

    @staticmethod
    def _coupling(drift: Field, t: Tensor, x: Tensor, f: Tensor, a: Tensor) -> Tensor:
        """The derivative of f along its own flow, less the part a f that is integrated exactly."""
        if x.shape[-1] == 1:
            return time_derivative(drift, t, x)
        return jvp(drift, t, x, f, time=1.0)[1] - a * f
