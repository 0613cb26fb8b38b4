"""The benchmark of autoencoders: posteriors, training, judgement, tables, the command."""

import json
import math
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from hollowpde.bench.sde.cells import Cell, Store
from hollowpde.bench.vae import QUICK, cells, poster
from hollowpde.bench.vae.cells import Measure, Trained
from hollowpde.bench.vae.checkpoint import file_of, save, saved
from hollowpde.bench.vae.images import Images, split
from hollowpde.bench.vae.judge import bound, exactly, judge
from hollowpde.bench.vae.model import DIM, FEATURES, VAE, build
from hollowpde.bench.vae.posteriors import (
    FFJORD,
    GAUSSIAN,
    HOLLOW,
    IAF,
    KINDS,
    Continuous,
    Gaussian,
)
from hollowpde.bench.vae.settings import Settings
from hollowpde.bench.vae.tables import tables
from hollowpde.bench.vae.train import Training
from hollowpde.cli import app
from hollowpde.densities.cnf import RK4, ExactTrace, HutchinsonTrace
from hollowpde.errors import InputError, TrainingError

VAES = list(KINDS)


def needed(kind):
    if kind == "iaf":
        pytest.importorskip("zuko")
    return kind


def images(number=40, name="mine"):
    """Squares of some brightness, somewhere."""
    generator = np.random.default_rng(0)
    values = np.zeros((number, 28, 28), np.uint8)
    for image in values:
        row, column = generator.integers(0, 18, 2)
        image[row : row + 10, column : column + 10] = generator.integers(150, 256)
    return Images(name, values.reshape(number, 784), values[:9].reshape(9, 784))


def settings(**changes):
    return replace(Settings.of(images(), QUICK), batch=10, **changes)


def stirred(posterior, dim):
    """In double precision, with parameters large enough to bend what it does."""
    torch.manual_seed(1)
    for parameter in posterior.parameters():
        torch.nn.init.normal_(parameter, std=min(0.4, parameter.shape[-1] ** -0.5))
    return posterior.double(), torch.randn(2, 6).double(), torch.randn(2, dim).double()


@pytest.mark.parametrize("kind", VAES)
def test_the_density_is_that_of_what_is_drawn(kind):
    """log q against the whole Jacobian from noise to code, by automatic differentiation."""
    dim = 16 if kind == "sylvester" else 5
    posterior, h, noise = stirred(KINDS[needed(kind)].make(6, dim), dim)
    if isinstance(posterior, Continuous):
        # Of the equation itself: so fine that its discretisation does not count.
        posterior.trace, posterior.solver = ExactTrace(), RK4(40)
    draw = posterior(h, noise)
    assert draw.z.shape == (2, dim) and draw.log_q.shape == (2,)
    for k in range(2):
        jacobian = torch.autograd.functional.jacobian(
            lambda e, k=k: posterior(h, torch.stack([e, e])).z[k], noise[k]
        )
        normal = torch.distributions.Normal(0.0, 1.0).log_prob(noise[k]).sum()
        expected = normal - jacobian.slogdet().logabsdet
        torch.testing.assert_close(draw.log_q[k], expected, rtol=1e-6, atol=1e-6)
    # A flow, and not a Gaussian: the Jacobian depends on where it is.
    if kind != GAUSSIAN:
        other = posterior(h, noise + 1).log_q - torch.distributions.Normal(0, 1).log_prob(
            noise + 1
        ).sum(-1)
        here = draw.log_q - torch.distributions.Normal(0, 1).log_prob(noise).sum(-1)
        assert (other - here).abs().min() > 1e-3


@pytest.mark.parametrize("kind", VAES)
def test_every_image_has_a_flow_of_its_own(kind):
    dim = 16
    posterior, h, _ = stirred(KINDS[needed(kind)].make(6, dim), dim)
    with exactly(VAE(posterior)):
        noise = torch.randn(3, 2, dim).double()
        several = posterior(h, noise)
        one = posterior(h, noise[1])
        z = torch.zeros(2, dim).double()
        moved, log_det, _ = posterior.carry(h, z, None)
    torch.testing.assert_close(several.z[1], one.z)
    torch.testing.assert_close(several.log_q[1], one.log_q)
    if kind != GAUSSIAN:
        assert not torch.allclose(moved[0], moved[1]) and log_det[0] != log_det[1]


def test_the_probe_is_no_bias_and_only_of_training():
    torch.manual_seed(0)
    posterior, h, noise = stirred(KINDS[FFJORD].make(6, 5), 5)
    assert isinstance(posterior.trace, HutchinsonTrace)
    generator = torch.Generator().manual_seed(0)
    many = torch.stack([posterior(h, noise, generator).log_q.detach() for _ in range(300)])
    vae = VAE(posterior)
    with exactly(vae):
        exact = posterior(h, noise).log_q
    assert isinstance(posterior.trace, HutchinsonTrace)
    error = many.std(0) / math.sqrt(300)
    assert (many.std(0) > 0).all() and ((many.mean(0) - exact).abs() < 4 * error).all()


def test_all_begin_alike():
    plain = build(GAUSSIAN, 3)
    for kind in VAES:
        other = build(needed(kind), 3).state_dict()
        assert all(torch.equal(other[key], value) for key, value in plain.state_dict().items())
    assert not torch.equal(plain.encoder[0].weight, build(GAUSSIAN, 4).encoder[0].weight)
    probe, exact = build(FFJORD, 3).state_dict(), build(HOLLOW, 3).state_dict()
    assert all(torch.equal(probe[key], value) for key, value in exact.items())


def test_the_bound_is_that_of_an_image():
    """log p(x), where the decoder does not look at the code: both bounds are known."""
    vae = VAE(Gaussian(FEATURES, DIM)).double()
    for parameter in vae.parameters():
        torch.nn.init.zeros_(parameter)
    vae.decoder[-1].bias.data.fill_(math.log(0.2 / 0.8))
    torch.manual_seed(0)
    x = (torch.rand(30, 784) < 0.3).double()
    ones = x.sum(-1)
    exact = -(ones * math.log(0.2) + (784 - ones) * math.log(0.8))
    worth = judge(vae, x, 5, 20)  # the posterior is the prior: nothing is lost
    assert worth.bound == pytest.approx(exact.mean().item(), abs=1e-9)
    assert worth.nll == pytest.approx(exact[:20].mean().item(), abs=1e-9)
    assert bound(vae, x) == pytest.approx(exact.mean().item(), abs=1e-9)
    # N(1, 1) instead: the divergence from the prior is d / 2, which many draws win back.
    vae.posterior.mean.bias.data[:1] = 1.0
    worse = judge(vae, x, 2000, 30)
    assert worse.bound == pytest.approx(exact.mean().item() + 0.5, abs=0.3)
    assert worse.nll == pytest.approx(exact.mean().item(), abs=0.05)


@pytest.mark.parametrize("kind", [FFJORD, "planar"])
def test_training_goes_on_as_if_it_had_not_been_broken_off(kind, tmp_path):
    data, of = split(images(), 0), settings(epochs=3)
    whole = Training(kind, data, of, 5)
    for _ in range(3):
        whole.epoch()
    first = Training(kind, data, of, 5)
    first.epoch()
    file = tmp_path / "one.pt"
    save(file, first.state())
    second = Training(kind, data, of, 5)
    second.restore(saved(file, str(of)))
    assert second.epochs == 1
    while second.epochs < 3:
        second.epoch()
    assert second.bounds == whole.bounds and len(second.seconds) == 3
    for key, value in whole.vae.state_dict().items():
        assert torch.equal(second.vae.state_dict()[key], value)
    assert second.seconds == sorted(second.seconds)
    # Other settings, or a file that is cut short, are no beginning.
    assert saved(file, str(settings(epochs=4))) is None
    file.write_bytes(file.read_bytes()[:1000])
    assert saved(file, str(of)) is None


def test_training_learns_and_keeps_the_best_weights():
    data, of = split(images(), 0), settings(epochs=6)
    training = Training(GAUSSIAN, data, of, 0)
    while training.epochs < 6:
        training.epoch()
    assert training.bounds[-1] < training.bounds[0]
    training.bounds, training.settings = [-1e9], replace(of, epochs=2)
    before = {key: value.clone() for key, value in training.best.items()}
    training.epoch()  # no better than what was
    assert all(torch.equal(training.best[key], value) for key, value in before.items())
    training.vae.load_state_dict(training.best)
    assert set(training.state()) == {"settings", "seconds", "bounds", "best"}


def test_batches_and_noise_are_the_same_for_all():
    data, of = split(images(), 0), settings(epochs=1)
    ends = []
    for kind in (GAUSSIAN, FFJORD, HOLLOW):
        training = Training(kind, data, of, 0)
        training.epoch()
        ends.append(training.common.get_state())
    assert torch.equal(ends[0], ends[1]) and torch.equal(ends[0], ends[2])


def test_a_loss_that_is_not_finite_ends_a_training():
    training = Training(GAUSSIAN, split(images(), 0), settings(epochs=1), 0)
    training.vae.decoder[0].weight.data[0, 0] = math.nan
    with pytest.raises(TrainingError, match="a gradient is nan in epoch 1"):
        training.epoch()


def test_a_failure_does_not_end_the_benchmark(tmp_path):
    (cell,) = cells.cells([images()], [GAUSSIAN], QUICK)
    failed = Measure({"mine": str(tmp_path / "no.npz")}, None, "cpu")(cell)
    assert "is not there" in failed.failure


def test_iaf_says_what_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "zuko.flows", None)
    with pytest.raises(InputError, match="needs zuko: pip install"):
        IAF(4, 3)


def outcome(bounds, value, seconds=10.0):
    each = [seconds * (k + 1) for k in range(len(bounds))]
    return Trained(each, bounds, value, value - 5, 26.0, 1000)


def test_tables():
    of = str(Settings.of(images(name="mnist"), QUICK))
    outcomes = {
        Cell("mnist", 0, FFJORD, None, None, of): outcome([120.0, 103.0, 101.0], 101.5, 20.0),
        Cell("mnist", 0, HOLLOW, None, None, of): outcome([120.0, 100.0, 102.0], 100.25),
        Cell("mnist", 1, FFJORD, None, None, of): outcome([110.0, 109.0, 108.0], 108.0, 20.0),
        Cell("mnist", 1, HOLLOW, None, None, of): outcome([110.0, 109.0, 109.0], 109.0),
        Cell("mnist", 0, "planar", None, None, of): Trained(failure="no"),
    }
    found = {result.table.name: result.rows for result in tables(outcomes)}
    probe, exact = found["results"]
    assert (probe["posterior"], exact["posterior"]) == (FFJORD, HOLLOW)
    assert str(exact["-ELBO"]) == "104.62 [102.44, 106.81]"
    assert exact["epoch"].median == 2 and probe["epoch"].median == 3
    assert probe["s / epoch"].median == 20 and exact["evaluations"].median == 26
    gains = {row["at"]: row for row in found["traces"]}
    assert gains["equal epochs, test"]["gain"].median == pytest.approx((1.25 - 1) / 2)
    assert gains["equal epochs, test"]["hollow better"] == 1
    # After 30 s: one epoch of the probe, three of the exact trace.
    assert gains["equal time, validation"]["gain"].median == pytest.approx((20 + 1) / 2)
    (step,) = found["order"]
    assert step["step"] == "ffjord - hollow" and str(step["poster"]) == "0.45"
    assert [row["epochs"] for row in found["epochs"]] == [1, 2, 3]
    assert found["epochs"][2][HOLLOW].median == pytest.approx(104.5)
    assert found["epochs"][0]["planar"] is None
    by_time = {row["seconds"]: row for row in found["seconds"]}
    assert by_time[10][FFJORD] is None and by_time[10][HOLLOW].median == 115
    assert by_time[60.0][FFJORD].median == pytest.approx(104.5)


def test_the_poster():
    for of in poster.PRINTED.values():
        assert list(of) == VAES
        bounds = [row.bound for row in of.values()]
        assert bounds == sorted(bounds, reverse=True)
        assert all(row.nll is None or row.nll < row.bound for row in of.values())
    assert "slip" in " ".join(poster.printed().table.notes)


def test_the_command(tmp_path):
    np.savez(tmp_path / "squares.npz", train=images().train)
    np.savez(tmp_path / "boxes.npz", train=images(60).train)
    out = tmp_path / "out"
    arguments = ["bench", "vae", "--quick", "--only", "gaussian,hollow", "--out", str(out)]

    def run(*more):
        return CliRunner().invoke(app, [*arguments, *more])

    result = run("--data", str(tmp_path / "squares.npz"))
    assert result.exit_code == 0, result.output
    result = run("--data", str(tmp_path / "boxes.npz"), "--epochs", "1")
    assert result.exit_code == 0, result.output
    saved_tables = json.loads((out / "vae.json").read_text(), parse_constant=pytest.fail)["tables"]
    # What was measured before stands beside it, each with its budget.
    assert [row["data"] for row in saved_tables["data"]["rows"]] == ["squares", "boxes"]
    assert [row["epochs"] for row in saved_tables["data"]["rows"]] == [2, 1]
    page = (out / "vae.html").read_text()
    assert page.count("test images, and their reconstructions, seed 0") == 2
    assert page.count("samples, from the same codes") == 2
    assert "Not measured here: the numbers of the poster" in (out / "vae.md").read_text()
    before = (out / "vae.jsonl").read_bytes()
    again = run("--data", str(tmp_path / "boxes.npz"), "--epochs", "1")
    assert "2 of 2 results are in" in again.output and (out / "vae.jsonl").read_bytes() == before


def test_what_was_broken_off_is_gone_on_with(tmp_path):
    file = tmp_path / "mine.npz"
    np.savez(file, train=images().train, test=images().test)
    (cell,) = cells.cells([images()], [GAUSSIAN], replace(QUICK, epochs=2))
    said = []
    measure = Measure({"mine": str(file)}, tmp_path, "cpu", said.append)
    whole = measure(cell)
    assert not whole.failure and not said
    training = Training(GAUSSIAN, split(images(), 0), Settings.read(cell.settings), 0)
    training.epoch()
    save(file_of(tmp_path, cell), training.state())
    again = measure(cell)
    assert said == ["mine, seed 0, gaussian: goes on after epoch 1"]
    assert (again.bounds, again.bound, again.nll) == (whole.bounds, whole.bound, whole.nll)
    assert Store(None, Trained).outcomes == {}


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "needs images: --data FILE"),
        (["--data", "no.npz"], "is not there"),
        (["--data", "no.npz", "--only", "sylvster"], "did you mean 'sylvester'"),
        (["--data", "no.npz", "--device", "tin"], "device 'tin' cannot be used"),
    ],
)
def test_errors_of_the_command(arguments, message):
    result = CliRunner().invoke(app, ["bench", "vae", *arguments])
    assert re.search(message, str(result.exception or result.output))


def test_data_sets_need_names(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        np.savez(tmp_path / folder / "mine.npz", train=images().train)
    paths = [str(tmp_path / folder / "mine.npz") for folder in ("a", "b")]
    result = CliRunner().invoke(app, ["bench", "vae", "--data", paths[0], "--data", paths[1]])
    assert "both 'mine': rename one" in str(result.exception or result.output)


def test_nothing_of_it_comes_with_the_package():
    code = (
        "import sys, hollowpde; "
        "bad = [m for m in sys.modules if m.split('.')[0] in "
        "('zuko', 'normflows', 'torchvision') or m.startswith('hollowpde.bench')]; "
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
