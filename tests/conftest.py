"""What several test files share: a problem file, and a run of it that is over in seconds."""

import contextlib
import os
from pathlib import Path

import pytest
import torch

import hollowpde as hp
from hollowpde.problem import find_problem

PROBLEMS = Path(__file__).parents[1] / "problems"

# Settings under which a fit takes seconds and learns little.
QUICK = (
    "transition.optimiser.steps=60",
    "transition.stop.every=20",
    "density.components=1,2",
    "density.optimiser.steps=40",
    "density.stop.every=20",
    "density.refine.steps=40",
    "data.paths=100",
)


@pytest.fixture(scope="session", autouse=True)
def own_state_folder(tmp_path_factory):
    """What the user trusts is kept out of the tests, and the tests out of it."""
    folder = tmp_path_factory.mktemp("state")
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(folder)
    yield folder
    if before is None:
        del os.environ["XDG_STATE_HOME"]
    else:
        os.environ["XDG_STATE_HOME"] = before


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """As the command line does: tests run side by side, and small networks gain nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def quick_run(tmp_path_factory, own_state_folder, one_thread):
    """A finished run of the Ornstein-Uhlenbeck problem."""
    problem, source = find_problem(str(PROBLEMS / "ou_process.py"))
    out = tmp_path_factory.mktemp("runs") / "quick"
    with contextlib.redirect_stdout(None):
        return hp.fit(problem, out, overrides=QUICK, seed=1, source=source)
