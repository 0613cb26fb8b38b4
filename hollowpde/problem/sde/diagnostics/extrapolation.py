"""Which points lie where there were no data to learn from."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree
from torch import Tensor

from hollowpde.errors import InputError
from hollowpde.problem.panel import Array

_NEIGHBOURS = 5
# More points than this, on either side, are thinned evenly.
_POINTS = 5000
# The share of the training points themselves that counts as outlying.
_OUTLYING = 0.001


def extrapolation_share(train: Tensor, points: Tensor) -> float:
    """The share of points that lie where next to none of the training data do.

    A point is outside where its distance to the fifth nearest training point, in standard
    deviations of the training data, exceeds that of all but 0.1 % of the training points among
    themselves. Points like the training data give a share of about 0.001.

    Arguments:
        train: states that were fitted to, `(n, d)`.
        points: states to judge, `(m, d)`, such as re-simulated ones.

    Raises:
        InputError: shapes do not match, or there are too few training points.

    Example:
        >>> train = torch.randn(2000, 2)
        >>> extrapolation_share(train, torch.randn(1000, 2)) < 0.01
        True
        >>> extrapolation_share(train, torch.randn(1000, 2) + 10)
        1.0
    """
    if train.ndim != 2 or points.ndim != 2 or train.shape[1] != points.shape[1]:
        raise InputError(
            "train and points must have shapes (n, d) and (m, d), but they are "
            f"{tuple(train.shape)} and {tuple(points.shape)}."
        )
    if len(train) <= _NEIGHBOURS or not len(points):
        raise InputError(
            f"train must hold more than {_NEIGHBOURS} points, and points at least one, but they "
            f"hold {len(train)} and {len(points)}."
        )
    known, asked = _thinned(train), _thinned(points)
    scale = known.std(0)
    scale = np.where(scale > 0, scale, 1)
    tree = cKDTree(known / scale)
    # The nearest neighbour of a training point is itself.
    own = tree.query(known / scale, k=[_NEIGHBOURS + 1])[0]
    # Points that have run away to infinity are outside as well, but no tree takes them.
    finite = asked[np.isfinite(asked).all(1)]
    theirs = tree.query(finite / scale, k=[_NEIGHBOURS])[0]
    inside = np.less_equal(theirs, np.quantile(own, 1 - _OUTLYING))
    return 1 - float(np.sum(inside)) / len(asked)


def _thinned(x: Tensor) -> Array:
    keep = np.linspace(0, len(x) - 1, min(len(x), _POINTS)).round().astype(int)
    return x.double().cpu().numpy()[keep]
