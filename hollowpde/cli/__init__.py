"""The command line: one module for each command."""

from __future__ import annotations

import logging
import sys

import torch
import typer

from hollowpde.cli.bench import bench
from hollowpde.cli.exit_time import exit_time
from hollowpde.cli.fit import fit
from hollowpde.cli.fit_csv import fit_csv
from hollowpde.cli.forecast import forecast
from hollowpde.cli.list import list_problems
from hollowpde.cli.new import new
from hollowpde.cli.report import report
from hollowpde.cli.show import show
from hollowpde.cli.simulate import simulate
from hollowpde.errors import HollowPDEError

app = typer.Typer(
    name="hollowpde",
    help="Fit differential equations to data, with exact and cheap differential operators.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("fit")(fit)
app.command("fit-csv")(fit_csv)
app.command("list")(list_problems)
app.command("show")(show)
app.command("report")(report)
app.command("simulate")(simulate)
app.command("exit-time")(exit_time)
app.command("forecast")(forecast)
app.command("new")(new)
app.command("bench")(bench)


def main() -> None:
    """Run a command; what the user can mend is one line on stderr and exit code 2."""
    # Threads that wait for one another cost more than they save on networks of this size, and far
    # more where other work runs beside: one, unless a command is told otherwise.
    torch.set_num_threads(1)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        app()
    except HollowPDEError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted; a fit that had begun goes on with --resume", file=sys.stderr)
        sys.exit(130)
