"""The report of a run: panels of plain data to one HTML page that opens without a network."""

from hollowpde.report.page import render_page, write_page

__all__ = ["render_page", "write_page"]
