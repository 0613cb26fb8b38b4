import pytest
import torch

import hollowpde as hp
from hollowpde.data import Standardisation


def ragged():
    """Three paths of lengths 3, 1 and 2."""
    t = torch.tensor([0.0, 1.0, 2.5, 0.5, 0.0, 3.0])
    x = torch.arange(12.0).reshape(6, 2)
    return hp.Trajectories(t, x, torch.tensor([7, 7, 7, 2, 5, 5]))


def test_pairs_do_not_straddle_paths():
    pairs = ragged().pairs()
    assert pairs.t.tolist() == [0.0, 1.0, 0.0]
    assert pairs.step.tolist() == [1.0, 1.5, 3.0]
    assert pairs.path.tolist() == [7, 7, 5]
    assert torch.equal(pairs.x_next - pairs.x, torch.full((3, 2), 2.0))


def test_paths_and_starts():
    data = ragged()
    assert data.paths == 3
    assert [len(t) for t, _ in data.each()] == [3, 1, 2]
    assert data.names == ("x1", "x2")


def test_split_deals_whole_paths():
    data = hp.Trajectories.from_dense(torch.arange(4.0), torch.randn(50, 4, 1))
    parts = data.split((0.8, 0.1, 0.1), seed=3)
    numbers = [set(part.path.tolist()) for part in parts]
    assert [len(n) for n in numbers] == [40, 5, 5]
    assert set.union(*numbers) == set(range(50))
    assert sum(len(part) for part in parts) == 200
    again = data.split((0.8, 0.1, 0.1), seed=3)
    other = data.split((0.8, 0.1, 0.1), seed=4)
    assert torch.equal(parts.test.path, again.test.path)
    assert not torch.equal(parts.test.path, other.test.path)


@pytest.mark.parametrize(
    ("t", "x", "path", "message"),
    [
        ([0.0, 1.0], [[0.0], [float("nan")]], [0, 0], "x must be finite, but 1 of its 2 values"),
        ([0.0, float("inf")], [[0.0], [1.0]], [0, 0], "t must be finite"),
        ([0.0, 0.0], [[0.0], [1.0]], [0, 0], "t must increase along each path"),
        ([1.0, 0.0], [[0.0], [1.0]], [0, 0], "t must increase along each path"),
        ([0.0, 1.0, 2.0], [[0.0], [1.0], [2.0]], [0, 1, 0], "contiguous"),
        ([0.0], [[0.0], [1.0]], [0, 0], r"t must have shape \(2,\)"),
        ([0.0, 1.0], [0.0, 1.0], [0, 0], r"x must have shape \(M, d\)"),
    ],
)
def test_bad_tables_are_refused(t, x, path, message):
    with pytest.raises(hp.InputError, match=message):
        hp.Trajectories(torch.tensor(t), torch.tensor(x), torch.tensor(path))


def test_too_few_paths_to_split():
    data = hp.Trajectories.from_dense(torch.arange(3.0), torch.randn(2, 3, 1))
    with pytest.raises(hp.InputError, match="at least 3"):
        data.split((0.8, 0.1, 0.1), seed=0)


def test_standardised_units():
    # Time stamps that float32 cannot tell apart.
    t = torch.arange(5, dtype=torch.float64) + 1.7e9
    x = 3.0 + 2.0 * torch.randn(100, 5, 2, dtype=torch.float64)
    data = hp.Trajectories.from_dense(t, x)
    units = Standardisation(2)
    units.measure(data)
    points = units.points(data, torch.float32)
    assert points.t[:5].tolist() == [-1.0, -0.5, 0.0, 0.5, 1.0]
    assert torch.allclose(points.x.mean(0), torch.zeros(2), atol=1e-5)
    assert torch.allclose(points.x.std(0), torch.ones(2), atol=1e-5)
    assert units.pairs(data, torch.float32).step.unique().tolist() == [0.5]


def test_constant_coordinate_is_named():
    x = torch.randn(10, 3, 2)
    x[..., 1] = 4.0
    data = hp.Trajectories.from_dense(torch.arange(3.0), x, names=("height", "weight"))
    with pytest.raises(hp.InputError, match="'weight' is constant"):
        Standardisation(2).measure(data)
