"""What several test files share: a problem file, and a run of it that is over in seconds."""

import contextlib
import os

import pytest
import torch

import hollowpde as hp
from hollowpde.problem import find_problem
from tests.quick import PROBLEMS, QUICK


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
