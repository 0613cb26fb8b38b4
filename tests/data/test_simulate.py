import math

import pytest
import torch
import torchsde

import hollowpde as hp


class OU(torchsde.SDEIto):
    def __init__(self, noise_type="diagonal"):
        super().__init__(noise_type)

    def f(self, t, y):
        return -y

    def g(self, t, y):
        return 0.7 * torch.ones_like(y)


TIMES = torch.tensor([0.0, 0.1, 0.5, 2.0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_moments_of_the_ornstein_uhlenbeck_process(dtype):
    n = 20_000
    data = hp.simulate(OU(), torch.tensor([2.0], dtype=dtype), TIMES, n, seed=1)
    x = data.x.reshape(n, 4)
    assert x.dtype == dtype
    decay = torch.exp(-TIMES.to(dtype))
    mean, var = 2 * decay, 0.245 * (1 - decay**2)
    # Five standard errors: these fail by chance once in a million.
    assert ((x.mean(0) - mean).abs() <= 5 * (var / n).sqrt() + 1e-6).all()
    assert ((x.var(0) - var).abs() <= 5 * var * math.sqrt(2 / n) + 1e-6).all()


def test_same_seed_same_paths_and_global_state_untouched():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    a = hp.simulate(OU(), torch.tensor([2.0]), TIMES, 50, seed=5)
    b = hp.simulate(OU(), torch.tensor([2.0]), TIMES, 50, seed=5)
    c = hp.simulate(OU(), torch.tensor([2.0]), TIMES, 50, seed=6)
    assert torch.equal(a.x, b.x)
    assert not torch.equal(a.x, c.x)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_observation_step_is_not_the_integration_step():
    """A stiff drift: unstable if integrated with the observation step of 1."""

    class Stiff(OU):
        def f(self, t, y):
            return -9.0 * y

    data = hp.simulate(Stiff(), torch.tensor([1.0]), torch.tensor([0.0, 1.0, 2.0]), 2000)
    assert data.x.reshape(2000, 3)[:, 2].var() < 0.06


def test_times_are_scalars_and_the_state_a_batch():
    seen = []

    class Watch(OU):
        def f(self, t, y):
            seen.append((t.ndim, tuple(y.shape)))
            return -y

    hp.simulate(Watch(), torch.tensor([0.0, 1.0]), TIMES, 3)
    assert set(seen) == {(0, (3, 2))}


def test_starts_in_every_form():
    rows = torch.randn(4, 2)
    for x0 in (rows[0], rows, lambda n, generator: torch.randn(n, 2, generator=generator)):
        assert hp.simulate(OU(), x0, TIMES, 4).x.shape == (16, 2)


def test_declaring_simulates_nothing():
    def explode(n, generator):
        raise AssertionError("simulated")

    hp.SDEProblem(name="lazy", data=hp.Simulated(OU(), explode, TIMES, 10)).summary()


class Stratonovich(torchsde.SDEStratonovich):
    def __init__(self):
        super().__init__("diagonal")

    def f(self, t, y):
        return -y

    def g(self, t, y):
        return torch.ones_like(y)


class WrongDrift(OU):
    def f(self, t, y):
        return y.sum(-1)


class Explosive(OU):
    def f(self, t, y):
        return y**5


@pytest.mark.parametrize(
    ("sde", "error", "message"),
    [
        (Stratonovich(), hp.UnsupportedError, "stratonovich SDE, and only Ito"),
        (OU("general"), hp.UnsupportedError, "general noise, and only diagonal"),
        (OU("additive"), hp.UnsupportedError, "additive noise, and only diagonal"),
        (WrongDrift(), hp.InputError, r"f \(the drift\) must return the shape \(5, 1\)"),
        (object(), hp.InputError, "torchsde protocol"),
        (Explosive(), hp.InputError, "not finite at t ="),
    ],
)
def test_sdes_that_cannot_be_used(sde, error, message):
    with pytest.raises(error, match=message):
        hp.simulate(sde, torch.tensor([9.0]), TIMES, 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"times": torch.tensor([0.0, 0.0])}, "times must be an increasing"),
        ({"times": torch.tensor([0.0])}, "times must be an increasing"),
        ({"paths": 0}, "paths must be at least 1"),
        ({"step": -1.0}, "step must be positive"),
        ({"x0": torch.zeros(3, 1)}, r"x0 must give shape \(d,\) or \(5, d\)"),
        ({"x0": torch.tensor([1])}, "x0 must be floating-point"),
        ({"x0": torch.tensor([float("nan")])}, "x0 must be finite"),
    ],
)
def test_bad_arguments(change, message):
    arguments = {"sde": OU(), "x0": torch.tensor([0.0]), "times": TIMES, "paths": 5} | change
    with pytest.raises(hp.InputError, match=message):
        hp.simulate(**arguments)
