import json
from dataclasses import dataclass

import pytest
import torch

import hollowpde as hp
from hollowpde.problem import flat, override, plain


@dataclass(frozen=True)
class Inner:
    rate: float = 0.1
    sizes: tuple[int, ...] = (1, 2)
    shares: tuple[float, float] = (0.5, 0.5)


@dataclass(frozen=True)
class Outer:
    steps: int = 3
    on: bool = False
    label: str = "a"
    limit: float | None = None
    inner: Inner = Inner()
    where: torch.Tensor | None = None


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("steps=5", lambda o: o.steps == 5),
        ("on=True", lambda o: o.on is True),
        ("label=5", lambda o: o.label == "5"),
        ("limit=2", lambda o: o.limit == 2.0 and isinstance(o.limit, float)),
        ("limit=None", lambda o: o.limit is None),
        ("inner.rate=1", lambda o: isinstance(o.inner.rate, float)),
        ("inner.sizes=4", lambda o: o.inner.sizes == (4,)),
        ("inner.sizes=4,5,6", lambda o: o.inner.sizes == (4, 5, 6)),
        ("inner.shares=(0.2, 0.8)", lambda o: o.inner.shares == (0.2, 0.8)),
    ],
)
def test_values_are_read_by_their_type(text, read):
    assert read(override(Outer(), [text]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps", "write key=value"),
        ("step=5", "unknown setting 'step': did you mean 'steps'"),
        ("inner.rat=5", "unknown setting 'inner.rat': did you mean 'rate'"),
        ("steps=5.5", "steps must be an integer, but is '5.5'"),
        ("steps=True", "steps must be an integer"),
        ("on=1", "on must be True or False"),
        ("inner.rate=fast", "inner.rate must be a number"),
        ("inner.shares=0.1", "2 of: a number, separated by commas"),
        ("limit=high", "limit must be a number or None"),
        ("steps.more=1", "has no settings of its own"),
        ("inner=3", "cannot be given on the command line"),
        ("where=3", "cannot be given on the command line"),
    ],
)
def test_mistakes_are_named(text, message):
    with pytest.raises(hp.InputError, match=message):
        override(Outer(), [text])


def test_a_problem_as_plain_data_and_back():
    data = hp.Trajectories.from_dense(torch.arange(3.0), torch.randn(10, 3, 1))
    by = hp.TransitionFit(likelihood=hp.LocalLinearization())
    problem = hp.SDEProblem(name="a", data=data, transition=by)
    text = json.dumps(plain(problem))
    assert json.loads(text) == plain(problem)
    rows = flat(plain(problem))
    assert rows["transition.likelihood.curvature"] == "True"
    # What is shown is spelled as it is given.
    assert override(problem, ["density.components=" + rows["density.components"]]) == problem
