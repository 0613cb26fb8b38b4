"""The page as text: what it holds, what it escapes, and what it refuses."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from hollowpde.errors import InputError
from hollowpde.problem.panel import (
    Arrows,
    Axes,
    Band,
    Bars,
    Chart,
    Film,
    Line,
    Points,
    Role,
    Surface,
    Table,
)
from hollowpde.report import render_page, write_page
from hollowpde.report.checks import check
from hollowpde.report.figure import figure
from hollowpde.report.theme import COLOURS

X = np.linspace(0.0, 1.0, 5)
AXES = Axes("x", "y")
MARKS = [
    Line("line", Role.FIT, X, X**2),
    Band("band", Role.TRAIN, X, X, X + 1),
    Points("points", Role.DATA, X, X),
    Bars("bars", Role.DATA, np.append(X, 1.25), X),
    Surface("surface", Role.RESIDUAL, X, X[:3], np.outer(X[:3], X), signed=True),
    Arrows("arrows", Role.TRUTH, X, X, X, 1 - X),
]
TABLE = Table("Table", "caption", ("name", "value"), [("a", 1.0), ("b", 2)])


def chart(*marks, title="Chart", axes=AXES):
    return Chart(title, "caption", axes, marks)


def film(*frames, title="Film", axes=AXES):
    return Film(title, "caption", axes, "t", [(str(i), marks) for i, marks in enumerate(frames)])


def line(role=Role.FIT, name="line", y=X, dashed=False):
    return Line(name, role, X, y, dashed)


def body(page):
    """The page without plotly.js."""
    return re.sub(r"<script>/\*.*?plotly\.js.*?</script>", "", page, count=1, flags=re.DOTALL)


@pytest.mark.parametrize("mark", MARKS, ids=lambda mark: type(mark).__name__)
def test_every_mark_is_drawn(mark):
    still = figure(chart(mark))
    assert [trace.name for trace in still.data] == [mark.name]
    moving = figure(film([mark], [mark], [mark]))
    assert [trace.name for trace in moving.data] == [mark.name]
    assert len(moving.frames) == 3


def test_every_panel_is_on_the_page_in_order():
    panels = [
        chart(*MARKS),
        TABLE,
        film(MARKS, MARKS),
        Table("Pairs", "c", ("name", "value"), [("k", 1)]),
    ]
    page = body(render_page("Title", "Subtitle", panels))
    assert re.findall("<h2>(.*?)</h2>", page) == ["Chart", "Table", "Film", "Pairs"]
    assert re.findall('<div id="(.*?)"', page) == ["plot-1", "plot-3"]
    assert page.count('class="caption"') == 4


def test_facts_and_headlines_are_on_the_page():
    page = render_page(
        "Title", "", [], {"Metrics": {"rmse": 0.123456, "n": 20000}}, {"RMSE": "0.12"}
    )
    assert "<dt>RMSE</dt><dd>0.12</dd>" in page
    assert '<th scope="row">rmse</th><td class="number">0.1235</td>' in page
    assert '<td class="number">20000</td>' in page


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (1234567.8, "1234568"),
        (0.00001234, "1.234e-05"),
        (float("nan"), "nan"),
        (np.float32(0.5), "0.5"),
        (np.int64(7), "7"),
        (True, "True"),
    ],
)
def test_cells_are_short(value, cell):
    assert f">{cell}</td>" in render_page("", "", [Table("", "", ("v",), [(value,)])])


def test_text_from_data_is_escaped():
    evil = "<script>alert('&')</script>"
    mark = replace(MARKS[0], name=evil)
    surface = replace(MARKS[4], name=evil)
    axes = Axes(evil, evil)
    panels = [
        Chart(evil, evil, axes, [mark, surface]),
        Film(evil, evil, axes, evil, [(evil, [mark]), (evil, [mark])]),
        Table(evil, evil, (evil,), [(evil,)]),
    ]
    page = render_page(evil, evil, panels, {evil: {evil: evil}}, {evil: evil})
    assert "alert" in page
    assert "<script>alert" not in page
    assert r"\u003cscript" not in page  # plotly reads names as HTML


class Addresses(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in ("src", "href", "action", "data")]


def test_nothing_is_loaded_from_elsewhere():
    page = render_page("Title", "", [chart(*MARKS), film(MARKS, MARKS)])
    addresses = Addresses()
    addresses.feed(page)
    assert [found for found in addresses.found if not found.startswith("data:")] == []
    assert not re.search(r"https?:|@import|url\(", body(page))
    assert "default-src 'none'" in page
    assert page.count("plotly.js v") == 1


def colours(trace):
    props = str(trace.to_plotly_json())
    return {colour for colour in COLOURS.values() if colour in props}


@pytest.mark.parametrize("role", Role)
def test_a_role_has_one_colour(role):
    marks = [replace(mark, role=role) for mark in MARKS if not isinstance(mark, Surface)]
    for mark in [*marks, line(role, dashed=True), replace(MARKS[4], role=role, signed=False)]:
        (trace,) = figure(chart(mark)).data
        assert colours(trace) == {COLOURS[role]}


def test_colours_stand_out_from_white_and_differ():
    def luminance(colour):
        channels = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(
            channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4
        )
        return linear @ [0.2126, 0.7152, 0.0722]

    assert set(COLOURS) == set(Role)
    assert len(set(COLOURS.values())) == len(COLOURS)
    for colour in COLOURS.values():
        assert 1.05 / (luminance(colour) + 0.05) >= 3  # WCAG, for graphics


def test_the_truth_shows_where_the_fit_meets_it():
    under, over = figure(chart(line(Role.FIT), line(Role.TRUTH, "truth"))).data
    assert (under.name, over.name) == ("truth", "line")
    assert under.line.width > over.line.width
    under, over = figure(chart(line(Role.TRUTH, "truth", dashed=True), line(Role.FIT))).data
    assert (under.name, over.name, over.line.dash) == ("line", "truth", "dash")


def test_names_of_one_role_are_told_apart_and_shared_names_are_not():
    traces = figure(chart(line(name="a"), line(name="b"), line(name="a"))).data
    assert [trace.line.dash for trace in traces] == ["solid", "dot", "solid"]
    assert [trace.showlegend for trace in traces] == [True, True, False]


def test_a_film_keeps_its_ranges_and_writes_only_what_changes():
    frames = [[Bars("b", Role.DATA, X, h * np.ones(4)), line(y=h * X)] for h in (1.0, 2.0, 4.0)]
    moving = figure(film(*frames))
    assert moving.layout.yaxis.range == pytest.approx((0, 4.2))
    assert moving.layout.xaxis.range == pytest.approx((-0.02, 1.02))
    keys = {"type", "y"}
    assert all(set(t.to_plotly_json()) == keys for frame in moving.frames for t in frame.data)
    assert [step.label for step in moving.layout.sliders[0].steps] == ["0", "1", "2"]


def test_given_ranges_are_kept_and_logarithms_taken():
    axes = Axes("x", "y", x_range=(-1, 3), y_range=(0.01, 100), log_y=True)
    layout = figure(chart(line(), axes=axes)).layout
    assert layout.xaxis.range == (-1, 3)
    assert layout.yaxis.range == pytest.approx((-2, 2))
    assert layout.yaxis.type == "log"


@pytest.mark.parametrize(
    ("span", "texts"),
    [
        ((0.25, 4.0), ["0.5", "1", "2"]),
        ((3.0, 300.0), ["5", "10", "20", "50", "100", "200"]),
        ((1.0, 1.3), None),  # plotly's own
    ],
)
def test_a_short_logarithmic_axis_gives_its_ticks_in_full(span, texts):
    axes = Axes("x", "y", x_range=span, log_x=True)
    layout = figure(chart(line(), axes=axes)).layout.xaxis
    assert layout.ticktext == (None if texts is None else tuple(texts))
    assert layout.dtick is None


def test_a_logarithmic_axis_fits_what_is_positive():
    marks = [line(y=10 ** (4 * X)), line(y=-X), Band("b", Role.FIT, X, X - 5, X + 1)]
    low, high = figure(chart(*marks, axes=Axes("x", "y", log_y=True))).layout.yaxis.range
    assert (low, high) == pytest.approx((-0.2, 4.2))


def test_signed_surfaces_are_white_at_zero_in_every_frame():
    surfaces = [Surface("r", Role.RESIDUAL, X, X, s * np.outer(X, X), True) for s in (1, -3)]
    still = figure(film(*[[surface] for surface in surfaces])).data[0]
    assert (still.zmin, still.zmax) == (-3, 3)
    assert still.colorscale[2] == (0.5, "#FFFFFF")


def test_arrows_point_along_their_vectors():
    u, v = np.array([1.0, 0.0, -2.0]), np.array([0.0, 1.0, 1.0])
    trace = figure(chart(Arrows("a", Role.FIT, np.arange(3.0), np.zeros(3), u, v))).data[0]
    x, y = (np.reshape(axis, (3, 3)) for axis in (trace.x, trace.y))
    steps = np.stack([x[:, 1] - x[:, 0], y[:, 1] - y[:, 0]], axis=1)
    scale = steps[0, 0]
    assert scale > 0
    np.testing.assert_allclose(steps, scale * np.stack([u, v], axis=1), atol=1e-5)
    assert np.isnan(x[:, 2]).all()


@pytest.mark.parametrize(
    "marks",
    [
        [line(y=np.full(5, np.nan))],
        [line(y=np.array([1e300, -1e300, np.inf, 1e-300, 0.0]))],
        [Points("none", Role.DATA, np.empty(0), np.empty(0))],
        [Surface("one", Role.FIT, X[:1], X[:1], np.zeros((1, 1)))],
        [Surface("nan", Role.FIT, X, X, np.full((5, 5), np.nan), signed=True)],
        [Arrows("still", Role.FIT, X, X, 0 * X, 0 * X)],
        [Arrows("none", Role.FIT, X[:0], X[:0], X[:0], X[:0])],
        [Band("gap", Role.FIT, X, np.where(X == 0.5, np.nan, X), X)],
        [Bars("whole", Role.DATA, np.arange(4), np.array([1, 0, -1]))],
    ],
    ids=lambda marks: f"{type(marks[0]).__name__} {marks[0].name}",
)
def test_awkward_numbers_are_drawn(marks):
    for axes in (AXES, Axes("x", "y", log_x=True, log_y=True)):
        for panel in (chart(*marks, axes=axes), film(marks, marks, axes=axes)):
            assert np.isfinite(figure(panel).layout.yaxis.range).all()
            render_page("", "", [panel])


def test_large_offsets_and_small_numbers_keep_their_digits():
    exact = [1e9 + X, np.array([1e-60, 1e-50, 1.0, 2.0, 3.0])]
    for y in exact:
        np.testing.assert_array_equal(figure(chart(line(y=y))).data[0].y, y)
    assert figure(chart(line())).data[0].y.dtype == np.float32


def test_the_same_arguments_give_the_same_bytes(tmp_path):
    panels = [chart(*MARKS), film(MARKS, MARKS), TABLE]
    for name in ("one.html", "two.html"):
        write_page(tmp_path / name, "Title", "Subtitle", panels, {"Facts": {"a": 1}}, {"b": "c"})
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def test_a_page_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    write_page(path, "Old", "", [])
    with pytest.raises(InputError):
        write_page(path, "New", "", [film()])
    assert "<h1>Old</h1>" in path.read_text(encoding="utf-8")

    def fail(*_):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", fail)
        with pytest.raises(OSError, match="disk full"):
            write_page(path, "New", "", [])
    assert "<h1>Old</h1>" in path.read_text(encoding="utf-8")
    write_page(path, "New", "", [])
    assert "<h1>New</h1>" in path.read_text(encoding="utf-8")
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    ("panel", "message"),
    [
        (film(), "panel 'Film' is a film without frames"),
        (film([]), "frame '0' has no marks"),
        (chart(), "panel 'Chart' has no marks"),
        (film([line()], []), "frame '1' has no marks"),
        (film([line()], [line(), line()]), "frame '1': the marks are .*; expected .* first frame"),
        (film([line()], [line(Role.TRUTH)]), r"Line \(truth\); expected .* Line \(fit\)"),
        (chart(line(y=X[1:])), r"Line 'line': x has shape \(5,\), y has shape \(4,\)"),
        (chart(Points("p", Role.DATA, X[None], X[None])), "expected 1-D arrays"),
        (chart(Band("b", Role.FIT, X, X[:2], X)), r"lower has shape \(2,\)"),
        (chart(Bars("b", Role.DATA, X, X)), "expected n \\+ 1 edges and n heights"),
        (chart(Bars("b", Role.DATA, X[::-1], X[1:])), "edges do not increase"),
        (chart(Surface("s", Role.FIT, X, X[:2], np.ones((5, 2)))), "expected z of shape"),
        (chart(MARKS[4], MARKS[4]), "several surfaces"),
        (chart(Arrows("a", Role.FIT, X, X, X, X[:1])), r"v has shape \(1,\)"),
        (chart(line(y=[1, 2, 3, 4, 5])), "y is list; expected a NumPy array"),
        (chart(line(y=X.astype(str))), "y is <U32; expected a NumPy array of real numbers"),
        (chart(line(), axes=Axes("x", "y", x_range=(1, 1))), r"x_range is \(1, 1\)"),
        (chart(line(), axes=Axes("x", "y", y_range=(0, 1), log_y=True)), "starts above 0"),
        (replace(TABLE, rows=[("a",)]), "row 1 has 1 cells; expected 2"),
    ],
)
def test_what_cannot_be_drawn_is_named(panel, message):
    with pytest.raises(InputError, match=message):
        check(panel)
    with pytest.raises(InputError, match=message):
        render_page("", "", [panel])
