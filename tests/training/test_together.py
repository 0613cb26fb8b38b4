"""Stages trained at once on stacked parameters."""

import io
import math
import os
import signal
from typing import NamedTuple

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

import hollowpde as hp
from hollowpde.problem import LBFGS, Adam, EarlyStop, Stage
from hollowpde.problem.stacked import losses_and_gradients
from hollowpde.problem.stage import Together
from hollowpde.training import running
from hollowpde.training.progress import Progress
from hollowpde.training.trainer import Trainer


def trainer(model, saved):
    return Trainer(
        model, 0, saved.append, Progress(Console(file=io.StringIO()), lambda said: None)
    )


class Batch(NamedTuple):
    x: Tensor
    y: Tensor


class Tied(nn.Module):
    """A parameter in two places, a part in two places, a frozen one and a buffer."""

    scale: Tensor

    def __init__(self, seed):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.first = nn.Linear(2, 2)
        self.second = nn.Linear(2, 2)
        self.second.weight = self.first.weight
        self.again = self.first
        self.frozen = nn.Parameter(torch.randn(2, generator=generator), requires_grad=False)
        self.register_buffer("scale", torch.rand(2, generator=generator))
        with torch.no_grad():
            for p in self.first.parameters():
                p.copy_(torch.randn(p.shape, generator=generator))
            self.second.bias.copy_(torch.randn(2, generator=generator))

    def forward(self, x):
        inner = self.again(torch.tanh(self.first(x))) * self.scale
        return torch.tanh(self.second(inner)) + self.frozen


def losses(module, batch):
    return {
        "misfit": (module(batch.x) - batch.y).square().mean(),
        "small": sum(p.square().sum() for p in module.parameters()),
    }


def batch(seed, n=7):
    generator = torch.Generator().manual_seed(seed)
    return Batch(torch.randn(n, 2, generator=generator), torch.randn(n, 2, generator=generator))


def test_losses_and_gradients_are_those_of_each_module():
    modules, batches = [Tied(k).double() for k in range(3)], [batch(k) for k in range(3)]
    batches = [Batch(*(column.double() for column in b)) for b in batches]
    before = [{k: v.clone() for k, v in m.state_dict().items()} for m in modules]
    seen = losses_and_gradients(losses, modules, batches)
    for module, own, (values, gradients), state in zip(
        modules, batches, seen, before, strict=True
    ):
        expected = losses(module, own)
        trained = [p for p in module.parameters() if p.requires_grad]
        for name, value in expected.items():
            torch.testing.assert_close(values[name], value.detach())
        for gradient, true in zip(
            gradients, torch.autograd.grad(sum(expected.values()), trained), strict=True
        ):
            torch.testing.assert_close(gradient, true)
            assert gradient.is_contiguous()
        # They are left as they were, and no tensor of the evaluation stays behind.
        for name, value in module.state_dict().items():
            assert torch.equal(value, state[name])


def group(n=3, optimiser=None, fail=None):
    modules = nn.ModuleList(Tied(k) for k in range(n))

    def of(k):
        def alone(b, progress):
            return losses(modules[k], b)

        def drawn(generator, progress):
            return Batch(*(torch.randn(7, 2, generator=generator) for _ in range(2)))

        ends = EarlyStop(every=1, patience=2 + 2 * k)  # each at another step
        return Stage(
            name=f"stage {k}",
            module=modules[k],
            batches=drawn if isinstance(optimiser, Adam) else lambda g, p: batch(k),
            losses=alone,
            validate=lambda: float(modules[k].first.weight.square().sum()),
            optimiser=optimiser or LBFGS(steps=6),
            stop=ends,
        )

    def at_once(module, b):
        if fail is not None:
            fail()
        return losses(module, b)

    return modules, Together([of(k) for k in range(n)], at_once)


@pytest.mark.parametrize("optimiser", [LBFGS(steps=5), Adam(steps=12, lr=0.05)])
def test_each_goes_its_own_way(optimiser):
    modules, together = group(optimiser=optimiser)
    same, alone = group(optimiser=optimiser)
    first, second = trainer(modules, saved := []), trainer(same, [])
    first.run([together])
    second.run(alone.stages)
    assert first.steps == second.steps
    assert first.done == second.done == ["stage 0", "stage 1", "stage 2"]
    for one, other in zip(modules.parameters(), same.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    keys = ("stage", "step")
    assert [[r[k] for k in keys] for r in first.history] == [
        [r[k] for k in keys] for r in second.history
    ]
    assert len(saved) == 2  # all of them at once, and the end


def test_it_is_the_same_every_time():
    ends = []
    for _ in range(2):
        modules, together = group()
        trainer(modules, []).run([together])
        ends.append([p.clone() for p in modules.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


def test_it_is_not_begun_again_when_it_is_done():
    modules, together = group()
    fitted = trainer(modules, saved := [])
    fitted.run([together])
    again = trainer(modules, [])
    again.restore(saved[-1])
    again.run([together])
    assert again.steps == fitted.steps


def test_an_interruption_loses_the_group_alone(monkeypatch):
    modules, together = group()
    whole = trainer(modules, [])
    whole.run([together])
    advance = running.Running.advance

    def stop(self):
        if self.stage.name == "stage 1" and self.step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return advance(self)

    monkeypatch.setattr(running.Running, "advance", stop)
    fresh, again = group()
    cut = trainer(fresh, saved := [])
    with pytest.raises(KeyboardInterrupt):
        cut.run([again])
    monkeypatch.undo()
    assert cut.done == []
    fresh, again = group()
    resumed = trainer(fresh, [])
    if saved:
        resumed.restore(saved[-1])
    resumed.run([again])
    assert all(
        torch.equal(a, b) for a, b in zip(modules.parameters(), fresh.parameters(), strict=True)
    )


def test_a_failure_of_one_ends_all():
    modules, together = group()
    with torch.no_grad():
        modules[1].first.bias.fill_(math.inf)
    with pytest.raises(hp.TrainingError, match="stage 1"):
        trainer(modules, []).run([together])


def test_a_failure_of_the_evaluation_ends_all():
    def fail():
        raise ValueError("not today")

    modules, together = group(fail=fail)
    with pytest.raises(ValueError, match="not today"):
        trainer(modules, []).run([together])
