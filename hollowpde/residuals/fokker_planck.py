"""The Fokker-Planck equation of an Ito SDE with diagonal noise."""

from __future__ import annotations

from torch import Tensor

from hollowpde.operators.jets import Jet
from hollowpde.residuals.base import Residual


def _log_form(log_p: Jet, f: Jet, D: Jet, t: Tensor, x: Tensor) -> Tensor:
    s = log_p.gradient
    transport = f.d(1) + f.value * s
    spreading = D.d(2) + 2 * D.d(1) * s + D.value * (log_p.d(2) + s.square())
    return log_p.dt + (transport - 0.5 * spreading).sum(-1)


def fokker_planck() -> Residual:
    r"""The Fokker-Planck equation in log form, of dX = f dt + g dW with D = g^2, s = grad log p.

    $$ \partial_t \log p + \sum_i (\partial_i f_i + f_i s_i) - \tfrac12 \sum_i (\partial_{ii} D_i
       + 2 \partial_i D_i \, s_i + D_i (\partial_{ii} \log p + s_i^2)) $$

    Dividing the equation by p leaves no underflow in the tails. The fields are, in this order:
    log p (scalar), the drift f and the squared diffusion D (vector fields).

    Source:
        Risken, The Fokker-Planck Equation (1989); matching its two sides: Chen and Duvenaud,
        Neural Networks with Cheap Differential Operators (2019).

    Example:
        >>> p, f = hp.GaussianMixture(dim=2, components=3), hp.HollowNet(2)
        >>> D = hp.Positive(hp.HollowNet(2))
        >>> hp.fokker_planck()([p, f, D], torch.tensor(0.5), torch.zeros(4, 2)).shape
        torch.Size([4])
    """
    return Residual(_log_form, fields=3)
