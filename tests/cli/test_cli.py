"""The command line as a user meets it: in another process."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.quick import PROBLEMS, QUICK

OU = str(PROBLEMS / "ou_process.py")

PROBLEM = """
import torch, torchsde
import hollowpde as hp

class OU(torchsde.SDEIto):
    def f(self, t, y):
        return {drift}
    def g(self, t, y):
        return torch.ones_like(y)

times = torch.linspace(0, 1, 5)
paths = torch.randn(20, 5, 1)
{more}
hp.register(hp.SDEProblem(name="a", truth=OU("diagonal"), data={data}))
"""


def run(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "hollowpde", *map(str, arguments)],
        cwd=cwd, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


def problem(folder, drift="-y", more="", data="hp.Trajectories.from_dense(times, paths)"):
    file = folder / "some.py"
    file.write_text(PROBLEM.format(drift=drift, more=more, data=data))
    return file


def test_fit_list_show_report_simulate(tmp_path):
    done = run("fit", OU, *QUICK, "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "page: run/report.html" in done.stdout
    assert "\x1b" not in done.stdout, "no colours or bars where there is no terminal"
    assert done.stderr == ""

    listed = run("list", PROBLEMS, cwd=tmp_path)
    assert listed.returncode == 0
    assert "simulated" in listed.stdout

    shown = run("show", OU, "transition.batch=77", cwd=tmp_path)
    assert shown.returncode == 0
    assert "77" in shown.stdout

    report = run("report", "run", cwd=tmp_path)
    assert report.returncode == 0, report.stderr

    made = run("simulate", "run", "--stop", "2", "--paths", "7", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    table = pd.read_csv(tmp_path / "paths.csv")
    assert list(table.columns) == ["path", "t", "x1"]
    assert len(table) == 7 * 101
    again = run("simulate", "run", cwd=tmp_path)
    assert again.returncode == 2
    assert "exists" in again.stderr

    more = run("fit", OU, *QUICK, "--out", "run", cwd=tmp_path)
    assert more.returncode == 2
    assert "holds another run" in more.stderr
    resumed = run("fit", OU, "--out", "run", "--resume", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr


def test_new(tmp_path):
    assert run("new", "mine.py", "--like", "double_well", cwd=tmp_path).returncode == 0
    assert 'name="mine"' in (tmp_path / "mine.py").read_text()
    assert run("show", "mine.py", cwd=tmp_path).returncode == 0
    again = run("new", "mine.py", cwd=tmp_path)
    assert again.returncode == 2
    assert "exists" in again.stderr


STRATONOVICH = """
class S(torchsde.SDEStratonovich):
    f, g = OU.f, OU.g
"""

# What is wrong, the arguments after FILE, and what the error must name.
BAD = {
    "no file": ({"file": "none.py"}, (), "no problem file at 'none.py'"),
    "not Python": ({"more": "1 +"}, (), "not valid Python"),
    "raises on import": ({"more": "raise OSError('x')"}, (), "raised OSError in line"),
    "registers nothing": ({"more": "hp.register = lambda p: p"}, (), "registers no problem"),
    "a name twice": (
        {"more": "hp.register(hp.SDEProblem(name='a', "
                 "data=hp.Trajectories.from_dense(times, paths)))"},
        (), "'a' is registered twice",
    ),
    "unknown name": ({"name": "b"}, (), "has no problem 'b'"),
    "ambiguous": (
        {"more": "hp.register(hp.SDEProblem(name='b', "
                 "data=hp.Trajectories.from_dense(times, paths)))"},
        (), "choose one: some.py:b, some.py:a",
    ),
    "misspelt key": ({}, ("transition.bach=3",), "did you mean 'batch'"),
    "wrong type": ({}, ("transition.batch=many",), "transition.batch must be an integer"),
    "no batch": ({}, ("transition.batch=0",), "batch must be at least 1"),
    "negative seed": ({}, ("--seed", "-1"), "seed must be a non-negative integer"),
    "method": (
        {"data": "hp.Simulated(OU('diagonal'), torch.zeros(1), times, 9, method='foo')"},
        (), "torchsde refuses",
    ),
    "bad value": ({}, ("transition.optimiser.lr=-1",), "lr must be positive"),
    "NaN": ({"more": "paths[3, 2] = float('nan')"}, (), "x must be finite, but 1 of its"),
    "shapes of data": ({"more": "times = times[:4]"}, (), r"x must have shape (paths, T, d)"),
    "shape of drift": (
        {"drift": "y.sum(-1)"}, (),
        "truth.f (the drift) must return the shape (2, 1) of y, but returned (2,)",
    ),
    "Stratonovich": (
        {"more": STRATONOVICH,
         "data": "hp.Simulated(S('diagonal'), torch.zeros(1), times, 9)"},
        (), "stratonovich SDE, and only Ito",
    ),
    "general noise": (
        {"data": "hp.Simulated(OU('general'), torch.zeros(1), times, 9)"},
        (), "general noise, and only diagonal",
    ),
    "device": ({}, ("--device", "abacus"), "device 'abacus' cannot be used"),
    "dtype": ({}, ("--dtype", "float16"), "unknown dtype 'float16'"),
    "nothing to resume": ({}, ("--resume",), "is not a run directory"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_writes_nothing(case, tmp_path):
    changes, arguments, message = BAD[case]
    changes = dict(changes)
    file, name = changes.pop("file", None), changes.pop("name", None)
    file = file or problem(tmp_path, **changes).name
    before = sorted(tmp_path.rglob("*"))
    done = run("fit", f"{file}:{name}" if name else file, "--out", "out", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    after = [p for p in sorted(tmp_path.rglob("*")) if "__pycache__" not in p.parts]
    assert after == before


def test_an_occupied_directory_is_left_alone(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("precious")
    done = run("fit", problem(tmp_path), "--out", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert "is not empty" in done.stderr
    assert [p.name for p in Path(tmp_path / "out").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("arguments", [("report", "x"), ("simulate", "x"), ("list", "x"),
                                       ("bench", "operator"), ("new", "a.txt")])  # fmt: skip
def test_other_commands_refuse_in_one_line(arguments, tmp_path):
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
