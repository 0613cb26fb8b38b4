"""The Black-Scholes equation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hollowpde.operators.jets import Jet
from hollowpde.residuals.coefficients import check_number, check_numbers, per_dimension


@dataclass(frozen=True)
class BlackScholes:
    r"""The price of an option on independent assets, as a function of their log prices.

    $$ \partial_t u + \sum_i \left( \tfrac12 \sigma_i^2 \, \partial_{ii} u
       + (r - \tfrac12 \sigma_i^2) \, \partial_i u \right) - r u, \quad x_i = \log S_i $$

    It runs backward in time, from the payoff at maturity. The assets are uncorrelated.

    Arguments:
        volatility: sigma, one number for each asset, or a single one for all.
        rate: r, of riskless interest.

    Raises:
        InputError: a volatility is negative, or there are not d of them.

    Source:
        Black and Scholes, The pricing of options and corporate liabilities (1973).

    Example:
        >>> from hollowpde.residuals import BlackScholes
        >>> price = hp.Residual(BlackScholes(volatility=(0.2, 0.3), rate=0.05))
        >>> price([hp.SeparableNet(2)], torch.tensor(0.5), torch.zeros(4, 2)).shape
        torch.Size([4])
    """

    volatility: float | tuple[float, ...]
    rate: float

    def __post_init__(self) -> None:
        if isinstance(self.volatility, tuple):
            check_numbers("volatility", self.volatility)
        else:
            check_number("volatility", self.volatility)
        check_number("rate", self.rate, signed=True)

    def __call__(self, u: Jet, t: Tensor, x: Tensor) -> Tensor:
        half = 0.5 * per_dimension("volatility", self.volatility, x).square()
        spreading = u.weighted_laplacian(half)
        growth = ((self.rate - half) * u.gradient).sum(-1)
        return u.dt + spreading + growth - self.rate * u.value
