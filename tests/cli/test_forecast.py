"""`hollowpde forecast` as a user meets it, and in this process."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

import hollowpde as hp
from hollowpde.cli.forecast import forecast

LEVELS = ["q05", "q25", "q50", "q75", "q95"]
FEW = {
    "density.components": "1", "transition.first.steps": 5, "transition.optimiser.steps": 5,
    "transition.whole.steps": 1, "density.optimiser.steps": 20, "density.refine.steps": 0,
}  # fmt: skip


def run(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "hollowpde", *map(str, arguments)],
        cwd=cwd, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


def fitted(folder, dim, positive=False):
    """A quick fit of an Ornstein-Uhlenbeck process, or of its exponential."""
    x = torch.zeros(60, 11, dim)
    generator = torch.Generator().manual_seed(0)
    x[:, 0] = torch.randn(60, dim, generator=generator)
    for k in range(10):
        noise = torch.randn(60, dim, generator=generator)
        x[:, k + 1] = 0.9 * x[:, k] + 0.3 * noise
    data = hp.Trajectories.from_dense(torch.linspace(0, 1, 11), x.exp() if positive else x)
    support = {"support": "positive"} if positive else {}
    file = folder / "some.py"
    torch.save((data.t.reshape(60, 11)[0], data.x.reshape(60, 11, dim)), folder / "paths.pt")
    file.write_text(
        "import torch\nimport hollowpde as hp\n"
        f"times, x = torch.load({str(folder / 'paths.pt')!r})\n"
        "hp.register(hp.SDEProblem(name='a', data=hp.Trajectories.from_dense(times, x), "
        f"**{support!r}))\n"
    )
    problem, source = hp.problem.find_problem(str(file))
    overrides = [f"{key}={value}" for key, value in FEW.items()]
    return hp.fit(problem, folder / "run", overrides=overrides, source=source)


def test_a_run_of_one_dimension(quick_run, tmp_path):
    _, last = quick_run.density.interval
    until = last + 0.5
    done = run("forecast", quick_run.path, "--until", until, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "on 401 points: mass within" in done.stdout
    assert "smallest density" in done.stdout
    table = pd.read_csv(tmp_path / "forecast.csv")
    assert list(table.columns) == ["coordinate", "t", *LEVELS]
    assert len(table) == 26 and set(table.coordinate) == {"x1"}
    assert table.t.iloc[0] == pytest.approx(last) and table.t.iloc[-1] == pytest.approx(until)
    assert (table[LEVELS].diff(axis=1).iloc[:, 1:] > 0).all(axis=None)
    now = quick_run.density.sample(last, 20000, torch.Generator().manual_seed(1)).numpy()
    assert np.allclose(table[LEVELS].iloc[0], np.quantile(now, [0.05, 0.25, 0.5, 0.75, 0.95]),
                       atol=0.04 * now.std())  # fmt: skip
    again = tmp_path / "forecast.csv"
    with pytest.raises(hp.InputError, match="exists"):
        forecast(quick_run.path, out=again)


@pytest.mark.parametrize(("dim", "positive", "says"), [
    (1, True, "on 401 points"), (2, False, "on 101 x 101 points"), (3, False, "3 dimensions"),
])  # fmt: skip
def test_runs_of_other_kinds(dim, positive, says, tmp_path, capsys):
    fit = fitted(tmp_path, dim, positive)
    capsys.readouterr()
    out = tmp_path / "f.csv"
    forecast(fit.path, until=1.2, out=out, points=4)
    assert says in capsys.readouterr().out
    table = pd.read_csv(out)
    assert list(table.coordinate.unique()) == [f"x{j + 1}" for j in range(dim)]
    assert len(table) == 4 * dim
    # What the simulation of the same run says, its noise aside.
    now = fit.density.sample(1.0, 4000, torch.Generator().manual_seed(2))
    fan = hp.forecast(fit.sde, now, table.t.unique().tolist(), paths=4000)
    expected = fan.quantiles([0.25, 0.5, 0.75]).transpose(2, 1, 0).reshape(-1, 3)
    spread = np.ptp(expected, axis=1, keepdims=True)
    assert (np.abs(table[["q25", "q50", "q75"]] - expected) < 0.12 * spread).all(axis=None)
    assert not positive or table.q05.min() > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"until": -9.0}, "until must be after"),
        ({"out": "a.txt"}, "must end in .csv"),
        ({"out": "none/a.csv"}, "does not exist"),
        ({"points": 1}, "points and paths must be at least 2"),
        ({"step": -1.0}, "step must be positive"),
    ],
)
def test_what_is_refused(change, message, quick_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "out" in change:
        change = {"out": tmp_path / change["out"]}
    with pytest.raises(hp.InputError, match=message):
        forecast(quick_run.path, **change)
    assert list(tmp_path.iterdir()) == []
