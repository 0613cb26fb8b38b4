"""A page opened as a reader would: in headless Chromium, from a file, without a network."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NAMES = ("chromium", "chromium-browser", "google-chrome")

# What the reader sees of a plot: the values of its traces, plotly's typed arrays decoded.
VALUES = """(id) => JSON.stringify(document.getElementById(id)._fullData.map(
    (t) => [t.x, t.y, t.z].map((a) => a && Array.from(a, (r) => r.length ? Array.from(r) : r))
))"""

# The frame that is drawn is the one that the slider points at.
ARRIVED = """(id) => {
    const {sliders: [{active}], _currentFrame} = document.getElementById(id)._fullLayout;
    return _currentFrame === String(active);
}"""


@dataclass
class Opened:
    """A page in the browser, with what it asked for and what went wrong.

    Arguments:
        page: the page, of playwright.
        requests: the addresses it asked for.
        errors: its errors and those of the console.
    """

    page: Any
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def plots(self) -> list[str]:
        """The ids of the plots."""
        return self.page.eval_on_selector_all(".plotly-graph-div", "all => all.map(d => d.id)")

    def films(self) -> list[str]:
        """The ids of the plots that have a slider."""
        return [
            plot for plot in self.plots() if self.page.locator(f"#{plot} .slider-group").count()
        ]

    def values(self, plot: str) -> str:
        """The numbers that a plot shows, as text to compare."""
        return self.page.evaluate(VALUES, plot)

    def slider_value(self, plot: str) -> str:
        """The text beside the slider, such as `t = 0.5`."""
        return self.page.locator(f"#{plot} .slider-label").first.text_content()

    def move_slider(self, plot: str, share: float) -> None:
        """Drag the grip of a slider with the mouse to a share of its length."""
        rail = self.page.locator(f"#{plot} .slider-rail-touch-rect")
        grip = self.page.locator(f"#{plot} .slider-grip-rect")
        rail.scroll_into_view_if_needed()
        box, start = rail.bounding_box(), grip.bounding_box()
        height = start["y"] + start["height"] / 2
        mouse = self.page.mouse
        mouse.move(start["x"] + start["width"] / 2, height)
        mouse.down()
        mouse.move(box["x"] + share * box["width"], height, steps=4)
        mouse.up()
        self.page.wait_for_function(ARRIVED, arg=plot, timeout=5000)
        self.page.wait_for_timeout(100)  # for the drawing that follows

    def assert_slider_moves(self, plot: str) -> None:
        """The far end of the slider shows other numbers, and its start the first ones again."""
        label, values = self.slider_value(plot), self.values(plot)
        self.move_slider(plot, 0.999)
        assert self.slider_value(plot) != label
        assert self.values(plot) != values
        self.move_slider(plot, 0.001)
        assert self.slider_value(plot) == label
        assert self.values(plot) == values

    def assert_sound(self) -> None:
        """No error, nothing asked of the network, and every plot drawn."""
        assert self.errors == []
        assert [url for url in self.requests if not url.startswith(("file:", "data:"))] == []
        for plot in self.plots():
            box = self.page.locator(f"#{plot} svg.main-svg").first.bounding_box()
            assert box is not None and box["width"] > 100 and box["height"] > 100, plot
            marks = self.page.locator(
                f"#{plot} :is(.scatterlayer, .barlayer, .heatmaplayer) :is(path, image)"
            )
            assert marks.count() > 0, f"{plot} shows no marks"


OpenPage = Callable[..., Opened]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium; without one the test is skipped, unless a browser is required."""
    names = [os.environ.get("HOLLOWPDE_CHROMIUM"), *map(shutil.which, NAMES)]
    executable = next((name for name in names if name), None)
    if executable is None:
        reason = f"no Chromium: none of {', '.join(NAMES)}, and HOLLOWPDE_CHROMIUM is not set"
        if os.environ.get("HOLLOWPDE_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[OpenPage]:
    """A function that opens an HTML file, in a window of a given size."""
    contexts = []

    def open_file(path: Path, width: int = 1400, height: int = 900) -> Opened:
        context = browser.new_context(viewport={"width": width, "height": height})
        contexts.append(context)
        opened = Opened(context.new_page())
        page = opened.page
        page.on("request", lambda request: opened.requests.append(request.url))
        page.on("pageerror", lambda error: opened.errors.append(f"page: {error}"))
        page.on(
            "console",
            lambda message: (
                opened.errors.append(f"console: {message.text}")
                if message.type == "error"
                else None
            ),
        )
        page.goto(path.resolve().as_uri())
        page.wait_for_function(
            "() => [...document.querySelectorAll('.plotly-graph-div')]"
            ".every(d => d._fullLayout && d.querySelector('svg.main-svg'))",
            timeout=20000,
        )
        return opened

    yield open_file
    for context in contexts:
        context.close()
