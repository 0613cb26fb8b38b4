"""What a fit shows while it runs: bars on a terminal, a line per stage elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

Show = Callable[[int, Mapping[str, float]], None]

_REFRESH_SECONDS = 0.1


class Progress:
    """Shows stages and says sentences, which `note` also gets.

    Arguments:
        console: where to show; bars only if it is a terminal.
        note: called with every sentence, for the log of the run.
    """

    def __init__(self, console: Console, note: Callable[[str], None]) -> None:
        self.console, self.note = console, note

    def say(self, sentence: str) -> None:
        self.console.print(sentence, highlight=False, markup=False, soft_wrap=True)
        self.note(sentence)

    @contextmanager
    def stage(self, name: str, steps: int, done: int) -> Iterator[Show]:
        """A bar for a stage; the function it gives takes the step and the named losses."""
        if not self.console.is_terminal:
            yield lambda step, losses: None
            return
        bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
            console=self.console,
            transient=True,
        )
        last = 0.0
        with bars:
            task = bars.add_task(name, total=steps, completed=done, losses="")

            def show(step: int, losses: Mapping[str, float]) -> None:
                nonlocal last
                if time.monotonic() - last > _REFRESH_SECONDS:
                    last = time.monotonic()
                    text = "  ".join(f"{k} {v:.4f}" for k, v in losses.items())
                    bars.update(task, completed=step, losses=text)

            yield show
