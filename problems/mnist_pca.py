"""MNIST in its first 64 principal components, from files of your own.

Say where the images are: `python -m hollowpde fit problems/mnist_pca.py data.file=mnist.npz`. An
.npz or .npy file with images (n, 28, 28) or (n, 784) of values 0 to 255; of an .npz the array
`x_train`, or the only one, is taken.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import hollowpde as hp


@dataclass(frozen=True)
class PrincipalComponents:
    """Images in the coordinates of their largest variances, dequantised and scaled to [0, 1].

    Arguments:
        file: an .npz or .npy file.
        components: how many coordinates.
        seed: of the noise.
    """

    file: str = ""
    components: int = 64
    seed: int = 0

    def load(self) -> hp.Trajectories:
        pixels = _images(self.file)
        noise = np.random.default_rng(self.seed).random(pixels.shape)
        x = (pixels + noise) / 256
        x = x - x.mean(0)
        # Eigenvectors of the covariance, the largest eigenvalues first.
        axes = np.linalg.eigh(x.T @ x / len(x))[1][:, ::-1][:, : self.components]
        rows = torch.as_tensor(np.ascontiguousarray(x @ axes), dtype=torch.float32)
        names = [f"pc{k + 1}" for k in range(rows.shape[1])]
        return hp.Trajectories(torch.zeros(len(rows)), rows, torch.arange(len(rows)), names)


def _images(file: str) -> np.ndarray:
    if not file or not Path(file).is_file():
        raise hp.InputError(
            f"data.file: no file at {file!r}: name an .npz or .npy file with the images, as in "
            "data.file=mnist.npz."
        )
    read = np.load(file)
    if isinstance(read, np.ndarray):
        images = read
    else:
        only = read.files[0] if len(read.files) == 1 else "x_train"
        if only not in read.files:
            raise hp.InputError(f"data.file: {file!r} holds no array 'x_train', but {read.files}.")
        images = read[only]
    if images.ndim not in (2, 3):
        raise hp.InputError(
            f"data.file: images must be (n, 28, 28) or (n, 784), but are {images.shape}."
        )
    return images.reshape(len(images), -1).astype(float)


hp.register(
    hp.DensityProblem(
        name="mnist_pca",
        data=PrincipalComponents(),
        velocity=hp.Hollow(hp.MaskedMLP(hidden=(128, 128), features=8), hp.SharedMLP((32, 32))),
        matching=hp.FlowMatching(
            batch=256,
            optimiser=hp.Adam(steps=3000, lr=3e-3),
            stop=hp.EarlyStop(every=150, patience=5),
        ),
        likelihood=hp.Likelihood(
            batch=256,
            optimiser=hp.Adam(steps=60, lr=1e-3, averaging=0.98),
            stop=hp.EarlyStop(every=15, patience=3),
        ),
    )
)
