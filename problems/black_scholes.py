"""The price of a European call, in log price, by the equation of Black and Scholes.

Prices are in units of the strike; u(0, 0) is the price at the money, a year before expiry.

Source: Black and Scholes, The Pricing of Options and Corporate Liabilities (1973).
"""

import torch
from torch import Tensor

import hollowpde as hp

VOLATILITY, RATE, EXPIRY = 0.2, 0.05, 1.0


def payoff(x: Tensor) -> Tensor:
    return (x[..., 0].exp() - 1).clamp(min=0)


def exact(t: Tensor, x: Tensor) -> Tensor:
    left = (EXPIRY - t).clamp(min=1e-12)
    spread = VOLATILITY * left.sqrt()
    d1 = (x[..., 0] + (RATE + VOLATILITY**2 / 2) * left) / spread
    Phi = torch.special.ndtr
    return x[..., 0].exp() * Phi(d1) - torch.exp(-RATE * left) * Phi(d1 - spread)


hp.register(
    hp.PDEProblem(
        name="black_scholes",
        residual=hp.BlackScholes(VOLATILITY, RATE),
        domain=hp.Box((-1.0,), (1.0,)),
        time=(0.0, EXPIRY),
        # The payoff has a kink, which no smooth form is built on.
        conditions={
            "payoff": hp.Terminal(payoff, hard=False),
            "ends": hp.Dirichlet(exact),
        },
        field=hp.Ridge(hidden=(24, 24), spread=3.0),
        sampler=hp.ResidualAdaptive(),
        exact=exact,
        point=hp.Point(x=(0.0,), t=0.0, value=0.104505836),
        solve=hp.Solve(interior=1000, gauss_newton=hp.GaussNewton(steps=100)),
    )
)
