"""Unpaired observations: a population seen at several times."""

import logging
import math
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torchsde
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import hollowpde as hp
from hollowpde.cli import main
from hollowpde.data import Logarithms, Steady, readers
from tests.data.test_frames import assert_same

TIMES = torch.tensor([0.0, 0.1, 0.5, 2.0])


class Wave(torchsde.SDEIto):
    """A drift and noise that depend on time and state."""

    def __init__(self):
        super().__init__("diagonal")

    def f(self, t, y):
        return torch.sin(3 * t) - y

    def g(self, t, y):
        return 0.5 + 0.2 * torch.cos(y)


class Positive(torchsde.SDEIto):
    """A process that is simulated by its logarithm; f and g are not used."""

    def __init__(self):
        super().__init__("diagonal")
        self.logarithms = Logarithms(Wave(), torch.tensor([True]))

    def f(self, t, y):
        return y

    def g(self, t, y):
        return y


def around(n, generator):
    return 0.5 + torch.rand(n, 1, generator=generator)


def snapshots(data, times=TIMES):
    """The states seen at each time, `(T, n, d)`."""
    assert torch.equal(data.t, times.double().repeat_interleave(len(data) // len(times)))
    return data.x.reshape(len(times), -1, data.dim)


def test_snapshots_of_unequal_sizes_are_sorted_by_time():
    x = [torch.tensor([[1.0], [2.0]]), torch.zeros(0, 1), np.array([[5.0], [4.0], [4.0]])]
    data = hp.Trajectories.from_snapshots(np.array([3.0, 2.0, 1.0]), x, names=("size",))
    assert data.t.tolist() == [1, 1, 1, 3, 3]
    assert data.x.flatten().tolist() == [5, 4, 4, 1, 2]
    assert data.path.tolist() == [0, 1, 2, 3, 4]
    assert data.names == ("size",)
    assert not data.paired
    assert len(data.pairs().t) == 0
    assert repr(data) == "Trajectories(5 unpaired observations, d=1, t=[1, 3])"


@pytest.mark.parametrize(
    ("t", "x", "message"),
    [
        ([0.0, 1.0], [np.zeros((2, 1))], r"x must hold one .* holds 1, and t has shape \(2,\)"),
        ([], [], "x must hold one snapshot for each time in t .* holds 0"),
        ([0.0], [np.zeros(3)], r"x\[0\] must have shape \(n, d\).*\(3,\): use x\[0\]\[:, None\]"),
        ([0.0, 1.0], [np.zeros((2, 1)), np.zeros((2, 2))], r"x\[1\] must have shape \(n, 1\)"),
        ([0.0], [np.zeros((2, 1), dtype=object)], r"x\[0\] must hold numbers"),
        ([0.0], [np.full((2, 1), np.nan)], "x must be finite"),
        ([0.0], [np.zeros((0, 1))], r"x must have shape \(M, d\) with M > 0"),
    ],
)
def test_snapshots_that_cannot_be_used(t, x, message):
    with pytest.raises(hp.InputError, match=message):
        hp.Trajectories.from_snapshots(t, x)


@settings(max_examples=40, deadline=None)
@given(lengths=st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_unpaired_forgets_the_paths_and_nothing_else(lengths):
    path = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    t = torch.cat([torch.arange(float(n)) for n in lengths])
    data = hp.Trajectories(t, torch.arange(2.0 * len(t)).reshape(-1, 2), path, ("u", "v"))
    assert data.paired == (max(lengths) > 1)
    found = data.unpaired()
    rows = sorted(range(len(t)), key=lambda k: float(t[k]))  # stable
    assert_same(found, hp.Trajectories(t[rows], data.x[rows], torch.arange(len(t)), ("u", "v")))
    assert not found.paired
    assert_same(found.unpaired(), found)
    assert_same(found.blocks(3), found)


def test_hundreds_of_thousands_of_observations():
    n = 500_000
    t = torch.randint(4, (n,)).double()
    start = time.process_time()
    data = hp.Trajectories(t, torch.randn(n, 2), torch.randperm(n)).unpaired()
    parts = data.split((0.8, 0.1, 0.1), seed=0)
    assert data.paths == data.blocks(20).paths == n
    assert "500000 unpaired" in repr(data)
    # It takes a quarter of a second; a loop over the paths takes several.
    assert time.process_time() - start < 3
    assert [len(part) for part in parts] == [400_000, 50_000, 50_000]
    assert (parts.train.t.diff() >= 0).all()
    for part in parts:
        share = torch.bincount(part.t.long()) / len(part)
        assert (share - 0.25).abs().max() < 5 * math.sqrt(0.1875 / len(part))


@pytest.mark.parametrize("sde", [Wave(), Positive()])
def test_unpaired_paths_have_the_marginals_of_paired_ones(sde):
    n = 4000
    unpaired = snapshots(hp.simulate(sde, around, TIMES, n, seed=3, paired=False))[..., 0]
    paired = hp.simulate(sde, around, TIMES, n, seed=4).x.reshape(n, -1).T
    for one, other in zip(unpaired, paired, strict=True):
        assert stats.ks_2samp(one, other).pvalue > 1e-4
    assert math.isclose(torch.corrcoef(paired)[1, 2], 0.7, abs_tol=0.2), "these are dependent"
    correlation = torch.corrcoef(unpaired) - torch.eye(len(TIMES))
    assert correlation.abs().max() < 5 / math.sqrt(n)


def test_noise_is_not_used_twice():
    """Without a drift, what the noise adds in one interval tells nothing of another's."""

    class Brownian(Wave):
        def f(self, t, y):
            return torch.zeros_like(y)

        def g(self, t, y):
            return torch.ones_like(y)

    n, times = 4000, torch.arange(4.0)
    x = snapshots(hp.simulate(Brownian(), torch.zeros(1), times, n, paired=False), times)[..., 0]
    assert x[0].eq(0).all()
    # The variance is the time: increments over the intervals are independent, too.
    assert (x[1:].var(1) / times[1:] - 1).abs().max() < 5 * math.sqrt(2 / n)
    assert (torch.corrcoef(x[1:]) - torch.eye(3)).abs().max() < 5 / math.sqrt(n)


def test_same_seed_same_snapshots():
    def draw(seed):
        return hp.Simulated(Wave(), around, TIMES, 50, seed=seed, paired=False).load()

    assert_same(draw(5), draw(5))
    assert not torch.equal(draw(5).x, draw(6).x)


def test_starts_are_those_of_each_time():
    rows = torch.arange(8.0).reshape(4, 2)

    def half(n, generator):
        assert n == 4, "a function of starts may arrange them"
        return rows + torch.rand(1, generator=generator)

    for x0, first in ((rows[1], rows[1].expand(4, 2)), (rows, rows)):
        data = hp.simulate(Wave(), x0, TIMES, 4, paired=False)
        assert torch.equal(snapshots(data)[0], first)
    # So short a time that starts are seen at all of them.
    soon = 1e-8 * torch.arange(3.0)
    found = snapshots(hp.simulate(Wave(), rows, soon, 4, paired=False), soon)
    assert torch.allclose(found, rows.expand(3, 4, 2), atol=1e-2)
    found = snapshots(hp.simulate(Wave(), half, soon, 4, paired=False), soon)
    assert torch.allclose(found - found[:, :1], (rows - rows[:1]).expand(3, 4, 2), atol=1e-2)
    assert len({round(float(v), 3) for v in found[:, 0, 0]}) == 3, "drawn anew for each time"


def test_paths_are_dropped_once_they_are_seen():
    seen = []

    class Watch(Wave):
        def f(self, t, y):
            seen.append(len(y))
            return -y

    hp.simulate(Watch(), around, TIMES, 3, paired=False)
    assert list(dict.fromkeys(seen)) == [12, 9, 6, 3]


def test_paths_that_leave_are_counted_among_those_left():
    class Explosive(Wave):
        def f(self, t, y):
            return y**5

    with pytest.raises(hp.InputError, match=r"of 15 paths are not finite at t = 0\.1"):
        hp.simulate(Explosive(), torch.tensor([9.0]), TIMES, 5, paired=False)


def population(n=40, seed=0):
    g = np.random.default_rng(seed)
    return pd.DataFrame({"t": g.integers(0, 3, n) * 0.5, "x": g.integers(0, 4, n) / 4})


@settings(max_examples=25, deadline=None)
@given(
    holes=st.lists(st.tuples(st.integers(0, 39), st.sampled_from("tx")), max_size=8),
    piece=st.integers(1, 50),
)
@pytest.mark.parametrize("kind", ["csv", "parquet", "frame"])
def test_tables_keep_repetitions_and_leave_out_holes(kind, holes, piece, tmp_path_factory):
    f = population()
    assert f.duplicated().any()
    for row, column in holes:
        f.loc[row, column] = np.nan
    if kind == "frame":
        found = hp.Trajectories.from_frame(f, paired=False)
    else:
        file = tmp_path_factory.mktemp("snapshots") / f"a.{kind}"
        if kind == "parquet":
            pytest.importorskip("pyarrow")
            f.to_parquet(file, row_group_size=7, index=False)
        else:
            f.to_csv(file, index=False)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(readers, "PIECE", piece)
            found = hp.Table(file, paired=False).load()
    kept = f.dropna().sort_values("t", kind="stable")
    expected = hp.Trajectories(
        kept.t.to_numpy(), kept[["x"]].to_numpy(), np.arange(len(kept)), names=("x",)
    )
    assert_same(found, expected)


def test_what_was_guessed_and_repaired_is_logged(caplog):
    caplog.set_level(logging.INFO)
    f = pd.DataFrame({"t": [1.0, 0.0, 0.0, 0.0], "x": [1.0, 2.0, 2.0, np.nan]})
    hp.Trajectories.from_frame(f.assign(ID=range(4), run=1), paired=False)
    hp.Trajectories.from_frame(f.assign(run=1), "t", state="x", paired=False)
    repairs = "frame: 1 row with a missing value left out; rows sorted by time"
    assert caplog.messages == [
        "frame: time 't', no column of paths, so unpaired observations, state 'x' (guessed from "
        "the header; left out: 'ID', 'run')",
        repairs,
        repairs,
    ]
    data = hp.Trajectories.from_frame(f.assign(run=range(4)), state="x,run", paired=False)
    assert data.names == ("x", "run"), "a column that is named is taken"


def test_files_of_snapshots(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in {"a": "t,x\n1,1\n1,2\n", "b": "t,x\n0,3\n0,3\n"}.items():
        (tmp_path / f"{name}.csv").write_text(text)
    data = hp.Table("?.csv", paired=False).load()
    assert data.x.flatten().tolist() == [3, 3, 1, 2]
    assert data.path.tolist() == [0, 1, 2, 3]


def test_populations_taken_for_paths_are_told_of_the_fix():
    f = population()
    fix = r"set paired=False \(--unpaired\)"
    with pytest.raises(hp.InputError, match=f"have the same time, .* id='...', .*{fix}"):
        hp.Trajectories.from_frame(f)
    with pytest.raises(hp.InputError, match=f"each of its 40 rows is a path of its own.*{fix}"):
        hp.Trajectories.from_frame(f.assign(id=range(40)))


def test_an_id_of_unpaired_observations_is_refused():
    with pytest.raises(hp.InputError, match=r"id: the column 'cell' tells .* paired=False says"):
        hp.Table("a.csv", id="cell", paired=False)
    with pytest.raises(hp.InputError, match="id: the column 'cell' tells"):
        hp.Trajectories.from_frame(population().assign(cell=0), id="cell", paired=False)
    hp.Table("a.csv", id="", paired=False)


def test_a_constant_column_is_named():
    with pytest.raises(hp.InputError, match=r"'y' is constant .2 in every row."):
        hp.Trajectories.from_frame(population().assign(y=2.0), paired=False)


def test_the_command_line_writes_it_into_the_problem_file(tmp_path, monkeypatch):
    """The fit itself is tested elsewhere."""
    population().to_csv(tmp_path / "cells.csv", index=False)
    written = []
    module = sys.modules["hollowpde.cli.fit_csv"]
    monkeypatch.setattr(module, "fit", lambda file, *_: written.append(Path(file).read_text()))
    monkeypatch.setattr(sys, "argv", ["hollowpde", "fit-csv", "--unpaired", "cells.csv"])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 0
    declared = next(line for line in written[0].splitlines() if line.startswith("data = "))
    table = eval(declared.removeprefix("data = "), {"hp": hp})
    assert_same(table.load(), hp.Trajectories.from_frame(population(), paired=False))
    assert hp.Table("cells.csv", time="t", state="x", paired=False).named() == hp.Table(
        "cells.csv", time="t", id="", state=("x",), paired=False
    )


def test_steady_forgets_the_paths():
    path = hp.Trajectories.from_dense(torch.arange(5.0), torch.randn(3, 5, 2))
    assert_same(Steady(path).load(), path.unpaired())
    with pytest.raises(hp.InputError, match="nothing at"):
        Steady(hp.Table("none.csv")).load()
