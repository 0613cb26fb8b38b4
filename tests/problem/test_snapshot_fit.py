"""Fits to snapshots: what is found, what is refused, and what is said of it."""

import copy
import dataclasses
from functools import partial

import numpy as np
import pytest
import torch
import torchsde
from rich.console import Console

import hollowpde as hp
from hollowpde.data import Points
from hollowpde.nets import ConstantField, LinearField
from hollowpde.problem import Compute
from hollowpde.problem.sde.matching import WeakCriterion
from hollowpde.problem.sde.verdict.scale import _drift_changes, scale_profiles
from hollowpde.problem.sde.verdict.verdict import Profile, loose
from hollowpde.residuals import RandomCosines, flux
from hollowpde.training import Progress, Trainer


def silent():
    return Progress(Console(quiet=True), lambda sentence: None)


LEAN = (
    "density.components=1",
    "density.optimiser.steps=20",
    "density.refine.steps=10",
)


class Linear(torchsde.SDEIto):
    def __init__(self, A, squared):
        super().__init__("diagonal")
        self.A, self.squared = torch.tensor(A), torch.tensor(squared)

    def f(self, t, y):
        return y @ self.A.to(y).T

    def g(self, t, y):
        return self.squared.sqrt().to(y).expand_as(y)


ou = Linear([[-1.0]], [0.49])
rotation = Linear([[-1.0, 1.5], [-1.5, -1.0]], [0.5, 0.5])


def from_two(n, generator):
    return 2 + 0.4 * torch.randn(n, 1, generator=generator)


def balanced(n, generator):
    return 0.245**0.5 * torch.randn(n, 1, generator=generator)


def round_about(n, generator):
    return 1.2 * torch.randn(n, 2, generator=generator)


def snapshots(sde=ou, start=from_two, n=1000, times=9, seed=0, last=2.0):
    return hp.Simulated(sde, start, torch.linspace(0, last, times), n, seed, 0.05, paired=False)


def problem(data=None, **settings):
    return hp.SDEProblem(name="x", data=data or snapshots(), truth=ou, **settings)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    return hp.fit(problem(), out, overrides=LEAN)


def test_drift_and_diffusion_are_found_without_a_path(fitted):
    assert fitted.metrics["drift_rel_l2"] < 0.1
    assert fitted.metrics["diffusion_rel_l2"] < 0.1
    assert "transition_nll" not in fitted.metrics
    assert fitted.verdict == [] and fitted.metrics["warnings"] == 0
    assert fitted.metrics["scale_low[0]"] < 1 < fitted.metrics["scale_high[0]"] * 1.05
    assert not (fitted.path / "verdict.txt").exists()


def test_a_run_is_loaded(fitted):
    loaded = hp.load(fitted.path, problem=hp.override(problem(), LEAN))
    x = torch.linspace(-1, 2, 7).unsqueeze(1)
    torch.testing.assert_close(loaded.sde.f(0.3, x), fitted.sde.f(0.3, x))
    torch.testing.assert_close(loaded.density.score(0.3, x), fitted.density.score(0.3, x))


class Interrupted(Exception):
    pass


def interrupted(stages, after):
    """The stages, of which the trainer gets no more than so many steps."""
    count = 0

    def counted(batches):
        def batch(generator, progress):
            nonlocal count
            count += 1
            if count > after:
                raise Interrupted
            return batches(generator, progress)

        return batch

    for stage in stages:
        yield dataclasses.replace(stage, batches=counted(stage.batches))


@pytest.mark.parametrize("after", [22, 27, 33, 42])
def test_a_resumed_fit_ends_like_one_that_was_not(after):
    settings = [*LEAN, "matching.first.steps=3", "matching.optimiser.steps=4"]
    data = snapshots(n=200, times=6)
    # A diffusion that does not fit, so that the next one is tried.
    low = hp.Known(lambda t, y: 0.1 * torch.ones_like(y))
    declared = hp.override(problem(data, diffusion=(low, hp.Constant())), settings)
    whole, stopped, again = (declared.begin(Compute(0)) for _ in range(3))
    Trainer(whole.model, 0, lambda state: None, silent()).run(whole.stages())
    saved = []
    trainer = Trainer(stopped.model, 0, lambda s: saved.append(copy.deepcopy(s)), silent())
    with pytest.raises(Interrupted):
        trainer.run(interrupted(stopped.stages(), after))
    resumed = Trainer(again.model, 0, lambda state: None, silent())
    resumed.restore(saved[-1])
    resumed.run(again.stages())
    assert int(whole.model.chosen) >= whole.model.ridges
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(again.model.state_dict()[name], value, rtol=0, atol=0)


def test_a_steady_state_is_refused(tmp_path):
    run = hp.fit(problem(snapshots(start=balanced)), tmp_path / "run", overrides=LEAN)
    assert run.metrics["refused"] == 1 and "drift_rel_l2" not in run.metrics
    assert len(run.verdict) == 1 and "ratio" in run.verdict[0]
    with pytest.raises(hp.UnsupportedError, match="not identified"):
        _ = run.sde
    x = torch.tensor([[0.5], [-0.4]])
    torch.testing.assert_close(run.drift_over_diffusion(1.0, x), -x / 0.49, rtol=0.2, atol=0.1)
    assert "What these data cannot tell" in (run.path / "report.html").read_text()
    loaded = hp.load(run.path, problem=hp.override(problem(snapshots(start=balanced)), LEAN))
    with pytest.raises(hp.UnsupportedError, match="not identified"):
        _ = loaded.sde


def test_a_steady_state_with_known_diffusion(tmp_path):
    known = hp.Known(lambda t, y: 0.49 * torch.ones_like(y))
    declared = problem(snapshots(start=balanced), diffusion=known)
    run = hp.fit(declared, tmp_path / "run", overrides=LEAN)
    assert run.metrics["drift_rel_l2"] < 0.2
    assert len(run.verdict) == 1 and "do not change" in run.verdict[0]


def test_a_steady_state_with_a_relaxation(tmp_path):
    short = snapshots(n=300, times=4, last=0.6)
    steady = hp.Steady(snapshots(start=balanced, n=2000))
    quick = [*LEAN, "matching.ridge=3", "matching.optimiser.steps=12"]
    alone = hp.fit(problem(short), tmp_path / "a", overrides=quick)
    both = hp.fit(problem(short, also=(steady,)), tmp_path / "b", overrides=quick)
    ratio = torch.tensor([[0.4], [-0.4]], dtype=torch.float64)

    def error(run):
        f, D = run.sde.drift(0.0, ratio), run.sde.diffusion(0.0, ratio)
        return float((f / D + ratio / 0.49).abs().max())

    # The steady state tells the ratio where the relaxation has hardly been.
    assert error(both) < 0.35 and error(both) < error(alone)


def test_paths_and_snapshots_together(tmp_path):
    paths = hp.simulate(ou, from_two, torch.linspace(0, 2, 9), 12, seed=3, step=0.05)
    quick = [*LEAN, "transition.first.steps=200", "transition.ridge=3"]
    constant = hp.Constant()
    together = problem(paths, also=(snapshots(),), diffusion=constant)
    alone = hp.fit(problem(paths, diffusion=constant), tmp_path / "a", overrides=quick)
    both = hp.fit(together, tmp_path / "b", overrides=quick)
    x = torch.linspace(-0.5, 2, 11, dtype=torch.float64).unsqueeze(1)
    errors = [float((run.sde.drift(0.0, x) + x).norm() / x.norm()) for run in (alone, both)]
    assert errors[1] < 0.12 and errors[1] < errors[0]
    loaded = hp.load(tmp_path / "b", problem=hp.override(together, quick))
    torch.testing.assert_close(loaded.sde.f(0.0, x), both.sde.f(0.0, x))


def test_a_rotation_is_warned_of(tmp_path):
    data = snapshots(rotation, round_about, n=1500)
    run = hp.fit(
        hp.SDEProblem(name="x", data=data, drift=hp.Linear()), tmp_path / "run", overrides=LEAN
    )
    assert any("rotation is invisible" in sentence for sentence in run.verdict)
    assert (run.path / "verdict.txt").read_text().splitlines() == run.verdict


@pytest.mark.parametrize("form", [hp.FluxForm(points=1500), hp.StrongForm(points=1500)])
def test_other_forms(tmp_path, form):
    run = hp.fit(
        problem(matching=form), tmp_path / "run",
        overrides=[LEAN[0], "density.optimiser.steps=600", "density.refine.steps=0"],
    )  # fmt: skip
    assert run.metrics["drift_rel_l2"] < 0.2
    assert run.metrics["diffusion_rel_l2"] < 0.3


def test_a_joint_stage(tmp_path):
    run = hp.fit(problem(), tmp_path / "run", overrides=[*LEAN, "joint.optimiser.steps=20"])
    assert "joint" in (run.path / "history.csv").read_text()
    assert run.metrics["drift_rel_l2"] < 0.1


def test_flux_of_a_known_process():
    """Of a Gaussian whose mean and spread move: -d_t F / p = m' + (x - m) s' / s."""
    p = hp.GaussianMixture(1, 1).double()
    x = torch.linspace(-1, 1, 9, dtype=torch.float64).unsqueeze(1)
    t = torch.full((9,), 0.3, dtype=torch.float64)

    def moments(s):
        zero = torch.zeros(1, 1, dtype=torch.float64)
        _, score, curvature = p.dimwise(s.reshape(1), zero, 2)
        return torch.stack([-score / curvature, (-1 / curvature).sqrt()]).flatten()

    mean, spread = moments(t[0])
    rates = torch.autograd.functional.jacobian(moments, t[0])
    velocity = rates[0] + (x - mean) * rates[1] / spread
    f, D = LinearField(1).double(), ConstantField(1).double()
    with torch.no_grad():
        f.A.fill_(-1.0)
        D.c.fill_(0.5)
    left = flux()([p, f, D], t, x)
    expected = (-velocity - x - 0.25 * p.score(t, x)).squeeze(1)
    torch.testing.assert_close(left, expected)


def test_the_flux_form_is_refused_where_the_density_does_not_determine_it():
    data = snapshots(rotation, round_about, n=100)
    with pytest.raises(hp.UnsupportedError, match=r"Use drift=hp.Gradient\(\)"):
        hp.SDEProblem(name="x", data=data, matching=hp.FluxForm()).begin(Compute(0))


light = hp.Gradient(partial(hp.SeparableNet, features=4, inner=(8,), outer=(8,)))


def far_away(n, generator):
    return torch.tensor([2.0, 0.5]) + 0.2 * torch.randn(n, 2, generator=generator)


@pytest.mark.parametrize("paired", [False, True])
def test_a_gradient_is_one_in_the_units_of_the_user(tmp_path, paired):
    sde = Linear([[-1.0, -0.5], [-0.5, -2.0]], [0.5, 0.02])
    data = hp.Simulated(sde, far_away, torch.linspace(0, 2, 9), 300, 0, 0.05, paired=paired)
    drift = light if paired else hp.Known(lambda t, y: -y, plus=light)
    run = hp.fit(
        hp.SDEProblem(name="x", data=data, drift=drift), tmp_path / "run",
        overrides=[
            "matching.first.steps=2", "matching.optimiser.steps=2", "transition.first.steps=5",
            "transition.whole.steps=2", *LEAN,
        ],
    )  # fmt: skip
    field = run.sde.drift
    x = torch.tensor([[1.0, -0.1], [0.3, 0.2]], dtype=torch.float64)
    J = torch.func.vmap(torch.func.jacfwd(lambda y: field(torch.zeros(()), y)))(x)
    assert J[:, 0, 1].abs().min() > 1e-4
    torch.testing.assert_close(J, J.mT, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("form", [hp.FluxForm(), hp.WeakForm()])
def test_a_gradient_drift_is_found(tmp_path, form):
    """A potential that couples coordinates of unlike units."""
    sde = Linear([[-1.0, -0.5], [-0.5, -1.2]], [0.5, 0.2])
    data = hp.Simulated(sde, far_away, torch.linspace(0, 2, 15), 1000, 0, 0.05, paired=False)
    run = hp.fit(
        hp.SDEProblem(name="x", data=data, truth=sde, drift=light, matching=form),
        tmp_path / "run",
        overrides=["matching.ridge=3", "matching.optimiser.steps=6", *LEAN],
    )
    assert run.metrics["drift_rel_l2"] < 0.12
    assert run.metrics["diffusion_rel_l2"] < 0.12
    # Verdicts rest on the noise of the equations, whatever they are weighed by.
    assert run.metrics["weak_p"] > 1e-3 and run.verdict == []


def test_a_gradient_is_found_beside_a_known_rotation(tmp_path):
    turn = 0.8
    sde = Linear([[-1.0, -0.5 - turn], [-0.5 + turn, -1.2]], [0.5, 0.2])
    data = hp.Simulated(sde, far_away, torch.linspace(0, 2, 15), 1000, 0, 0.05, paired=False)
    known = hp.Known(lambda t, y: turn * torch.stack([-y[:, 1], y[:, 0]], 1), plus=light)
    problem = hp.SDEProblem(name="x", data=data, truth=sde, drift=known, matching=hp.FluxForm())
    short = ["matching.ridge=3", "matching.optimiser.steps=6", *LEAN]
    run = hp.fit(problem, tmp_path / "run", overrides=short)
    assert run.metrics["drift_rel_l2"] < 0.12 and run.metrics["diffusion_rel_l2"] < 0.12


@pytest.mark.parametrize("beside", [None, lambda t, y: -y])
def test_a_gradient_might_have_been_another_gradient_and_nothing_else(beside):
    sde = Linear([[-1.0, -0.5], [-0.5, -2.0]], [0.5, 0.02])
    data = hp.Simulated(sde, far_away, torch.linspace(0, 2, 9), 100, 0, 0.05, paired=False)
    drift = light if beside is None else hp.Known(beside, plus=light)
    model = hp.SDEProblem(name="x", data=data, drift=drift).begin(Compute(0)).model
    pair, scale = model.pair(0), model.standardisation.scale
    changes = list(_drift_changes(pair, [1.0, 3.0]))
    assert len(changes) == 2 + 3 + 120
    z = torch.randn(5, 2)
    for change in changes:
        t = torch.zeros(1)
        J = torch.func.vmap(torch.func.jacfwd(lambda y, f=change: f(t, y[None])[0]))(z)  # noqa: B023
        J = scale[:, None] * J / scale
        torch.testing.assert_close(J, J.mT, rtol=1e-4, atol=1e-6)
    # Waves together are of the size of the drift, on average over coordinates in the units in
    # which they are a gradient: of 120 frequencies the root mean square is known to 7 %.
    z = torch.randn(2000, 2)
    waves = sum(change(torch.zeros(2000), z).square() for change in changes[5:]).mean(0).sqrt()
    factors = scale**-2
    expected = ((torch.tensor([1.0, 3.0]) / factors).mean() * factors).to(waves)
    torch.testing.assert_close(waves, expected, rtol=0.2, atol=0)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"observation": hp.ObservationNoise(sd=0.1)}, "observation"),
        ({"uncertainty": hp.Bootstrap(members=4)}, "uncertainty"),
    ],
)
def test_what_needs_paths_is_refused(settings, match):
    with pytest.raises(hp.UnsupportedError, match=match):
        problem(**settings).begin(Compute(0))


def test_further_data_must_fit():
    with pytest.raises(hp.InputError, match=r"also\[0\].*coordinates"):
        problem(also=(snapshots(rotation, round_about, n=50),)).begin(Compute(0))
    with pytest.raises(hp.InputError, match="unpaired"):
        paths = hp.simulate(ou, from_two, torch.linspace(0, 1, 3), 20)
        problem(also=(paths,)).begin(Compute(0))
    one_time = hp.Trajectories.from_snapshots([0.0], [torch.randn(200, 1)])
    with pytest.raises(hp.InputError, match="at least two"):
        problem(one_time).begin(Compute(0))


@pytest.mark.parametrize("ridge", [(), (-1.0,)])
def test_ridges(ridge):
    with pytest.raises(hp.InputError, match="ridge"):
        hp.WeakForm(ridge=ridge)


def test_profiles_are_those_of_a_fit_anew():
    """For a linear drift, by least squares with D held at each scale."""
    declared = problem(snapshots(n=500), drift=hp.Linear())
    begun = hp.override(declared, LEAN).begin(Compute(0))
    Trainer(begun.model, 0, lambda state: None, silent()).run(begun.stages())
    pair, weak = begun.model.best, begun.equations
    (profile,) = scale_profiles(weak, pair, ["x"], [True])
    with torch.no_grad():
        weak.weigh(pair.drift, pair.diffusion)
        basis = [lambda t, x: torch.ones_like(x), lambda t, x: x]

        def lowest(c):
            held = lambda t, x: c * pair.diffusion(t, x)  # noqa: E731
            left = weak.leftovers(lambda t, x: 0 * x, held).double()
            pull = weak.pull(lambda t, x: 0 * x, held).double()
            J = torch.stack([weak.leftovers(b, held) - left for b in basis], 1).double()
            g = torch.stack([weak.pull(b, held) - pull for b in basis]).double()
            theta = torch.linalg.solve(J.T @ J, g - J.T @ left)
            w = left + J @ theta
            return float(w @ w - 2 * (pull + g @ theta))

        values = {c: lowest(c) for c in (0.9, 1.0, 1.1)}
    seen = {c: np.interp(c, profile.factors, profile.excess) for c in values}
    for c in (0.9, 1.1):
        assert seen[c] - seen[1.0] == pytest.approx(values[c] - values[1.0], rel=0.02, abs=0.3)
    assert not profile.flat


def test_a_flat_profile_is_reported():
    factors = np.exp(np.linspace(-1.4, 1.4, 101))
    flat = Profile("D", factors, 0.5 * (factors - 1) ** 2)
    steep = Profile("D", factors, 900 * (factors - 1) ** 2)
    assert flat.flat and not steep.flat
    assert loose(steep, "why") == []
    assert "far less" in loose(flat, "Because.")[0] and loose(flat, "Because.")[0].endswith(".")
    low, high = steep.interval
    assert 0.94 < low < 1 < high < 1.06


def test_a_profile_away_from_the_fit_is_reported_as_such():
    factors = np.exp(np.linspace(-1.4, 1.4, 101))
    # Narrower than the factors that are tried, or beyond them: the best of these.
    sharp = Profile("D", factors, 1e9 * (factors - 1.01) ** 2)
    nearest = factors[np.abs(factors - 1.01).argmin()]
    assert sharp.interval == (nearest, nearest) and loose(sharp, "why") == []
    beyond = Profile("D", factors, 900 * (factors - 5) ** 2)
    assert beyond.interval == (factors[-1], factors[-1])
    (sentence,) = loose(beyond, "why")
    assert "far more than" in sentence and "hp.WeakForm()" in sentence
    twice = Profile("D", factors, 900 * (factors - 2) ** 2)
    (sentence,) = loose(twice, "why")
    assert "from 2 to 2" in sentence and "not identified" not in sentence


def test_little_data_says_little_of_the_scale():
    data = hp.Simulated(ou, from_two, torch.linspace(0, 0.1, 3), 60, 0, 0.05, paired=False).load()
    points = Points(data.t.float(), data.x.float(), data.path)
    weak = WeakCriterion(RandomCosines(20), points, None, True, 0)
    begun = problem(data).begin(Compute(0))
    (profile,) = scale_profiles(weak, begun.model.pair(0), ["x"], [True])
    assert profile.flat


def test_paths_seen_too_rarely_are_warned_of(tmp_path):
    """After ten relaxation times nothing is left of how fast it went."""
    rare = hp.simulate(ou, balanced, torch.linspace(0, 40, 5), 200, step=0.1)
    often = hp.simulate(ou, from_two, torch.linspace(0, 2, 9), 100, step=0.05)
    quick = [*LEAN, "transition.first.steps=200", "transition.whole.steps=4"]
    warned = hp.fit(problem(rare), tmp_path / "rare", overrides=quick)
    assert any("speed" in sentence for sentence in warned.verdict)
    silent = hp.fit(problem(often), tmp_path / "often", overrides=quick)
    assert silent.verdict == []
    assert silent.metrics["speed_low"] < 1 < silent.metrics["speed_high"]
