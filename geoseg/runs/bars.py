"""The progress of a run for people: a bar on a terminal, elsewhere a line now and then."""

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from threading import Event, Thread
from time import monotonic
from typing import TYPE_CHECKING

from geoseg.runs.pace import Pace, clock_time
from geoseg.runs.progress import ENDED, Progress

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.table import Table

_LINES = 30.0
"""Seconds between two lines of progress where there is no terminal."""
_WIDE = 110
"""Columns from which on the throughput of each worker is shown, too."""


@contextlib.contextmanager
def lines(
    say: Callable[[str], None], scenes: int = 1, every: float = _LINES
) -> Iterator[Callable[[Progress], None]]:
    """Yield a callback that says a line for each stage; every half minute one in any case."""
    pace, told, told_at, ended = Pace(scenes), "", monotonic(), Event()

    def tell() -> None:
        nonlocal told_at
        view, told_at = pace.view(), monotonic()
        more = ["" if view.left is None else f"{clock_time(view.left)} left", view.rate]
        say(", ".join([f"[{clock_time(view.elapsed)}] {view.what}", *filter(None, more)]))

    def on_progress(event: Progress) -> None:
        nonlocal told
        pace.add(event)
        # A step of several formats is told each time; blocks are not.
        stage = f"{event.name if scenes > 1 else ''} {event.text or event.stage}"
        if event.stage != ENDED and (stage != told or event.waiting):
            told = stage
            tell()

    def repeat() -> None:
        while not ended.wait(max(told_at + every - monotonic(), 0.1)):
            if monotonic() - told_at >= every:
                tell()

    thread = Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield on_progress
    finally:
        ended.set()
        thread.join()


@contextlib.contextmanager
def terminal_bar(scenes: int = 1, console: "Console | None" = None) -> Iterator[Callable[[Progress], None]]:
    """Yield a callback that draws a bar on the terminal of stderr, or on a console."""
    # Slow to import, and needed only on a terminal.
    from rich.console import Console  # noqa: PLC0415
    from rich.live import Live  # noqa: PLC0415

    pace = Pace(scenes)
    # Its own descriptor: the bar is shown even while stderr is redirected to catch messages of GDAL.
    with os.fdopen(os.dup(2), "w") as terminal:
        drawn = console or Console(file=terminal)
        with Live(_Bar(pace), console=drawn, transient=True, refresh_per_second=4, redirect_stdout=False):
            yield pace.add


class _Bar:
    """One line: what is done, a bar, elapsed and remaining time, throughput."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> Iterator["Table"]:
        from rich.markup import escape  # noqa: PLC0415
        from rich.progress_bar import ProgressBar  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415

        view = self.pace.view()
        # On a narrow terminal without what each worker does.
        rate = view.rate if options.max_width >= _WIDE else re.split(r" \(|,", view.rate)[0]
        row = Table.grid(padding=(0, 1), expand=True)
        row.add_column(no_wrap=True)
        row.add_column(ratio=1, min_width=8)
        row.add_column(no_wrap=True)
        row.add_column(no_wrap=True)
        bar = ProgressBar(total=1.0, completed=view.share, pulse=view.left is None and not view.share)
        row.add_row(escape(view.what), bar, view.times, escape(rate))
        yield row
