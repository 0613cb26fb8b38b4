"""A fit of a table, without a problem file."""

import sys

import numpy as np
import pandas as pd
import pytest
import torch

import hollowpde as hp
from hollowpde.cli import main
from hollowpde.cli.fit_csv import problem_name
from tests.cli.test_cli import run
from tests.quick import QUICK

FAST = [setting for setting in QUICK if not setting.startswith("data.")]


@pytest.fixture
def table(tmp_path):
    """Ornstein-Uhlenbeck paths, drawn exactly, under names that need care."""
    g = np.random.default_rng(0)
    x = g.normal(size=(60, 6, 2))
    for k in range(1, 6):
        x[:, k] = 0.8 * x[:, k - 1] + 0.6 * x[:, k]
    f = pd.DataFrame(x.reshape(-1, 2), columns=["it's", "v 1"])
    f.insert(0, "day", np.tile(np.arange(6) * 0.2, 60))
    f.insert(0, "mouse", np.repeat(np.arange(60), 6))
    f["weight"] = g.normal(size=360)
    f.to_csv(tmp_path / "my data.csv", index=False)
    return f


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs a command in this process: its exit code, and what it says on stderr."""

    def run_here(*arguments, cwd):
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", ["hollowpde", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        return left.value.code, capsys.readouterr().err

    return run_here


def test_fit_load_report_simulate_resume(table, tmp_path, command):
    fit = ("fit-csv", "my data.csv", "--id", "mouse", "--state", "v 1,it's", *FAST)
    done = run(*fit, "--out", "run", "--seed", "3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "time 'day', path 'mouse', state 'v 1', \"it's\" (guessed" in done.stdout
    assert "my_data: writing to run" in done.stdout

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    draw = ("simulate", "../run", "--paths", "3", "--points", "4")
    for arguments in (
        ("show", "../run/problem.py"),
        ("report", "../run"),
        (*draw, "--out", "p.csv"),
        (*draw, "--out", "p.parquet"),
    ):
        if arguments[-1] == "p.parquet":
            pytest.importorskip("pyarrow")
        assert command(*arguments, cwd=elsewhere) == (0, "")
    paths = pd.read_csv(elsewhere / "p.csv")
    assert list(paths.columns) == ["path", "t", "v 1", "it's"]
    assert len(paths) == 12
    again = pd.read_parquet(elsewhere / "p.parquet")
    pd.testing.assert_frame_equal(again, paths, check_dtype=False)
    code, error = command(*draw, "--out", "p.xlsx", cwd=elsewhere)
    assert code == 2
    assert "must end in .csv or .parquet" in error

    assert command(*fit, "--out", "run", "--resume", cwd=tmp_path) == (0, "")
    code, error = command(*fit[:4], *FAST, "--out", "run", "--resume", cwd=tmp_path)
    assert code == 2
    assert "not those of the run" in error
    # The run is loaded without trust=True: this user has fitted it.
    assert hp.load(tmp_path / "run").sde.f(0.0, torch.zeros(4, 2)).shape == (4, 2)


def test_several_files_and_settings_of_the_table(table, tmp_path, command):
    for mouse, path in table.groupby("mouse"):
        path.drop(columns="mouse").to_csv(
            tmp_path / f"m{mouse}.csv", index=False, sep=";", decimal=","
        )
    assert command(
        "fit-csv", "m[0-9]*.csv", "data.decimal=,", "data.missing=?", "--name", "mice", *FAST,
        "--out", "run", "--state", "it's", cwd=tmp_path,
    ) == (0, "")  # fmt: skip
    text = (tmp_path / "run" / "problem.py").read_text()
    assert "decimal=','" in text
    assert "name='mice'" in text
    assert 'state=("it\'s",)' in text


def test_names_of_problems():
    cases = {
        "a.csv": "a", "x/my data.2.csv.gz": "my_data", "--.csv": "table", "größe.parquet": "größe",
        "../runs/*.csv": "runs", "__.csv": "table",
    }  # fmt: skip
    assert {file: problem_name([file]) for file in cases} == cases
    assert problem_name(["x/a.csv", "x/b.csv"]) == "x"


BAD = {
    "no file": (("none.csv",), "nothing at"),
    "no files": (("transition.batch=3",), "name a CSV or Parquet file"),
    "no column": (("my data.csv", "--state", "wait"), "did you mean 'weight'"),
    "setting of the table": (("my data.csv", "data.decimals=,"), "did you mean 'decimal'"),
    "setting": (("my data.csv", "transition.bach=3"), "did you mean 'batch'"),
    "text": (("bad.csv",), "line 3, column 'x': 'abc' is not a number"),
    "name": (("my data.csv", "--name", "a/b"), "name must be letters"),
    "few paths": (("few.csv",), "data must hold enough paths"),
    "dtype": (("my data.csv", "--dtype", "float16"), "unknown dtype 'float16'"),
    "device": (("my data.csv", "--device", "abacus"), "device 'abacus' cannot be used"),
    "nothing to resume": (("my data.csv", "--resume"), "is not a run directory"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_writes_nothing(case, table, tmp_path, command):
    arguments, message = BAD[case]
    (tmp_path / "bad.csv").write_text("t,x\n0,1\n1,abc\n2,3\n3,4\n")
    (tmp_path / "few.csv").write_text("id,t,x\n1,0,1\n1,1,2\n2,0,3\n2,1,4\n")
    before = sorted(tmp_path.rglob("*"))
    code, error = command("fit-csv", *arguments, "--out", "out", cwd=tmp_path)
    assert code == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
    assert sorted(tmp_path.rglob("*")) == before
