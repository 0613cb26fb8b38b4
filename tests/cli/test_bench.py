"""The benchmarks run, and count what they say they count; how fast is not a matter of tests."""

from hollowpde.bench import operators
from hollowpde.bench.timing import interleaved, median_ratio


def test_interleaved_runs_alternately_and_turns_round():
    order = []
    seconds = interleaved([lambda: order.append("a"), lambda: order.append("b")], 3)
    assert "".join(order[2:]) == "abbaab"
    assert [len(s) for s in seconds] == [3, 3]


def test_median_of_ratios():
    assert median_ratio([2.0, 9.0, 4.0], [1.0, 3.0, 4.0]) == 2.0


def test_operators_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(operators, "_DIMENSIONS", (1, 3))
    monkeypatch.setattr(operators, "_BRUTE_FORCE_UP_TO", 2)
    operators.run(2, tmp_path)
    table = (tmp_path / "operators.md").read_text()
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    assert [row.split("|")[1].strip() for row in rows] == ["d", "1", "3"]
    assert rows[2].split("|")[4].strip() == "-"
    assert (tmp_path / "operators.csv").exists()
    assert "value + D1" in capsys.readouterr().out
