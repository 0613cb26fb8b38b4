"""Frames in long form: what is repaired, and what is refused."""

import logging

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hollowpde as hp


def frame(paths=3, length=4, seed=0):
    """Ragged times, states x and y, in order."""
    g = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "path": np.repeat(np.arange(paths) + 5, length),
            "t": g.uniform(0.1, 1, (paths, length)).cumsum(1).ravel(),
            "x": g.normal(size=paths * length),
            "y": g.normal(size=paths * length),
        }
    )


def assert_same(a, b):
    for name in ("t", "x", "path"):
        p, q = getattr(a, name), getattr(b, name)
        assert p.dtype == q.dtype
        assert torch.equal(p, q), name
    assert tuple(a.names) == tuple(b.names)


def direct(f):
    """The same trajectories without a frame."""
    return hp.Trajectories(
        f.t.to_numpy(), f[["x", "y"]].to_numpy(), f.path.to_numpy(), names=("x", "y")
    )


def test_a_clean_frame_goes_in_as_it_is(caplog):
    caplog.set_level(logging.INFO)
    f = frame()
    assert_same(hp.Trajectories.from_frame(f, "t", "path", ["x", "y"]), direct(f))
    assert caplog.text == "", "nothing was guessed or repaired"


@settings(max_examples=40, deadline=None)
@given(
    order=st.permutations(range(12)),
    again=st.lists(st.integers(0, 11), max_size=4),
    text=st.booleans(),
)
def test_neither_order_nor_repetition_of_rows_matters(order, again, text):
    f = frame()
    if text:
        f["path"] = f["path"].map({5: "b", 6: "a", 7: "ä"})
    shuffled = f.iloc[[*again, *order]]
    assert_same(hp.Trajectories.from_frame(shuffled), hp.Trajectories.from_frame(f))


@settings(max_examples=40, deadline=None)
@given(holes=st.lists(st.tuples(st.integers(0, 19), st.sampled_from("txy")), max_size=8))
def test_rows_with_holes_are_left_out_and_steps_go_over_them(holes):
    f = frame(4, 5)
    for row, column in holes:
        f.loc[row, column] = np.nan
    kept = f.dropna()
    found = hp.Trajectories.from_frame(f, "t", "path", "x,y")
    assert_same(found, direct(kept))
    steps = [p.t.diff().dropna().to_numpy() for _, p in kept.groupby("path")]
    np.testing.assert_array_equal(found.pairs().step, np.concatenate(steps))


def test_repairs_are_counted_in_one_line(caplog):
    caplog.set_level(logging.INFO)
    f = pd.DataFrame(
        {
            "path": [1, 1, 1, 1, 1, 2, 3, 3],
            "t": [0.0, 2.0, 1.0, 3.0, 3.0, 0.0, 0.0, 1.0],
            "x": [0.0, 2.0, 1.0, 3.0, 3.0, 9.0, np.nan, 1.0],
        }
    )
    data = hp.Trajectories.from_frame(f, "t", "path", ["x"])
    assert data.x.flatten().tolist() == [0, 1, 2, 3, 9, 1]
    assert caplog.messages == [
        "frame: 1 row with a missing value left out, so steps go over the gap; "
        "rows sorted by path and time (within paths, time went backwards 1 time); "
        "1 repeated row left out; "
        "2 paths of a single observation, so without transitions"
    ]


def test_guesses_are_logged(caplog):
    caplog.set_level(logging.INFO)
    f = frame().rename(columns={"path": "Subject", "t": "Time"})
    f.insert(0, "Unnamed: 0", range(12))
    f["group"], f["used"] = "control", True
    data = hp.Trajectories.from_frame(f)
    assert data.names == ("x", "y")
    assert data.path.unique().tolist() == [5, 6, 7]
    assert "left out, since they hold no numbers: 'group', 'used'" in caplog.text
    assert "frame: time 'Time', path 'Subject', state 'x', 'y' (guessed" in caplog.text


def test_without_an_id_there_is_one_path():
    f = frame(1)
    assert hp.Trajectories.from_frame(f.drop(columns="path")).paths == 1
    # An empty id says that a column is none.
    assert hp.Trajectories.from_frame(f, id="", state=["x"]).paths == 1


def test_the_index_counts_where_it_means_something():
    f = frame()
    assert_same(hp.Trajectories.from_frame(f.set_index(["path", "t"])), direct(f))
    assert_same(hp.Trajectories.from_frame(f.set_index(np.arange(12) + 30)), direct(f))
    dates = pd.date_range("2024-02-28", periods=4)
    data = hp.Trajectories.from_frame(f.head(4)[["x"]].set_index(dates))
    assert data.t.tolist() == [0, 1, 2, 3]


MOMENTS = [
    pd.Timestamp(2024, 2, 28, 12), pd.Timestamp(2024, 2, 29), pd.Timestamp(2024, 3, 1, 0, 0, 30),
]  # fmt: skip


@pytest.mark.parametrize(
    "times",
    [
        pd.DatetimeIndex(MOMENTS),
        pd.DatetimeIndex(MOMENTS, tz="UTC").tz_convert("Asia/Tokyo"),
        pd.DatetimeIndex(MOMENTS).as_unit("s"),
        pd.Index(MOMENTS, dtype=object),
        pd.Index(["2024-02-28T12:00", "2024-02-29", "2024-03-01 00:00:30"]),
        pd.Index(["2024-02-28T13:00+01:00", "2024-02-29T00:00Z", "2024-03-01 02:00:30+02:00"]),
        pd.to_timedelta(["0h", "12h", "36h 30s"]),
    ],
)
@pytest.mark.parametrize(("unit", "seconds"), [("s", 1), ("min", 60), ("h", 3600), ("D", 86400)])
def test_dates_are_measured_from_the_first(times, unit, seconds):
    f = pd.DataFrame({"when": times, "x": [1.0, 2.0, 3.0]})
    data = hp.Trajectories.from_frame(f, "when", unit=unit)
    expected = np.array([0, 12 * 3600, 36 * 3600 + 30]) / seconds
    np.testing.assert_allclose(data.t, expected, rtol=1e-15)


def test_dates_in_another_form():
    f = pd.DataFrame({"date": ["31.01.2024", None, "01.02.2024"], "x": [1.0, 2.0, 3.0]})
    with pytest.raises(hp.InputError, match=r"row 0, column 'date': '31.01.2024' is neither a nu"):
        hp.Trajectories.from_frame(f)
    data = hp.Trajectories.from_frame(f, time_format="%d.%m.%Y")
    assert data.t.tolist() == [0, 1]
    f["date"] = [20240131, 20240201, 20240202]
    assert hp.Trajectories.from_frame(f, time_format="%Y%m%d").t.tolist() == [0, 1, 2]


def test_precision_is_kept():
    f = frame().astype({"x": "float32", "y": "float32"})
    assert hp.Trajectories.from_frame(f).x.dtype == torch.float32
    assert hp.Trajectories.from_frame(f).t.dtype == torch.float64
    assert hp.Trajectories.from_frame(f.astype({"x": "float64"})).x.dtype == torch.float64
    whole = f.assign(x=range(12), y=pd.array([None, *range(11)], dtype="Int64"))
    data = hp.Trajectories.from_frame(whole, state=["x", "y"])
    assert data.x.dtype == torch.float64
    assert data.x[:2].tolist() == [[1, 0], [2, 1]]


def test_ids_of_every_kind():
    f = frame()
    for ids in ([1.0, 3.0, 7.0], ["1", "3", "7"], ["x1", "x10", "x2"], ["a", "b", "c"]):
        labelled = f.assign(path=np.asarray(ids)[(f.path - 5).to_numpy()])
        data = hp.Trajectories.from_frame(labelled)
        numeric = str(ids[0]) in ("1", "1.0")
        assert data.path.unique().tolist() == ([1, 3, 7] if numeric else [0, 1, 2])
        assert torch.equal(data.x, direct(f).x)
        grouped = labelled.astype({"path": "category"})
        assert torch.equal(hp.Trajectories.from_frame(grouped).path, data.path)


def changed(**columns):
    """The frame with some values replaced: column={row: value}."""
    f = frame().astype(object)
    for name, values in columns.items():
        for row, value in values.items():
            f.loc[row, name] = value
    return f


BAD = {
    "text": (changed(x={6: "abc"}), {}, "frame, row 6, column 'x': 'abc' is not a number"),
    "text in time": (changed(t={6: "soon"}), {}, "frame, row 6, column 't': 'soon' is not a num"),
    "decimal commas": (changed(x={2: "1,5"}), {}, "row 2, column 'x': '1,5' .* decimal=','"),
    "truth": (changed(x={2: True}), {}, "row 2, column 'x': 'True' is not a number"),
    "infinite": (changed(y={2: -np.inf}), {}, "row 2, column 'y': the value is infinite"),
    "infinite time": (changed(t={2: np.inf}), {}, "row 2, column 't': the value is infinite"),
    "conflict": (
        changed(t={6: 0.5, 5: 0.5}), {},
        "row 5 and row 6 have the same path and time, but 'x' is .* and",
    ),
    "conflict beside a repetition": (
        pd.concat([frame(), frame().iloc[[1]], frame().iloc[[9]].assign(y=7.0)]), {},
        r"row 9 and row 13 have the same path and time, but 'y' is .* and 7 .1 such cases.: aver",
    ),
    "conflict without id": (
        frame(), {"id": "", "state": ["x"], "time": "path"},
        "row 0 and row 1 have the same time, .* tells paths apart with id=",
    ),
    "no id": (changed(path={3: None}), {}, "row 3, column 'path': the id is missing in 1 row:"),
    "constant": (frame().assign(y=2.0), {}, "'y' is constant .2 in every row.: .* state=.'x'."),
    "no column": (frame(), {"state": ["x", "Y2"]}, "state: no column 'Y2': Valid: path, t, x, y"),
    "two roles": (frame(), {"time": "x", "state": ["x"]}, "'x' is named as time and as state"),
    "no time": (frame().rename(columns={"t": "q"}), {}, "no column has a usual name of time"),
    "no state": (frame()[["path", "t"]], {}, "no column of numbers is left"),
    "wide": (
        pd.DataFrame(np.eye(3), columns=[0.0, 0.5, 1.0]).assign(path=[1, 2, 3]), {},
        "look like times, .* pandas.melt",
    ),
    "no names": (pd.DataFrame(np.eye(3)), {}, "the first line holds numbers"),
    "single rows": (frame(3, 1), {}, "each of its 3 rows is a path of its own, .* 'path' must be"),
    "one row": (frame(1, 1).drop(columns="path"), {}, "it holds a single row"),
    "empty": (frame().head(0), {"state": ["x"]}, "no rows"),
    "all missing": (frame().assign(x=np.nan), {"state": ["x"]}, "every row has a missing value"),
    "twice": (frame().set_axis(["path", "t", "x", "x"], axis=1), {}, "two columns are called 'x'"),
    "unit": (frame(), {"unit": "days"}, "unknown unit 'days'"),
    "dates as state": (
        frame().assign(x=pd.Timestamp("2024-01-01")), {"state": ["x"]},
        "row 0, column 'x': '2024-01-01 00:00:00' is not a number",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_repaired_is_named(case):
    bad, arguments, message = BAD[case]
    with pytest.raises(hp.InputError, match=message):
        hp.Trajectories.from_frame(bad, **arguments)


def test_many_numbered_columns_raise_the_question_of_wide_form(caplog):
    caplog.set_level(logging.INFO)
    g = np.random.default_rng(0)
    f = pd.DataFrame(g.normal(size=(5, 12)), columns=[f"mouse{i}" for i in range(12)])
    hp.Trajectories.from_frame(f.assign(t=range(5)))
    assert "12 numbered columns (mouse0, mouse1, mouse2, ...) are taken" in caplog.text


def test_numpy_arrays(recwarn):
    t, x = np.arange(3.0), np.random.default_rng(0).normal(size=(4, 3, 2))
    data = hp.Trajectories.from_dense(t, x)
    assert data.x.dtype == torch.float64
    assert torch.equal(data.x, torch.from_numpy(x.reshape(-1, 2)))
    assert hp.Trajectories.from_dense(t, x.astype("float32")).x.dtype == torch.float32
    for column in (x[0], x[0].astype(">f8"), x[0][::-1][::-1], np.asfortranarray(x[0])):
        column.flags.writeable = False
        again = hp.Trajectories(t, column, np.zeros(3, dtype=np.uint8))
        assert torch.equal(again.x, torch.from_numpy(x[0]))
    with pytest.raises(hp.InputError, match="x must hold numbers, but is an array of object"):
        hp.Trajectories(t, x[0].astype(object), np.zeros(3, dtype=int))
    with pytest.raises(hp.InputError, match="t must be floating-point"):
        hp.Trajectories(np.arange(3), x[0], np.zeros(3, dtype=int))


@settings(max_examples=60, deadline=None)
@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=4), n=st.integers(1, 5))
def test_blocks(lengths, n):
    path = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    t = torch.arange(len(path), dtype=torch.float64)
    data = hp.Trajectories(t, torch.randn(len(path), 1), path)
    cut = data.blocks(n)
    expected = [
        block
        for rows in np.split(np.arange(len(path)), np.cumsum(lengths)[:-1])
        for block in np.array_split(rows, max(1, min(n, len(rows) // 2)))
    ]
    assert [times.tolist() for times, _ in cut.each()] == [block.tolist() for block in expected]
    assert torch.equal(cut.x, data.x)
    assert len(cut.pairs().t) == sum(len(block) - 1 for block in expected)


def test_blocks_must_be_positive():
    with pytest.raises(hp.InputError, match="n, the number of blocks"):
        direct(frame()).blocks(0)
