"""The page of a real run, in a real browser."""

import pytest


@pytest.mark.browser
def test_the_page_of_a_run_opens_and_its_slider_moves(quick_run, open_page):
    opened = open_page(quick_run.path / "report.html")
    opened.assert_sound()
    films = opened.films()
    assert films, "the density is shown through time"
    for plot in films:
        opened.assert_slider_moves(plot)
