"""The page in a real browser: it opens offline, draws everything, and its sliders move."""

from __future__ import annotations

import json

import numpy as np
import pytest

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
from hollowpde.report import write_page

pytestmark = pytest.mark.browser

X = np.linspace(-2.0, 2.0, 41)
GRID_X, GRID_Y = (axis.ravel() for axis in np.meshgrid(X[::8], X[::8]))


def density(t):
    return np.exp(-((X - t) ** 2))


CURVES = Film(
    "Curves & <b>bars</b>",
    "Bars, a truth and a fit.",
    Axes("x", "density"),
    "t",
    [
        (
            f"{t:.1f}",
            [
                Bars("data", Role.DATA, X, density(t)[1:]),
                Line("truth", Role.TRUTH, X, density(t), dashed=True),
                Line("fit", Role.FIT, X, 0.9 * density(t)),
            ],
        )
        for t in np.linspace(0, 1, 5)
    ],
)
MAP = Film(
    "Map",
    "A surface, points and arrows.",
    Axes("x1", "x2"),
    "t",
    [
        (
            f"{t:.1f}",
            [
                Surface("density", Role.FIT, X, X, np.outer(density(t), density(t))),
                Points("data", Role.DATA, X, t * X),
                Arrows("drift", Role.FIT, GRID_X, GRID_Y, t - GRID_X, t * GRID_Y),
            ],
        )
        for t in np.linspace(0, 1, 3)
    ],
)
STILL = Film(
    "Still",
    "One frame, and a mark without a point.",
    Axes("x", "y"),
    "t",
    [("0", [Line("fit", Role.FIT, X, X), Points("none", Role.DATA, np.empty(0), np.empty(0))])],
)
RESIDUAL = Chart(
    "Residual",
    "A signed surface.",
    Axes("x", "t"),
    [Surface("residual", Role.RESIDUAL, X, X, np.outer(X, X), signed=True)],
)
LOSSES = Chart(
    "Losses",
    "On a logarithmic axis, with a band that reaches below zero and a gap in a line.",
    Axes("step", "loss", log_y=True),
    [
        Band("spread", Role.TRAIN, X, np.exp(X) - 1, np.exp(X) + 1),
        Line("training", Role.TRAIN, X, np.where(X == X[20], np.nan, np.exp(X))),
        Line("validation", Role.VALIDATION, X, 2 * np.exp(X)),
    ],
)
TABLE = Table("Errors", "By quantity.", ("quantity", "rmse"), [("drift", 0.1), ("density", 3)])


@pytest.fixture
def report(tmp_path):
    path = tmp_path / "report.html"
    write_page(
        path,
        "A <report>",
        "of everything",
        [CURVES, RESIDUAL, LOSSES, MAP, TABLE, STILL],
        {"Settings": {"steps": 100}},
        {"RMSE": "0.1"},
    )
    return path


@pytest.mark.parametrize("width", [1400, 480])
def test_opens_offline_and_draws_everything(report, open_page, width):
    opened = open_page(report, width=width)
    assert opened.plots() == ["plot-1", "plot-2", "plot-3", "plot-4", "plot-6"]
    opened.assert_sound()
    assert opened.requests == [report.as_uri()]
    # Nothing sticks out at the side.
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width


def test_columns_follow_the_width(report, open_page):
    left = "[2, 3].map(n => document.getElementById('panel-' + n).getBoundingClientRect().left)"
    second, third = open_page(report, width=1400).page.evaluate(left)
    assert second != third
    second, third = open_page(report, width=480).page.evaluate(left)
    assert second == third


def test_names_are_shown_as_they_are(report, open_page):
    page = open_page(report).page
    assert page.locator("h1").inner_text() == "A <report>"
    assert page.locator("#panel-1 h2").inner_text() == "Curves & <b>bars</b>"


def test_sliders_move_the_marks(report, open_page):
    opened = open_page(report)
    assert opened.films() == ["plot-1", "plot-4"]
    for plot in opened.films():
        assert opened.slider_value(plot) == "t = 0.0"
        opened.assert_slider_moves(plot)
    opened.assert_sound()


def test_the_slider_shows_the_frame_it_names(report, open_page):
    opened = open_page(report)
    ranges = "['xaxis', 'yaxis'].map(a => document.getElementById('plot-1')._fullLayout[a].range)"
    before = opened.page.evaluate(ranges)
    opened.move_slider("plot-1", 0.5)
    assert opened.slider_value("plot-1") == "t = 0.5"
    truth_y = json.loads(opened.values("plot-1"))[-1][1]
    np.testing.assert_allclose(truth_y, density(0.5), rtol=1e-5)
    assert opened.page.evaluate(ranges) == before


def test_a_film_of_one_frame_shows_where_it_is(report, open_page):
    page = open_page(report).page
    assert page.locator("#plot-6 .annotation-text").text_content() == "t = 0"


def test_the_drawn_curve_moves(report, open_page):
    opened = open_page(report)
    path = opened.page.locator("#plot-1 .scatterlayer path.js-line").first
    before = path.get_attribute("d")
    opened.move_slider("plot-1", 0.5)
    assert path.get_attribute("d") != before


def test_play_and_pause(report, open_page):
    opened = open_page(report)
    before = opened.slider_value("plot-1")
    opened.page.locator("#plot-1").get_by_text("Play").click()
    opened.page.wait_for_timeout(900)
    opened.page.locator("#plot-1").get_by_text("Pause").click()
    opened.page.wait_for_timeout(600)
    paused = opened.slider_value("plot-1")
    assert paused != before
    opened.page.wait_for_timeout(1200)
    assert opened.slider_value("plot-1") == paused
    opened.assert_sound()
