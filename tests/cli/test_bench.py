"""The benchmarks run, and count what they say they count; how fast is not a matter of tests."""

import json
import math
import re
from dataclasses import replace

import pandas as pd
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from hollowpde.bench import laplacian, memory, operators, page, rivals, subjects, work
from hollowpde.bench.operators import TABLES
from hollowpde.bench.tables import Budget, Heading, Result
from hollowpde.bench.timing import Ratio, interleaved
from hollowpde.cli import app
from hollowpde.errors import InputError
from hollowpde.nets import blocks
from hollowpde.operators import dimwise, divergence, reference

TINY = Budget(repeats=1, seconds=0.0, steps=10, largest=16)


def test_interleaved_runs_alternately_and_turns_round():
    order = []
    seconds = interleaved([lambda: order.append("a"), lambda: order.append("b")], 3)
    assert "".join(order[2:]) == "abbaab"
    assert [len(s) for s in seconds] == [3, 3]


def test_interleaved_stops_when_the_time_is_up_but_not_before_three_repeats():
    assert len(interleaved([lambda: None], 100, seconds=0.0)[0]) == 3
    assert len(interleaved([lambda: None], 2, seconds=0.0)[0]) == 2


def test_ratio_is_the_median_of_ratios():
    ratio = Ratio.of([2.0, 9.0, 4.0], [1.0, 3.0, 4.0])
    assert (ratio.median, ratio.low, ratio.high, ratio.repeats) == (2.0, 1.5, 2.5, 3)
    assert Ratio.of([3.0], [2.0]).low == 1.5


def test_every_table(tmp_path, capsys):
    operators.run([], TINY, tmp_path)
    shown = capsys.readouterr().out
    assert "threads: " in shown
    data = json.loads((tmp_path / "operators.json").read_text(), parse_constant=pytest.fail)
    assert list(data["tables"]) == list(TABLES)
    for name, table in data["tables"].items():
        assert table["rows"], name
        for row in table["rows"]:
            assert set(table["keys"]) < set(row)
            for column, cell in row.items():
                if column in table["keys"] or (cell is None and column.startswith("jet")):
                    continue
                values = cell.values() if isinstance(cell, dict) else [cell]
                assert all(math.isfinite(v) and v > 0 for v in values), (name, column)
    markdown = (tmp_path / "operators.md").read_text()
    assert [*re.findall("^## (.*)$", markdown, re.MULTILINE)] == [t.title for t in TABLES.values()]
    frame = pd.read_csv(tmp_path / "operators.csv")
    assert set(frame["table"]) == set(TABLES)
    assert frame["value"].notna().all()
    page = (tmp_path / "operators.html").read_text()
    assert all(f'id="{name}"' in page and f'id="plot-{name}-0"' in page for name in TABLES)
    assert not re.search(r'<(script|link|img)[^>]+(src|href)="http', page)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "operators.csv",
        "operators.html",
        "operators.json",
        "operators.md",
    ]


@pytest.mark.parametrize("title", ["lines", "bars", "diagram"])
def test_short_logarithmic_axes_of_pages_say_which_power(title):
    heading = Heading(
        name="t", title=title, notes=(), keys=("case", "d"), quantity="ratio",
        along="d", bars=title == "bars",
    )  # fmt: skip
    if title == "diagram":
        heading = replace(heading, against=("cost",), lines="case")
    rows = [{"case": "a", "d": d, "ratio": 1.5 * d, "cost": 3.0 * d} for d in (1, 2, 8)]
    figure = next(iter(page._pictures(Result(heading, rows)).values()))
    # From 1.5 to 12: digits alone would leave open of which power they are.
    assert {"2", "5", "10"} <= set(figure.layout.yaxis.ticktext)
    if title == "diagram":
        assert {"5", "10", "20"} <= set(figure.layout.xaxis.ticktext)


def test_some_tables_and_nothing_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(
        app, ["bench", "operators", "--only", "single", "--quick", "--repeats", "1"]
    )
    assert done.exit_code == 0, done.output
    assert TABLES["single"].title in done.output
    assert TABLES["forward"].title not in done.output
    assert not list(tmp_path.iterdir())


def test_names_are_listed_and_checked():
    listed = CliRunner().invoke(app, ["bench"]).output
    assert all(f"  {name}: " in listed for name in TABLES)
    with pytest.raises(InputError, match="unknown table 'foward': did you mean 'forward'"):
        operators.run(["foward"], TINY, None)
    error = CliRunner().invoke(app, ["bench", "operator"]).exception
    assert isinstance(error, InputError)
    assert "did you mean 'operators'" in str(error)


def test_options_that_do_not_apply_are_refused():
    def error(*arguments):
        return str(CliRunner().invoke(app, ["bench", *arguments]).exception)

    assert "--jobs is not an option of bench operators" in error("operators", "--jobs", "2")
    assert "--threads is not an option of bench sde" in error("sde", "--threads", "2")
    assert "unknown case 'cir_0.4': did you mean 'cir_0.5'" in error("sde", "--only", "cir_0.4")
    listed = CliRunner().invoke(app, ["bench"]).output
    assert "  cir_0.5: problems/cir.py, observed every 0.5" in listed


def test_memory_is_counted():
    class Chain(nn.Module):
        def forward(self, x):
            return (2 * x).square().exp().sin()

    x = torch.randn(10, 3, requires_grad=True)
    size = 4 * x.numel()
    net = Chain()
    # The square keeps 2 x; the exponential keeps its result, and so does the sine, the same.
    assert memory.saved(lambda: net(x), net, x) == 2 * size
    # Two are there at all times from then on, and one that passes: what is squared, or the sine.
    assert memory.peak(lambda: net(x), net, x) == 3 * size


def test_blocks_save_memory_and_naive_autograd_keeps_everything():
    net, x = subjects.hollow(64), subjects.points(64)
    outputs = lambda: dimwise(net, 0.0, x, order=1)  # noqa: E731
    size = blocks.SIZE
    with memory.naive_autograd():
        naive = memory.saved(outputs, net, x)
    assert blocks.SIZE == size
    assert memory.saved(outputs, net, x) < naive


@pytest.mark.parametrize("dim", [1, 3])
def test_rivals_compute_the_same(dim):
    net, x = subjects.hollow(dim).double(), subjects.points(dim, batch=4).double()
    value, slopes = dimwise(net, 0.0, x, order=1)
    other_value, other_slopes = rivals.detached(net, x)
    torch.testing.assert_close(other_value, value)
    torch.testing.assert_close(other_slopes, slopes)
    (diagonal,) = rivals.by_jacobian(torch.func.jacrev, lambda t, x: net(t.double(), x), x, None)
    torch.testing.assert_close(diagonal, slopes)


def test_hutchinson_estimates_the_divergence():
    net, x = subjects.hollow(1), subjects.points(1, batch=4)
    value, estimate = rivals._estimate(net, x, torch.ones_like(x), keep_graph=True)
    torch.testing.assert_close(estimate, divergence(net, 0.0, x))  # exact in one dimension
    assert value.requires_grad and estimate.requires_grad


def test_nested_autograd_is_the_laplacian():
    net, x = subjects.mlp(3, 8, 8, 1), torch.randn(5, 3)
    exact = reference.laplacian(lambda t, x: net(x).squeeze(-1), 0.0, x)
    value, nested = laplacian._nested(net, x, keep_graph=False)
    torch.testing.assert_close(nested, exact)
    torch.testing.assert_close(value, net(x).squeeze(-1))
    if laplacian._jet is not None:
        torch.testing.assert_close(laplacian._collapsed(laplacian._jet, net, x)()[1], exact)


def test_bare_stack_and_equal_mlp_have_the_size_they_claim():
    dim = 32
    net, x = subjects.hollow(dim), subjects.points(dim)
    for half in (False, True):
        assert subjects.Bare(dim, half)(torch.zeros(()), x).shape == x.shape
    count = sum(p.numel() for p in net.parameters())
    equal = subjects.Ordinary(dim, rivals._equal_width(net, dim))
    assert sum(p.numel() for p in equal.parameters()) == pytest.approx(count, rel=0.01)


def test_work_is_counted_as_it_can_be_by_hand():
    linear = nn.Linear(3, 5)
    assert work.counted(lambda: linear(torch.zeros(2, 3)))[0] == 2 * 3 * 5
    (one,) = work.WORK.rows(Budget(largest=1))
    # A transformer 1-32-32-1 whose first layer is no product: 32 x 32 and 32, for each order.
    assert (one["products, to order 1"], one["products, to order 2"]) == (2, 3)
    assert one["products, plain / stack"] == (32 * 32 + 32) / (32 + 32 * 32 + 32)
