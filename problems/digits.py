"""Handwritten digits, 8 x 8 pixels of 17 grey values: a density in 64 dimensions.

Uniform noise of the width of a grey value makes the counts continuous (they are dequantised): the
NLL bounds that of the digits themselves from above. From scikit-learn's `load_digits`.
"""

from dataclasses import dataclass

import torch

import hollowpde as hp


@dataclass(frozen=True)
class Digits:
    """The digits, in units of one grey value.

    Arguments:
        seed: of the noise.
    """

    seed: int = 0

    def load(self) -> hp.Trajectories:
        try:
            from sklearn.datasets import load_digits
        except ImportError as error:
            raise hp.InputError(
                "data: the digits come with scikit-learn: pip install 'hollowpde[data]'."
            ) from error
        counts = torch.as_tensor(load_digits().data, dtype=torch.float32)
        noise = torch.rand(counts.shape, generator=torch.Generator().manual_seed(self.seed))
        rows = torch.arange(len(counts))
        return hp.Trajectories(torch.zeros(len(rows)), counts + noise, rows)


hp.register(
    hp.DensityProblem(
        name="digits",
        data=Digits(),
        image=(8, 8),
        velocity=hp.Hollow(hp.MaskedMLP(hidden=(128, 128), features=8), hp.SharedMLP((32, 32))),
        matching=hp.FlowMatching(
            batch=256,
            optimiser=hp.Adam(steps=3000, lr=3e-3),
            stop=hp.EarlyStop(every=150, patience=5),
        ),
        likelihood=hp.Likelihood(
            batch=256,
            optimiser=hp.Adam(steps=30, lr=3e-4, averaging=0.98),
            stop=hp.EarlyStop(every=10, patience=2),
        ),
    )
)
