"""Observation noise: the filter against joint normals, and fits that see through the noise."""

import math

import pytest
import torch

import hollowpde as hp
from hollowpde.data import Pairs, windows
from hollowpde.likelihoods import Filtered
from hollowpde.problem import Compute
from hollowpde.problem.sde.observation import NoiseLevel, Observation
from tests.core.families import Explicit
from tests.core.test_likelihoods import linear, van_loan
from tests.problem.test_structure import OU, SDE, paths

RATE, NOISE, SEEN = 1.3, 0.5, 0.04


def ornstein_uhlenbeck():
    drift = Explicit(lambda t, x: -RATE * x)
    return drift, Explicit(lambda t, x: torch.full_like(x, NOISE))


def pairs(n=40, times=9, seed=0, dim=1):
    generator = torch.Generator().manual_seed(seed)
    data = []
    for k in range(n):
        m = int(torch.randint(2, times + 1, (1,), generator=generator))
        t = torch.rand(m, generator=generator).double().cumsum(0)
        x = torch.randn(m, dim, generator=generator).double()
        data.append(Pairs(t[:-1], x[:-1], t.diff(), x[1:], torch.full((m - 1,), k)))
    return Pairs(*(torch.cat(columns) for columns in zip(*data, strict=True)))


@pytest.mark.parametrize(("length", "lead"), [(1, 0), (3, 2), (4, 0), (100, 7)])
def test_windows_score_every_transition_once_and_in_order(length, lead):
    rows = pairs(seed=length)
    cut = windows(rows, length, lead)
    for name in ("t", "step", "x_next"):
        torch.testing.assert_close(getattr(cut, name)[cut.scored], getattr(rows, name))
    torch.testing.assert_close(cut.path.repeat_interleave(cut.scored.sum(1)), rows.path)
    # Within a window each transition starts where the one before it ended.
    joins = (cut.t + cut.step)[:, :-1] - cut.t[:, 1:]
    padding = cut.t[:, 1:] == cut.t[:, :-1]
    assert joins[~padding].abs().max() < 1e-12 if (~padding).any() else length == 1


def joint(rows):
    """The exact law of the observations of one window, given the first; by covariances."""
    at = torch.cat([torch.zeros(1).double(), rows.step.cumsum(0)])[1:]
    decay = (-RATE * at).exp()
    mean = (1 - SEEN) * rows.x * decay
    # Known beforehand to be N(0, 1 - SEEN), the state is near the first observation, and there is
    # noise on top.
    between = (-RATE * (at[:, None] - at[None]).abs()).exp()
    stationary = NOISE / (2 * RATE)
    earlier = torch.minimum(at[:, None], at[None])
    covariance = stationary * between * (1 - (-2 * RATE * earlier).exp())
    first = (1 - SEEN) * SEEN * decay[:, None] * decay[None]
    covariance = covariance + first + SEEN * torch.eye(len(at)).double()
    return torch.distributions.MultivariateNormal(mean, covariance)


@pytest.mark.parametrize("nodes", [1, 2])
def test_the_filter_of_a_linear_drift_is_exact(nodes):
    rows = windows(pairs(), 5, 0)
    likelihood = Filtered(hp.MomentClosure(nodes))
    got = likelihood.log_prob(
        *ornstein_uhlenbeck(), torch.tensor([SEEN], dtype=torch.float64), rows
    )
    for k in range(len(rows.t)):
        m = int(rows.scored[k].sum())
        one = type(rows)(*(column[k] for column in rows))
        one = one._replace(step=one.step[:m], x=one.x)
        exact = joint(one).log_prob(one.x_next[:m, 0])
        assert got[k].item() == pytest.approx(float(exact), rel=1e-10, abs=1e-10)


def test_the_lead_is_filtered_but_not_scored():
    rows = pairs(times=20)
    noise = torch.tensor([SEEN], dtype=torch.float64)
    likelihood = Filtered(hp.MomentClosure(1))
    whole = likelihood.log_prob(*ornstein_uhlenbeck(), noise, windows(rows, 100, 0)).sum()
    gaps = []
    for lead in (0, 1, 3, 8):
        cut = likelihood.log_prob(*ornstein_uhlenbeck(), noise, windows(rows, 3, lead)).sum()
        gaps.append((cut - whole).abs().item())
    assert gaps[0] > gaps[1] > gaps[2] > gaps[3] and gaps[3] < 1e-3 * gaps[0]


def test_uniforms_are_those_of_the_conditional_laws():
    drift, diffusion = ornstein_uhlenbeck()
    rows = windows(pairs(n=3, times=4), 3, 0)
    u = Filtered(hp.MomentClosure()).uniforms(
        drift, diffusion, torch.tensor([SEEN], dtype=torch.float64), rows
    )
    assert u.shape == (int(rows.scored.sum()), 1)
    exact = []
    for k in range(len(rows.t)):
        m = int(rows.scored[k].sum())
        law = joint(type(rows)(*(column[k] for column in rows))._replace(step=rows.step[k, :m]))
        z = torch.linalg.solve_triangular(
            law.scale_tril, (rows.x_next[k, :m] - law.mean[:, None]), upper=False
        )
        exact.append(torch.special.ndtr(z))
    torch.testing.assert_close(u, torch.cat(exact))


def test_gradients_with_coupled_dimensions():
    rows = windows(pairs(n=2, times=4, dim=2), 3, 1)
    matrix = torch.tensor([[-1.0, 0.6], [-0.4, -0.7]]).double().requires_grad_()
    noise = torch.tensor([0.1, 0.3]).double().requires_grad_()
    spread = torch.tensor([0.5, 0.2]).double().requires_grad_()

    def value(matrix, spread, noise):
        drift = Explicit(lambda t, x: x @ matrix.T)
        diffusion = Explicit(lambda t, x: spread.expand_as(x))
        return Filtered(hp.MomentClosure()).log_prob(drift, diffusion, noise, rows)

    assert torch.autograd.gradcheck(value, (matrix, spread, noise))


def test_the_filter_of_coupled_dimensions_against_the_joint_law():
    # All states and observations of a path as one normal law, from the exact transitions.
    matrix, spread = [[-1.0, 0.8], [-0.5, -1.2]], [0.5, 0.2]
    noise = torch.tensor([0.1, 0.3], dtype=torch.float64)
    steps = torch.full((4,), 0.02, dtype=torch.float64)
    seen = torch.randn(5, 2, generator=torch.Generator().manual_seed(0)).double()
    path = torch.zeros(4, dtype=torch.long)
    rows = windows(Pairs(steps.cumsum(0) - steps, seen[:-1], steps, seen[1:], path), 4, 0)
    flow, added = van_loan(matrix, spread, 0.02)
    mean = (1 - noise) * seen[0]
    blocks = {(0, 0): ((1 - noise) * noise).diag()}
    means = []
    for n in range(1, 5):
        mean = flow @ mean
        means.append(mean)
        for m in range(n):
            blocks[n, m] = flow @ blocks[n - 1, m]
            blocks[m, n] = blocks[n, m].T
        blocks[n, n] = flow @ blocks[n - 1, n - 1] @ flow.T + added
    covariance = torch.cat(
        [torch.cat([blocks[n, m] for m in range(1, 5)], dim=1) for n in range(1, 5)]
    )
    covariance = covariance + noise.repeat(4).diag()
    exact = torch.distributions.MultivariateNormal(torch.cat(means), covariance)
    field, level = torch.tensor(spread, dtype=torch.float64), Filtered(hp.MomentClosure(3))
    got = level.log_prob(linear(matrix), Explicit(lambda t, x: field.expand_as(x)), noise, rows)
    torch.testing.assert_close(got[0], exact.log_prob(seen[1:].flatten()), rtol=0, atol=2e-3)
    swapped = level.log_prob(
        linear(matrix), Explicit(lambda t, x: field.expand_as(x)), noise.flip(0), rows
    )
    assert abs(swapped - got).item() > 0.1  # the tolerance tells noise levels apart


def test_a_linear_drift_starts_without_the_slope_of_the_noise():
    data = paths(OU, [2.0], times=60, n=300, dt=0.05)
    x = data.x + 0.3 * torch.randn(data.x.shape, generator=torch.Generator().manual_seed(0))
    problem = hp.SDEProblem(
        name="x", data=hp.Trajectories(data.t, x, data.path), drift=hp.Linear(),
        diffusion=hp.Constant(), observation=hp.ObservationNoise(sd=0.3),
    )  # fmt: skip
    fit = problem.begin(Compute(0))
    fit.model.components.fill_(1)
    ends = fit.learned.sde.drift(0.0, torch.tensor([[1.0], [2.0]]))
    assert (ends[1] - ends[0]).item() == pytest.approx(-1.5, abs=0.5)


def test_noise_starts_from_what_increments_take_back():
    data = paths(OU, [2.0], times=40, n=400, dt=0.05)
    x = data.x + 0.3 * torch.randn(data.x.shape, generator=torch.Generator().manual_seed(0))
    level = NoiseLevel(1, None)
    level.start_from(hp.Trajectories(data.t, x, data.path).pairs(), torch.ones(1))
    assert level.sd.item() == pytest.approx(0.3, rel=0.05)
    level.start_from(data.pairs(), torch.ones(1))
    assert 0 < level.sd.item() < 0.05
    given = NoiseLevel(2, (0.4,))
    given.start_from(data.pairs(), torch.tensor([2.0, 4.0]))
    assert given.sd.tolist() == pytest.approx([0.2, 0.1])


def test_a_density_seen_with_noise_is_the_convolution():
    density = hp.GaussianMixture(2, 3).double()
    y, variance = torch.randn(5, 2).double(), torch.tensor([0.2, 0.5], dtype=torch.float64)
    nodes = torch.linspace(-8, 8, 161, dtype=torch.float64)
    noise = torch.stack(torch.meshgrid(nodes, nodes, indexing="ij"), -1).reshape(-1, 1, 2)
    p = (density.log_prob(0.3, y - noise * variance.sqrt()) - noise.square().sum(-1) / 2).exp()
    expected = p.sum(0) * (nodes[1] - nodes[0]) ** 2 / (2 * math.pi)
    got = density.noisy_log_prob(torch.tensor(0.3, dtype=torch.float64), y, variance)
    torch.testing.assert_close(got.exp(), expected, rtol=1e-6, atol=0)


class Prior(hp.Density):
    """A standard normal, or a lognormal where the states are positive."""

    def __init__(self, positive):
        super().__init__()
        self.positive = positive

    def dimwise(self, t, x, order):
        z = x.log() if self.positive else x
        log_p = -0.5 * z.square() - (z if self.positive else 0)
        return (log_p.sum(-1),)

    def sample(self, t, n, generator=None):
        raise NotImplementedError


@pytest.mark.parametrize("positive", [False, True])
def test_states_are_drawn_given_what_is_seen(positive):
    # Of a normal state with variance 1, seen with variance 1/2: the mean is 2/3 y, variance 1/3.
    noise = Observation(torch.tensor([math.sqrt(0.5)]), torch.tensor([positive]))
    y = torch.full((4000, 1), 1.2)
    seen = y.exp() if positive else y
    generator = torch.Generator().manual_seed(0)
    x = noise.state(Prior(positive), torch.zeros(4000), seen, generator)
    z = x.log() if positive else x
    assert z.mean().item() == pytest.approx(0.8, abs=0.04)
    assert z.var().item() == pytest.approx(1 / 3, rel=0.1)
    again = noise.seen(x, generator)
    error = again.log() - z if positive else again - z
    assert error.std().item() == pytest.approx(math.sqrt(0.5), rel=0.05)


SHORT = (
    "density.components=1",
    "density.optimiser.steps=300",
    "density.refine.steps=0",
    "transition.ridge=1.0",
    "transition.whole.steps=6",
)


def noisy(sd, sde=OU, x0=(2.0,)):
    data = paths(sde, list(x0), times=11, n=300)
    error = sd * torch.randn(data.x.shape, generator=torch.Generator().manual_seed(5))
    return hp.Trajectories(data.t, data.x + error, data.path, data.names)


def test_a_fit_sees_through_the_noise(tmp_path):
    def fitted(observation, out):
        problem = hp.SDEProblem(
            name="noisy", truth=OU, data=noisy(0.15), observation=observation,
            diffusion=hp.Constant(), drift=hp.Linear(), uncertainty=hp.Bootstrap(2),
        )  # fmt: skip
        hp.fit(problem, tmp_path / out, overrides=SHORT)
        return hp.load(tmp_path / out, problem=problem)

    run = fitted(hp.ObservationNoise(sd=None), "fitted")
    assert run.metrics["observation.sd"] == pytest.approx(0.15, rel=0.1)
    low, high = run.metrics["observation.sd_low"], run.metrics["observation.sd_high"]
    assert low < run.metrics["observation.sd"] < high
    assert run.metrics["diffusion_rel_l2"] < 0.15
    assert run.metrics["residual_variance_worst"] == pytest.approx(1, abs=0.15)
    given = fitted(hp.ObservationNoise(sd=0.15), "given")
    assert "observation.sd" not in given.metrics
    assert given.metrics["diffusion_rel_l2"] < 0.1
    blind = fitted(hp.ObservationNoise(), "blind")
    assert blind.metrics["diffusion_rel_l2"] > 0.5
    # The noise is no part of the density, but of what is seen of it.
    assert given.density.sample(1.0, 4000).std() < 0.95 * blind.density.sample(1.0, 4000).std()
    assert given.metrics["density_nll"] == pytest.approx(blind.metrics["density_nll"], abs=0.1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: hp.ObservationNoise(sd=-1.0), "none negative, all finite, but is -1.0"),
        (lambda: hp.ObservationNoise(sd=math.nan), "none negative, all finite, but is nan"),
        (lambda: hp.ObservationNoise(sd=()), "sd must be a number, a tuple of numbers or None"),
        (lambda: hp.ObservationNoise(sd="0.1"), "sd must be a number, a tuple of numbers or None"),
        (
            lambda: hp.SDEProblem(name="x", data=noisy(0.1), observation=0.1),
            "observation must be hp.ObservationNoise",
        ),
        (lambda: hp.ObservationNoise(sd=(0.1, 0.0)), "sd must be positive in every coordinate"),
        (lambda: hp.ObservationNoise(sd=0.1, window=0), "window must be at least 1"),
    ],
)
def test_settings_out_of_range(make, message):
    with pytest.raises(hp.InputError, match=message):
        make()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"observation": hp.ObservationNoise(sd=(0.1, 0.2))}, "one for each of 1 coordinates"),
        (
            {
                "observation": hp.ObservationNoise(sd=0.1),
                "transition": hp.TransitionFit(likelihood=hp.EulerMaruyama()),
            },
            "likelihood must be hp.MomentClosure",
        ),
    ],
)
def test_noise_that_does_not_fit_the_problem(settings, message):
    problem = hp.SDEProblem(name="x", data=noisy(0.1), **settings)
    with pytest.raises(hp.InputError, match=message):
        problem.begin(Compute(0))


def test_too_many_dimensions_for_a_filter():
    data = hp.Trajectories.from_dense(torch.arange(3.0), torch.randn(40, 3, 17))
    problem = hp.SDEProblem(name="x", data=data, observation=hp.ObservationNoise(sd=0.1))
    with pytest.raises(hp.UnsupportedError, match="up to 16 dimensions, but there are 17"):
        problem.begin(Compute(0))


def test_much_noise_is_not_taken_for_mean_reversion():
    # The noise of one observation is ten times what the process moves in a step.
    speed, noise = 1.5, 0.36
    data = paths(SDE(lambda y: -speed * y, lambda y: noise**0.5 + 0 * y), [0.0], 151, 100, 0.02)
    late = data.select(data.t > 1)
    seen = late.x + 0.27 * torch.randn(late.x.shape, generator=torch.Generator().manual_seed(1))
    scale = float(seen.std())
    rows = hp.Trajectories(late.t, seen / scale, late.path).double().pairs()
    level = torch.tensor([(0.27 / scale) ** 2], dtype=torch.float64)

    def nll(rate):
        drift = Explicit(lambda t, x: -rate * x)
        diffusion = Explicit(lambda t, x: torch.full_like(x, noise / scale**2))
        cut = windows(rows, 6, 2)
        return -Filtered(hp.MomentClosure(1)).log_prob(drift, diffusion, level, cut).sum()

    best = min(torch.arange(0.5, 5.0, 0.25).tolist(), key=nll)
    assert best == pytest.approx(speed, abs=0.51)
