"""The trainer, on problems small enough to know the answer."""

import io
import math
import os
import signal

import pytest
import torch
from rich.console import Console
from torch import nn

import hollowpde as hp
from hollowpde.problem import LBFGS, Adam, EarlyStop, GaussNewton, Stage
from hollowpde.training.progress import Progress
from hollowpde.training.trainer import Trainer


class Line(nn.Module):
    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.zeros(()))
        self.offset = nn.Parameter(torch.zeros(()))


def stage(model, name="fit", steps=200, at_step=None, **changes):
    """Least squares of y = 3 x + 1 with a little noise, on batches from the generator."""
    count = [0]

    def batches(generator, progress):
        x = torch.randn(32, generator=generator)
        return x, 3 * x + 1 + 0.01 * torch.randn(32, generator=generator)

    def losses(batch, progress):
        count[0] += 1
        if at_step is not None:
            at_step(count[0])
        x, y = batch
        return {"misfit": (model.slope * x + model.offset - y).square().mean()}

    settings = {
        "name": name,
        "module": model,
        "batches": batches,
        "losses": losses,
        "validate": lambda: ((model.slope - 3) ** 2 + (model.offset - 1) ** 2).item(),
        "optimiser": Adam(steps=steps, lr=0.1, averaging=0.9),
        "stop": EarlyStop(every=10, patience=100),
    }
    return Stage(**(settings | changes))


def trainer(model, saved, seed=0):
    progress = Progress(Console(file=io.StringIO()), lambda sentence: None)
    return Trainer(model, seed, saved.append, progress)


def weights(model):
    return {k: v.clone() for k, v in model.state_dict().items()}


def test_it_fits():
    model = Line()
    fitted = trainer(model, saved := [])
    fitted.run([stage(model)])
    assert model.slope.item() == pytest.approx(3, abs=0.01)
    assert model.offset.item() == pytest.approx(1, abs=0.01)
    assert fitted.steps == 200
    assert saved[-1]["done"] == ["fit"]
    assert saved[-1]["current"] is None
    assert [row["step"] for row in fitted.history] == list(range(10, 201, 10))


def test_the_best_weights_are_kept_and_the_start_competes():
    model = Line()
    with torch.no_grad():
        model.slope.fill_(3.0)
        model.offset.fill_(1.0)
    before = weights(model)
    # A loss that pulls away from what validates best.
    away = stage(model, losses=lambda batch, progress: {"away": (model.slope - 50).square()})
    trainer(model, []).run([away])
    assert weights(model) == before


def test_early_stop():
    model = Line()
    fitted = trainer(model, [])
    values = iter([1.0, *[2.0] * 100])
    fitted.run([stage(model, validate=lambda: next(values), stop=EarlyStop(10, patience=3))])
    assert fitted.steps == 30


@pytest.mark.parametrize(("tie", "kept_at"), [(0.0, 20), (0.15, 40), (0.5, 50)])
def test_among_ties_the_latest_weights_are_kept(tie, kept_at):
    model = Line()
    values = iter([2.0, 1.5, 1.0, 1.2, 1.1, 1.3])
    slopes = []

    def validate():
        slopes.append(model.slope.item())
        return next(values)

    trainer(model, []).run([stage(model, steps=50, validate=validate, tie=tie)])
    assert model.slope.item() == slopes[kept_at // 10]


@pytest.mark.parametrize("interrupt_at", [1, 7, 60, 230])
def test_resumed_equals_uninterrupted(interrupt_at, tmp_path):
    """Interrupted by a signal at any step of any stage, saved to a file, and gone on with."""
    handler = signal.getsignal(signal.SIGINT)
    whole = Line()
    reference = trainer(whole, [])
    reference.run([stage(whole, "one"), stage(whole, "two", steps=100)])

    total = [0]

    def interrupt(_):
        total[0] += 1
        if total[0] == interrupt_at:
            os.kill(os.getpid(), signal.SIGINT)

    model = Line()
    first = trainer(model, saved := [])
    with pytest.raises(KeyboardInterrupt):
        first.run([stage(model, "one", at_step=interrupt),
                   stage(model, "two", steps=100, at_step=interrupt)])  # fmt: skip
    assert total[0] == interrupt_at
    torch.save(saved[-1], tmp_path / "state.pt")

    model = Line()
    second = trainer(model, [])
    second.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    second.run([stage(model, "one"), stage(model, "two", steps=100)])
    assert weights(model) == weights(whole)
    assert second.steps == reference.steps

    def bare(history):
        return [{k: v for k, v in row.items() if k != "seconds"} for row in history]

    assert bare(second.history) == bare(reference.history)
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_loss_that_is_not_finite_is_named():
    model = Line()
    broken = stage(model, losses=lambda batch, progress: {"misfit": model.slope * math.nan})
    with pytest.raises(hp.TrainingError, match=r"stage 'fit' is not finite at step 0 \(misfit"):
        trainer(model, []).run([broken])


def test_stages_draw_from_generators_of_their_own():
    """Leaving a stage out does not change the batches of the next."""
    seen = []

    def record(name):
        def batches(generator, progress):
            seen.append((name, torch.rand(1, generator=generator).item()))
            return torch.zeros(2), torch.zeros(2)

        return batches

    for names in (("a", "b"), ("b",)):
        model = Line()
        trainer(model, []).run([stage(model, n, steps=1, batches=record(n)) for n in names])
    assert seen[1] == seen[2]
    assert seen[0][1] != seen[1][1]


def test_learning_rate_warms_up_and_decays():
    rate = Adam(steps=100, lr=1.0, warmup=10, final=0.01).rate
    assert [rate(0), rate(9)] == [0.1, 1.0]
    assert rate(100) == pytest.approx(0.01)
    assert all(rate(k) >= rate(k + 1) for k in range(9, 100))


def test_bad_settings():
    for bad in ({"lr": 0.0}, {"steps": -1}, {"clip": -1.0}):
        with pytest.raises(hp.InputError):
            Adam(**bad)
    with pytest.raises(hp.InputError):
        EarlyStop(every=0)


def squares(model, optimiser, poison=None):
    """All points at once; `poison(n)` is added to the n-th evaluation of the loss."""
    x = torch.linspace(-1, 1, 20)
    count = [0]

    def losses(batch, progress):
        count[0] += 1
        curved = model.slope * x + model.offset**3 - 3 * x - 1
        extra = 0.0 if poison is None else poison(count[0])
        return {"misfit": curved.square().mean() + extra}

    return stage(
        model, losses=losses, batches=lambda generator, progress: x, optimiser=optimiser,
        stop=EarlyStop(every=1, patience=100),
    )  # fmt: skip


def test_a_nan_within_a_line_search_is_taken_back():
    model, saved = Line(), []
    model.offset.data.fill_(0.5)
    met = []

    def poison(n):
        # In the middle of the second step.
        if n == 9:
            met.append(n)
        return float("nan") if n == 9 else 0.0

    run = trainer(model, saved)
    run.run([squares(model, LBFGS(steps=12, iterations=4), poison)])
    assert met
    assert model.slope.item() == pytest.approx(3, abs=1e-3)
    assert model.offset.item() == pytest.approx(1, abs=1e-3)


def test_a_step_into_nothing_is_taken_back_and_the_next_is_shorter():
    model = Line()
    model.offset.data.fill_(1.0)

    def poison(n):
        return float("nan") if model.slope > 0.5 else 0.0

    run = trainer(model, [])
    run.run([squares(model, LBFGS(steps=12, iterations=4), poison)])
    # Where it began its steps it never stood in the void, which would have been an error.
    assert 0.0 < model.slope.item() <= 0.5


def test_steps_that_lead_nowhere_end_the_stage():
    model, saved = Line(), []
    model.slope.data.fill_(3.0)
    model.offset.data.fill_(1.0)
    run = trainer(model, saved)
    run.run([squares(model, LBFGS(steps=50))])
    assert run.steps == 3
    assert (model.slope.item(), model.offset.item()) == (3.0, 1.0)


def test_least_squares_need_residuals():
    with pytest.raises(hp.TrainingError, match="no least-squares problem"):
        trainer(Line(), []).run([squares(Line(), GaussNewton(steps=2))])
